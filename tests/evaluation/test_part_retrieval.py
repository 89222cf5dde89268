"""Part-to-part retrieval: a slow twin over all pairs, and cases by hand."""

import numpy as np
import pytest

from lmpnet_cli.evaluation.part_metrics import part_retrieval

NAN = np.nan


def twin(keypoints, landmarks, groups, classes) -> tuple[float, float]:
    """Compare every pair of images."""

    def landmark_at(image: int, part: int) -> int | None:
        distances = {
            number: float(np.linalg.norm(keypoints[image, part] - landmarks[image, number]))
            for number in range(landmarks.shape[1])
        }
        known = {number: value for number, value in distances.items() if value == value}
        return groups[min(known, key=known.get)] if known else None

    count, k = keypoints.shape[:2]
    at = [[landmark_at(image, part) for part in range(k)] for image in range(count)]
    same = [
        at[one][part] == at[other][part]
        for one in range(count)
        for other in range(count)
        for part in range(k)
        if classes[one] != classes[other] and at[one][part] is not None and at[other][part] is not None
    ]
    known = [each for row in at for each in row if each is not None]
    return 100 * float(np.mean(same)), 100 * float(np.mean([one == other for one in known for other in known]))


def test_it_is_that_of_all_pairs():
    random = np.random.default_rng(0)
    keypoints, landmarks = random.random((12, 3, 2)), random.random((12, 5, 2))
    keypoints[random.random((12, 3)) < 0.2] = NAN
    landmarks[random.random((12, 5)) < 0.3] = NAN
    groups, classes = [0, 1, 1, 2, 3], list(random.choice(["a", "b", "c"], 12))
    found = part_retrieval(keypoints, landmarks, groups, classes)
    assert (found.recall, found.chance) == pytest.approx(twin(keypoints, landmarks, groups, classes))


def test_perfect_parts_left_and_right_and_one_class():
    landmarks = np.array([[[0.0, 0], [1, 1], [0.5, 0.5]], [[0, 0], [1, 1], [0.5, 0.5]]])
    assert part_retrieval(landmarks[:, :2], landmarks, [0, 1, 2], ["a", "b"]).recall == 100
    crossed = np.stack([landmarks[0, [0, 1]], landmarks[1, [1, 0]]])
    assert part_retrieval(crossed, landmarks, [0, 1, 2], ["a", "b"]).recall == 0
    assert part_retrieval(crossed, landmarks, [0, 0, 1], ["a", "b"]).recall == 100  # left and right
    assert np.isnan(part_retrieval(crossed, landmarks, [0, 1, 2], ["a", "a"]).recall)
