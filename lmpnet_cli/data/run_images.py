"""A folder of results: what its `run.json` says, and where the pictures lie that it tells of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.errors import InputError
from lmpnet_cli.io.json_input import dict_in
from lmpnet_cli.io.run_record import read_run


def find_images(
    names: Sequence[str], folder: Path, given: Sequence[Path] = (), follow_links: bool = False
) -> dict[str, Path]:
    """Where the pictures of a result lie, by their names; those that are not there any more are left out.

    Args:
        folder: of the result, whose `run.json` says where they were.
        given: folders and files that take its place.
        follow_links: those of the pictures that links lead to are there, too; also so where the run followed them, and
            nothing is `given`.

    Raises:
        InputError: when no place is known, or none of the pictures is there.
    """
    inputs = list(given) or inputs_of(folder)
    if not inputs:
        raise InputError(f"{folder} does not say where its pictures are. Name the place: --images FOLDER.")
    try:
        follow_links = follow_links or (not given and options_of(folder).get("follow_links") is True)
        listed = {image.name: image.path for image in list_images(inputs, follow_links) if not image.refused}
    except InputError as error:
        raise InputError(f"The pictures are not where they were ({error}) Name the place: --images FOLDER.") from error
    found = {name: listed[name] for name in names if name in listed}
    if names and not found:
        raise InputError(
            f"None of the {len(names)} pictures is in {', '.join(map(str, inputs))}; the first: {names[0]}. "
            "Name the folder that `discover` searched: --images FOLDER."
        )
    return found


def options_of(folder: Path) -> dict[str, Any]:
    """The options of the run whose results lie in the folder; empty where `run.json` does not say."""
    return dict_in(read_run(folder).get("options"))


def inputs_of(folder: Path) -> list[Path]:
    """What the run searched whose results lie in the folder; empty where `run.json` does not say."""
    run = read_run(folder)
    images = options_of(folder).get("images")
    base = Path(run["folder"]) if isinstance(run.get("folder"), str) else Path()
    return [base / entry for entry in images if isinstance(entry, str)] if isinstance(images, list) else []
