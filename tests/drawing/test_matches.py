import numpy as np

from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.drawing.matches import CELL, SIDE, draw_matches
from lmpnet_cli.keypoints import Keypoints

BLANK = np.full((100, 100, 3), 255, np.uint8)


def keypoints(name: str, *xy: tuple[float, float]) -> Keypoints:
    positions = np.array(xy)
    return Keypoints(name, 100, 100, positions, np.where(np.isnan(positions[:, 0]), np.nan, 1.0))


def has_color(pixels: np.ndarray, keypoint: int) -> bool:
    return bool((pixels == keypoint_color(keypoint)).all(2).any())


def test_a_line_joins_two_images_and_none_leads_to_a_missing_point():
    whole, lacking = keypoints("a.jpg", (20, 50), (80, 80)), keypoints("b.jpg", (20, 50), (np.nan, np.nan))
    drawing = draw_matches([BLANK, BLANK], [whole, lacking], ["a", "b"], 4)
    row = round(6 + (50.5 * SIDE / 100))
    assert has_color(drawing[row - 3 : row + 3, SIDE // 2 : SIDE], 0)
    assert has_color(drawing[:SIDE, :SIDE], 1)
    assert not has_color(drawing[:SIDE, SIDE + 30 :], 1)  # neither a disc nor a line in the second image


def test_lines_stay_within_a_row():
    found = [keypoints(name, (50, 50)) for name in "abc"]
    drawing = draw_matches([BLANK] * 3, found, ["a"], 2)
    assert drawing.shape[1] == 2 * CELL
    center = 6 + SIDE // 2
    between_rows = drawing[center + 20 : CELL + center - 20, center - 3 : center + 3]
    assert not has_color(between_rows, 0)
    assert has_color(drawing[CELL : CELL + SIDE, :CELL], 0) and not has_color(drawing[CELL : CELL + SIDE, CELL:], 0)
