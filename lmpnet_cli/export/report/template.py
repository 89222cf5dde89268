"""Fills the template. Everything is inside the one file: style, scripts, data, pictures."""

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SCRIPTS = ("page.js", "gallery.js", "filters.js")


def page_text(pictures: Iterable[tuple[str, str]], **content: Any) -> Iterator[str]:
    """The page, piece by piece, so that the pictures of a large one are never in memory together.

    Args:
        pictures: (id, base64) of each picture.
        **content: what the template names.
    """
    environment = Environment(
        loader=PackageLoader("lmpnet_cli.export.report", "static"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )

    def source(name: str) -> Markup:
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704 (style and scripts of ours)

    template = environment.get_template("page.html.j2")
    yield from template.generate(
        pictures=pictures, style=source("page.css"), scripts=[source(name) for name in SCRIPTS], **content
    )
