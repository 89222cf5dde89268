"""Where the object is: what a first look at the whole image tells (not in the paper).

1. `response`: where many filters respond at once. Filters that were learned from class labels respond to the object,
   above all to its head.
2. `ObjectHead`: how likely a cell belongs to an object and not to what is around it. `lmpnet parts` learns it.
3. `prominence`: both together, where there is an object head.

Both work on the maps of the network alone.
"""

import torch
from torch import Tensor, nn

STRONGEST = 512  # filters whose maps count
WEIGHT = 0.5  # exponent of the response in the prominence


def response(maps: Tensor) -> Tensor:
    """Compute how strongly each cell responds, (B, C, H, W) -> (B, H, W) in [0, 1], 1 for the strongest cell.

    It is the mean of the strongest maps, each divided by its maximum, so that no filter counts more than another.
    """
    maps, tiny = maps.float(), torch.finfo(torch.float32).tiny
    top = maps.flatten(2).amax(2).topk(min(STRONGEST, maps.shape[1]), dim=1)
    chosen = maps.gather(1, top.indices[..., None, None].expand(-1, -1, *maps.shape[2:]))
    return _relative((chosen / top.values.clamp(min=tiny)[..., None, None]).mean(1))


def prominence(answer: Tensor, inside: Tensor) -> Tensor:
    """Join a response and the probabilities of an object head, (B, H, W) each, to values relative to the strongest."""
    return _relative(inside * answer**WEIGHT)


def _relative(cells: Tensor) -> Tensor:
    """Divide (B, H, W) cells by the largest of their image."""
    return cells / cells.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


class ObjectHead(nn.Module):
    """Tells objects from their surroundings, cell by cell: a linear layer over the square roots of the maps."""

    def __init__(self, channels: int) -> None:
        """Make an object head without weights; `load_state_dict` fills it."""
        super().__init__()
        self.register_buffer("weight", torch.zeros(channels))
        self.register_buffer("bias", torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) raw maps to (B, H, W) probabilities."""
        with torch.autocast(maps.device.type, enabled=False):
            logits = torch.einsum("bchw,c->bhw", square_root(maps), self.get_buffer("weight"))
            return torch.sigmoid(logits + self.get_buffer("bias"))


def square_root(maps: Tensor) -> Tensor:
    """Return the features that the object head weights, of the shape of the maps; strong cells count less."""
    return maps.float().clamp(min=0).sqrt()
