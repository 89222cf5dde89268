"""The colour of each keypoint, the same in every picture, page and format."""

# Okabe and Ito's palette for colour-blind readers, without black, and then further colours so that sixteen keypoints
# are told apart; kp1 first
COLORS: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 158, 115),
    (0, 114, 178),
    (255, 255, 255),
    (150, 90, 40),
    (160, 230, 80),
    (140, 100, 220),
    (160, 160, 160),
    (255, 130, 130),
    (130, 20, 60),
    (0, 220, 210),
    (120, 120, 0),
)


def keypoint_color(index: int) -> tuple[int, int, int]:
    """The colour of the keypoint of that index, everywhere."""
    return COLORS[index % len(COLORS)]


def web_color(index: int) -> str:
    """The same as the web writes it, such as #e69f00."""
    return "#" + "".join(f"{part:02x}" for part in keypoint_color(index))
