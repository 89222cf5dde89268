"""Occlusion scores at a fraction of the cost: compute only what a patch changes.

`score_batches` takes the place of `saliency.occlusion.score_batches` for classifiers that `is_supported` accepts.
Nothing else in here is used from outside.

1. `windows`: which cells of a map a patch changes, and how that window grows from layer to layer.
2. `recording`: the maps of the unoccluded image, recorded once.
3. `patched_tensor`: a tensor that stands for the maps of all occluded copies and holds their windows only.
4. `occlusion`: the scores.
"""

from lmpnet_cli.saliency.sparse.occlusion import is_supported, score_batches

__all__ = ["is_supported", "score_batches"]
