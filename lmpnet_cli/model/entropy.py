"""Feature-map entropy (LMPNet, section 4, figure 6): how sparse a map is."""

import torch
from torch import Tensor


def feature_map_entropy(maps: Tensor) -> Tensor:
    """Compute the entropy of each rectified, sum-normalised map, in nats; smaller is sparser.

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C), at most ln(HW); NaN for a map that is zero everywhere.
    """
    positive = maps.float().relu().flatten(2)  # (B, C, HW)
    total = positive.sum(2, keepdim=True)
    share = positive / total

    entropy = torch.special.entr(share).sum(2)
    return torch.where(total[..., 0] > 0, entropy, torch.nan)
