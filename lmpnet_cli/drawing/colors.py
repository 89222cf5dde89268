"""Define the colour of each keypoint, the same in every image, report and export format."""

# The palette of Okabe and Ito for colour-blind readers, without black, followed by further colours so that sixteen
# keypoints can be told apart. The first entry is the colour of kp1.
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
    """Return the red, green and blue value (0 to 255) of a keypoint, by its index from 0; colours repeat after 16."""
    return COLORS[index % len(COLORS)]


def web_color(index: int) -> str:
    """Return the colour of a keypoint in the notation of HTML.

    >>> web_color(0)
    '#e69f00'
    """
    return "#" + "".join(f"{value:02x}" for value in keypoint_color(index))
