"""Fixtures of the tests of part learning."""

import pytest
from drawn_parts import K, learned

from lmpnet_cli.model.part_head import PartHead
from lmpnet_cli.parts.learning import Recipe


@pytest.fixture(scope="session")
def part_head() -> PartHead:
    """A part head that has learned the three drawn parts."""
    return learned(1, Recipe(parts=K, starts=2, trial=20, steps=80, batch=32))
