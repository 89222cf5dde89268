"""`lmpnet parts`: learn which position is the same part of the object in every image (not in the paper).

1. `learn_parts`: the command. It learns parts, or renames those of a checkpoint, and writes the files.
2. `fit`: from images to a part head. `FeatureBank` gathers the features, `fit_part_head` learns from them.
3. `initialization`: principal components, what is object, and initial centroids by k-means.
4. `learning`: gradient descent on the centroids from several restarts.
5. `selection`: which of the learned parts to keep.
6. `visibility`: the score from which a part counts as visible.
7. `gallery`: `parts.png`, from which a person can name the parts.
"""
