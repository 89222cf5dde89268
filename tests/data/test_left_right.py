"""Left and right in the names of keypoints."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmpnet_cli.data.left_right import flip_indices, mirrored_name, sides_without_partner


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_eye", "right_eye"),
        ("eye_left", "eye_right"),
        ("leftEye", "rightEye"),
        ("LeftEye", "RightEye"),
        ("EyeLeft", "EyeRight"),
        ("LEFT_EYE", "RIGHT_EYE"),
        ("left eye", "right eye"),
        ("L_eye", "R_eye"),
        ("eye-l", "eye-r"),
        ("eye.L", "eye.R"),
        ("l eye", "r eye"),
        ("L", "R"),
        ("left", "right"),
        ("LEye", "REye"),
        ("lEye", "rEye"),
        ("eyeL", "eyeR"),
        ("eye(l)", "eye(r)"),
        ("L1", "R1"),
        ("leg2_left", "leg2_right"),
        ("left2leg", "right2leg"),
        ("left_eye_left_corner", "right_eye_right_corner"),
        ("Flügel_l", "Flügel_r"),
        ("flügelLinksL", "flügelLinksR"),
        ("wing, left", "wing, right"),
    ],
)
def test_sides_are_exchanged(left, right):
    assert mirrored_name(left) == right and mirrored_name(right) == left
    assert flip_indices(["beak", right, left]) == [0, 2, 1]
    assert flip_indices(["beak", left]) == [0, 1]  # without its partner
    assert sides_without_partner(["beak", left], [0, 1]) == [left]


@pytest.mark.parametrize(
    "name",
    ["beak", "bright", "cleft", "collar", "leftover", "upright", "lr", "kp1", "", "_", "Lore", "Müller", "läufer"],
)
def test_words_that_only_contain_a_side_have_none(name):
    assert mirrored_name(name) == name


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Lknee", "Rknee"),
        ("lwing", "rwing"),
        ("lefteye", "righteye"),
        ("eyeleft", "eyeright"),
        ("lefteye", "RightEye"),
        ("left_eye", "Right_eye"),
        ("left_eye ", "right_eye"),
        ("left eye", "right_eye"),
        ("eye.L", "eye-r"),
        ("LEFT-EYE", "rightEye"),
        ("Lefteye", "RIGHTEYE"),
        ("lf_paw", "rf_paw"),
        ("LH paw", "RH paw"),
        ("lf_leg", "rf_leg"),
        ("FL_paw", "FR_paw"),
        ("u\u0308 left", "ü right"),
    ],
)
def test_partners_that_are_spelled_in_another_way(left, right):
    assert flip_indices(["beak", right, "leg", left]) == [0, 3, 2, 1]
    assert flip_indices(["beak", left]) == [0, 1]


def test_four_limbs_are_exchanged_in_pairs():
    assert flip_indices(["LF", "RF", "LR", "RR"]) == [1, 0, 3, 2]  # left and right, front and rear
    assert flip_indices(["FL", "FR", "RL", "RR"]) == [1, 0, 3, 2]
    assert flip_indices(["lf_paw", "rf_paw", "lh_paw", "rh_paw"]) == [1, 0, 3, 2]


def test_a_name_with_several_possible_partners_keeps_its_place():
    assert flip_indices(["left_eye", "Right_eye", "RIGHT EYE"]) == [0, 1, 2]
    assert flip_indices(["left_eye", "Right_eye", "right_eye"]) == [2, 1, 0]  # the strictest rule comes first
    assert flip_indices(["Eye", "eye", "left ", "left"]) == [0, 1, 2, 3]
    assert flip_indices(["leg", "lip", "bright", "collar"]) == [0, 1, 2, 3]


def test_names_with_a_side_and_no_partner():
    names = ["left_eye", "right eye", "left wing", "Rightfoot", "r", "leg", "bright", "upright", "cleft", "lf_paw"]
    assert sides_without_partner(names, flip_indices(names)) == ["left wing", "Rightfoot", "r"]


def test_sides_in_a_list_by_hand():
    names = ["nose", "left_eye", "right_eye", "leftEar", "rightEar", "L_paw", "r_paw", "bright", "tail_left"]
    assert flip_indices(names) == [0, 2, 1, 4, 3, 6, 5, 7, 8]
    assert flip_indices([]) == []
    coco = ["nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"]
    assert flip_indices(coco) == [0, 2, 1, 4, 3, 6, 5]


WORDS = st.sampled_from(
    ["left", "right", "Left", "Right", "LEFT", "RIGHT", "l", "r", "L", "R", "eye", "Eye", "_", " ", "1", "ß", "İ", "ǅ"]
)


@given(st.lists(WORDS, max_size=6).map("".join) | st.text(max_size=8))
@example("İ")
@example("ß")
def test_mirroring_twice_gives_the_name(name):
    assert mirrored_name(mirrored_name(name)) == name


@given(st.lists(st.lists(WORDS, min_size=1, max_size=3).map("".join) | st.text(max_size=4), unique=True, max_size=12))
def test_flip_indices_are_an_involution(names):
    flipped = flip_indices(names)
    assert [flipped[index] for index in flipped] == list(range(len(names)))
    index_of = {name: index for index, name in enumerate(names)}
    for index, name in enumerate(names):
        other = index_of.get(mirrored_name(name), index)
        assert flipped[index] == other or other == index  # where the partner has the mirrored name
