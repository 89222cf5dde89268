"""`lmpnet parts`: learn which position is the same part of the object in every image (not in the paper).

1. `learn_parts`: the command. It learns parts, or renames those of a checkpoint, and writes the files.
2. `fit`: from images to the heads. `FeatureBank` gathers the features of the windows, `fit_part_head` learns from them.
3. `object_head`: what tells an object from its surroundings.
4. `initialization`: principal components, what is object, and initial centroids by k-means.
5. `learning`: gradient descent on the centroids from several restarts.
6. `selection`: which of the learned parts to keep.
7. `visibility`: the score from which a part counts as visible.
8. `gallery`: `parts.png`, from which a person can name the parts.
"""
