"""How torch takes memory; to be said before torch is loaded."""

import os


def large_pages() -> None:
    """Has torch ask Linux for large pages.

    The maps of one batch take hundreds of megabytes, which are given back and taken anew for the next: by pages of
    4 KiB that is a tenth of the time of `discover`. What the user has set stays.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
