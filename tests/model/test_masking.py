import pytest
import torch

from lmpnet_cli.model.masking import keypoint_mask, mask_out


@pytest.mark.parametrize(("radius", "hidden"), [(1.0, 1), (2.0, 9), (3.0, 25)])
def test_radius_hides_what_a_threshold_of_that_size_erases(radius, hidden):
    mask = keypoint_mask(torch.tensor([60]), torch.tensor([True]), (11, 11), radius)
    assert mask.shape == (1, 1, 11, 11)
    assert (mask == 0).sum() == hidden
    assert mask[0, 0, 5, 5] == 0


def test_no_keypoint_no_mask():
    assert keypoint_mask(torch.tensor([3]), torch.tensor([False]), (4, 4)).all()


def test_one_cell_is_one_square_of_the_image():
    """Cell (1, 2) of a 4 x 4 map over 8 x 12 pixels: rows 2 and 3, columns 6 to 8."""
    images = torch.ones(1, 3, 8, 12)
    masked = mask_out(images, keypoint_mask(torch.tensor([6]), torch.tensor([True]), (4, 4)))
    assert (masked == 0).sum() == 3 * 2 * 3
    assert not masked[:, :, 2:4, 6:9].any()


def test_one_mask_for_each_image():
    with pytest.raises(ValueError, match="one mask"):
        mask_out(torch.ones(2, 3, 8, 8), torch.ones(1, 1, 4, 4))
