"""Find the images of a finished run, from what its `run.json` records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.errors import InputError
from lmpnet_cli.io.json_input import SchemaError, check, dict_in
from lmpnet_cli.io.run_record import read_run


class _Inputs(Struct):
    """The options of a run that say which images it read."""

    images: list[str] = []
    follow_links: bool = False


def find_images(
    names: Sequence[str], folder: Path, given: Sequence[Path] = (), follow_links: bool = False
) -> dict[str, Path]:
    """Return the path of each image of a result by name; images that no longer exist are omitted.

    Args:
        folder: of the result, whose `run.json` records where the images were.
        given: folders and files to search in place of the recorded ones.
        follow_links: follow symbolic links that point outside the folders; also done where the run did so and nothing
            is `given`.

    Raises:
        InputError: when no location is known, or none of the images is there.
    """
    inputs = list(given) or inputs_of(folder)
    if not inputs:
        raise InputError(f"{folder} does not record where its images are. Pass the folder: --images FOLDER.")

    try:
        follow_links = follow_links or (not given and _recorded(folder).follow_links)
        listed = {image.name: image.path for image in list_images(inputs, follow_links) if not image.refused}
    except InputError as error:
        raise InputError(f"The images have moved ({error}) Pass the folder: --images FOLDER.") from error

    found = {name: listed[name] for name in names if name in listed}
    if names and not found:
        raise InputError(
            f"None of the {len(names)} images is in {', '.join(map(str, inputs))} (for example {names[0]}). "
            "Pass the folder that `discover` searched: --images FOLDER."
        )
    return found


def options_of(folder: Path) -> dict[str, Any]:
    """Return the options of the run whose results are in the folder; empty where `run.json` does not record them."""
    return dict_in(read_run(folder).get("options"))


def inputs_of(folder: Path) -> list[Path]:
    """Return the folders and files that the run searched; empty where `run.json` does not record them."""
    base = Path(read_run(folder).get("folder", ""))
    return [base / entry for entry in _recorded(folder).images]


def _recorded(folder: Path) -> _Inputs:
    try:
        return check(options_of(folder), _Inputs)
    except SchemaError:  # the options of another command or program
        return _Inputs()
