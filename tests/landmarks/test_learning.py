"""Learning the weights of a landmark head: the targets, the loss, and maps on which the answer is known."""

import numpy as np
import pytest
import torch

from lmpnet_cli.keypoints import positions_in_image
from lmpnet_cli.landmarks.cross_validation import cross_validate, locate, thresholds
from lmpnet_cli.landmarks.examples import on_map
from lmpnet_cli.landmarks.learning import DECAY, SCALE, Examples, learn_weights, targets
from lmpnet_cli.model.cell_features import context_features
from lmpnet_cli.model.landmark_head import LandmarkHead, LandmarkHeadSpec

SPEC = LandmarkHeadSpec(("beak", "tail"), channels=8, directions=6, windows=(1, 3))


def drawn(count: int, seed: int = 0, hide: float = 0.3) -> Examples:
    """Noise, with a mark of its own where each landmark is; the second one is hidden where the first column is odd."""
    random = np.random.default_rng(seed)
    cells = random.normal(0, 0.3, (count, 14, 14, 7))
    positions = random.integers(1, 13, (count, 2, 2)).astype(float)
    hidden = random.random(count) < hide
    for image, places in enumerate(positions.astype(int)):
        for landmark, (row, column) in enumerate(places):
            if not (landmark and hidden[image]):
                cells[image, row, column, landmark] += 4
        cells[image, ..., 5] += 1 if hidden[image] else -1  # the whole map tells whether the second one is visible
    positions[hidden, 1] = np.nan
    return Examples(torch.from_numpy(cells).half(), torch.from_numpy(positions).float(), torch.arange(count))


def test_targets_are_gaussians_that_sum_to_one():
    positions = torch.tensor([[[3.0, 4.5], [torch.nan, torch.nan]]])
    cells = targets(positions, (14, 14))
    assert cells.shape == (1, 2, 196)
    assert cells[0, 0].sum().item() == pytest.approx(1) and cells[0, 1].sum() == 0
    rows, columns = torch.meshgrid(torch.arange(14), torch.arange(14), indexing="ij")
    slow = torch.exp(-((rows - 3.0) ** 2 + (columns - 4.5) ** 2) / (2 * 0.6**2)).flatten()
    torch.testing.assert_close(cells[0, 0], slow / slow.sum())


def test_weights_are_where_the_gradient_of_the_loss_vanishes():
    examples, head = drawn(12), LandmarkHead(SPEC)
    learn_weights(examples, head)
    weight = (head.get_buffer("weight") / SCALE).double().requires_grad_()
    features = SCALE * context_features(examples.cells.float(), SPEC.windows).half().double().flatten(1, 2)
    wanted = targets(examples.positions, (14, 14)).double()
    entropy = -(wanted * (features @ weight).transpose(1, 2).log_softmax(2)).sum() / wanted.sum()
    loss = entropy + DECAY / 12**0.5 * weight.square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 2e-3 < weight.abs().max() / 100


def test_marks_are_found_on_other_images():
    head = LandmarkHead(SPEC)
    learn_weights(drawn(20), head)
    other = drawn(30, seed=1)
    found = locate(head, other.cells)
    distance = (found.positions - other.positions).norm(dim=-1)
    visible = ~other.positions[..., 0].isnan()
    assert (distance[visible] < 1).float().mean() > 0.95
    assert found.scores[:, 1][visible[:, 1]].min() > found.scores[:, 1][~visible[:, 1]].max()


def test_landmarks_that_are_always_or_never_visible_need_no_classifier():
    examples = drawn(6, hide=0.0)
    examples.positions[:, 1] = torch.nan
    head = LandmarkHead(SPEC)
    learn_weights(examples, head)
    visible = head.visible(examples.cells.float())
    assert visible[:, 0].min() > 0.99 and visible[:, 1].max() < 0.01


def test_every_image_is_scored_by_a_head_that_has_not_seen_it():
    examples = drawn(11)
    head = LandmarkHead(SPEC)
    folds = []
    checked = cross_validate(examples, head, 0, folds.append)
    assert checked.folds == 5 and folds == [1] * 5
    # one image whose mark lies elsewhere than its annotation: what was learned from it would find it
    wrong = examples.positions.clone()
    wrong[3, 0] = torch.tensor([0.0, 0.0])
    again = cross_validate(Examples(examples.cells, wrong, examples.image), head, 0, folds.append)
    assert (again.located.positions[3, 0] - examples.positions[3, 0]).norm() < 1.5


def test_as_many_landmarks_are_found_as_were_annotated():
    scores = torch.tensor([[0.9, 0.5], [0.2, 0.4], [0.6, 0.1], [0.1, 0.3]])
    visible = torch.tensor([[True, True], [False, True], [True, True], [False, True]])
    least = thresholds(scores, visible)
    assert least.tolist() == pytest.approx([0.6, 0])
    assert ((scores >= least).sum(0) == visible.sum(0)).all()


def test_pixels_and_cells_are_converted_there_and_back():
    window = (20.0, 10.0, 70.0, 140.0)
    landmarks = np.array([[25.0, 30.0], [60.0, 100.0], [5.0, 30.0], [np.nan, np.nan]])
    positions = on_map(landmarks, window, (14, 14))
    np.testing.assert_allclose(positions_in_image(positions[:2], (14, 14), (200, 200), window), landmarks[:2])
    assert np.isnan(positions[2:]).all()  # outside the window, and hidden
