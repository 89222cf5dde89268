"""Fill the HTML template. The file contains everything: style, scripts, data and images."""

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SCRIPTS = ("page.js", "corrections.js", "viewer.js", "gallery.js", "review.js", "filters.js")


def report_html(images: Iterable[tuple[str, str]], **content: Any) -> Iterator[str]:
    """Yield the HTML piece by piece, so that the images of a large report are never in memory at the same time.

    Args:
        images: the element id and the base64 text of each image.
        **content: the other variables of the template.
    """
    environment = Environment(
        loader=PackageLoader("lmpnet_cli.export.report", "static"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )

    def source(name: str) -> Markup:
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704 (style and scripts of lmpnet)

    template = environment.get_template("page.html.j2")
    scripts = [source(name) for name in SCRIPTS]
    yield from template.generate(images=images, style=source("page.css"), scripts=scripts, **content)
