"""Paper 2, the poster on keypoints by occlusion and guided backpropagation, for any classifier.

Tensors only: no files and no printing. `pipeline` runs the steps in this order:

1. `occlusion`: the coarse map.
2. `guided_backprop`: the fine map.
3. `combination`: both as one map of confidence.
4. `nms`: non-maximum suppression.
5. `foerstner`: positions between pixels.

`histogram` counts detected landmarks. `sparse` computes the coarse map faster.
"""
