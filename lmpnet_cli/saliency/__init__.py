"""Paper 2, the poster on keypoints by occlusion and guided backpropagation, for any classifier with ReLUs.

The package works on tensors only: it reads no files and prints nothing. `pipeline` runs the steps in this order:

1. `occlusion`: the coarse relevance map.
2. `guided_backprop`: the fine relevance map.
3. `combination`: both maps combined into one confidence map.
4. `nms`: non-maximum suppression.
5. `foerstner`: sub-pixel positions.

`histogram` counts detected landmarks. `sparse` is an optional, faster way to compute the occlusion scores; only
`pipeline` uses it.
"""
