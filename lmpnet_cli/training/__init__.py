"""`lmpnet train`: learn an LMPNet, network and replica, from class-labelled images.

1. `train`: the command. It reads the data, starts the processes and writes the record of the run.
2. `trainer`: the training loop in one process.
3. `initial_weights`: the weights of a file. `state`: what is written after every epoch, and how it resumes from there.
4. `dataset` and `augmentation`: images as training samples; `batches`: what a phase trains and validates on.
5. `stored_maps`: the maps of frozen layers, computed once and read in every epoch.
6. `schedule`: learning rate and leak at each step.
7. `map_checks`, `forecast` and `stages`: what is said before and during a training.
"""
