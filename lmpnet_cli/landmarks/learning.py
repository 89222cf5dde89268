"""Learn the two linear layers of a landmark head from the features of annotated images.

Where a landmark is: a multinomial logistic regression over the cells of the map. Its loss is the cross-entropy to a
Gaussian around the annotated position. Whether it is visible: a logistic regression for each landmark. Both losses are
convex, so nothing depends on a seed.
"""

import math
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from lmpnet_cli.model.cell_features import context_features
from lmpnet_cli.model.clustering import GRID
from lmpnet_cli.model.landmark_head import LandmarkHead, quarters

SPREAD = 0.6  # standard deviation of the Gaussian, in cells of a 14 x 14 grid
SCALE = 10.0  # of the features, so that weights are of the order of 1
DECAY = 0.13  # weight decay of the places, for one image; it falls with the square root of their number
STRENGTH = 10.0  # inverse of the regularisation of the visibility, `C` of scikit-learn
CERTAIN = 10.0  # logit of a landmark that is always visible
STEPS = 80  # at most
CHUNK = 64  # maps that are computed together


@dataclass(frozen=True)
class Examples:
    """Features of annotated images and of changed copies of them.

    Attributes:
        cells: (N, H, W, directions + 1) as `CellFeatures.cells`, float16.
        positions: (N, k, 2) row, column of the landmarks on the map; NaN where one is not visible.
        image: (N,) number of the image that a map belongs to.
    """

    cells: Tensor
    positions: Tensor
    image: Tensor

    @property
    def map_size(self) -> tuple[int, int]:
        """Return (H, W) in cells."""
        return self.cells.shape[1], self.cells.shape[2]

    def of(self, images: Tensor) -> "Examples":
        """Return the examples of some images."""
        chosen = torch.isin(self.image, images)
        return Examples(self.cells[chosen], self.positions[chosen], self.image[chosen])


def learn_weights(examples: Examples, head: LandmarkHead) -> None:
    """Fill the weights of a landmark head that has its principal directions already; its thresholds stay."""
    head.get_buffer("weight").copy_(_where(examples, head))
    weight, bias = _whether(examples)
    head.get_buffer("visible_weight").copy_(weight)
    head.get_buffer("visible_bias").copy_(bias)


def targets(positions: Tensor, map_size: tuple[int, int]) -> Tensor:
    """Compute the wanted probabilities of the cells, (N, k, H W); 0 everywhere for a landmark that is not visible.

    Args:
        positions: (N, k, 2) row, column; NaN is not visible.
    """
    known = positions.nan_to_num()
    rows, columns = (
        torch.exp(-0.5 * ((torch.arange(side) - known[..., axis, None]) / (SPREAD * side / GRID)) ** 2)
        for axis, side in enumerate(map_size)
    )
    cells = (rows[..., :, None] * columns[..., None, :]).flatten(2)
    return cells / cells.sum(2, keepdim=True).clamp_min(1e-12) * ~positions[..., :1].isnan()


def _where(examples: Examples, head: LandmarkHead) -> Tensor:
    """Return the (features, k) weight of the layer that scores cells."""
    wanted = targets(examples.positions, examples.map_size)
    visible = max(1.0, float(wanted.sum()))
    decay = DECAY / math.sqrt(len(torch.unique(examples.image)))
    batches = [
        (context_features(cells.float(), head.spec.windows).flatten(1, 2).half(), target)
        for cells, target in zip(torch.split(examples.cells, CHUNK), torch.split(wanted, CHUNK), strict=True)
    ]

    weight = torch.zeros(head.get_buffer("weight").shape, requires_grad=True)
    optimizer: torch.optim.Optimizer = torch.optim.LBFGS([weight], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        penalty = decay * weight.square().sum()
        torch.autograd.backward(penalty)
        total = penalty.item()
        for features, target in batches:  # one after another, to save memory
            scores = (SCALE * features.float()) @ weight
            entropy = -(target * scores.transpose(1, 2).log_softmax(2)).sum() / visible
            torch.autograd.backward(entropy)
            total += entropy.item()
        return total

    optimizer.step(loss)
    return SCALE * weight.detach()


def _whether(examples: Examples) -> tuple[Tensor, Tensor]:
    """Return the (4 directions, k) weight and the (k,) bias of the layer that tells what is visible."""
    features = torch.cat([quarters(cells.float()) for cells in torch.split(examples.cells, CHUNK)]).numpy()
    weights, biases = [], []
    for visible in (~examples.positions[..., 0].isnan()).T.numpy():
        if visible.all() or not visible.any():
            weights.append(torch.zeros(features.shape[1]))
            biases.append(CERTAIN if visible.all() else -CERTAIN)
            continue
        fitted = LogisticRegression(C=STRENGTH, max_iter=500).fit(features, visible)
        weights.append(torch.from_numpy(fitted.coef_[0]).float())
        biases.append(float(fitted.intercept_[0]))
    return torch.stack(weights, 1), torch.tensor(biases)
