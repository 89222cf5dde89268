"""The documentation holds together: links lead somewhere, pages are in the navigation, Python names are described."""

import re
from pathlib import Path

import pytest

import lmpnet_cli as lmpnet
from lmpnet_cli import config

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for folder in (ROOT, DOCS, DOCS / "results", ROOT / "weights") for path in folder.glob("*.md"))
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(page):
    """Return (is an image, text, target) of every link to a file."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    return [(mark == "!", text, target) for mark, text, target in LINK.findall(text) if "://" not in target]


def test_there_are_links():
    assert sum(len(links(page)) for page in PAGES) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_images_have_a_description(page):
    for image, text, target in links(page):
        assert (page.parent / target).is_file(), target
        assert text or not image, target


def test_every_page_is_in_the_navigation_once():
    navigation = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    assert len(navigation) == len(set(navigation))
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} <= set(navigation)


def test_images_are_small_and_shown():
    images = list((DOCS / "images").iterdir())
    assert all(image.stat().st_size <= 200_000 for image in images)
    assert sum(image.stat().st_size for image in images) <= 1_000_000
    shown = {(page.parent / target).resolve() for page in PAGES for image, _, target in links(page) if image}
    assert shown == set(images)


def test_public_names_and_their_options_are_described():
    described = re.findall(r"^::: (\S+)$", (DOCS / "python.md").read_text(encoding="utf-8"), re.M)
    assert len(described) == len(set(described))
    functions = [getattr(lmpnet, name) for name in lmpnet.__all__]
    assert {f"{each.__module__}.{each.__qualname__}" for each in functions} <= set(described)
    options = {name for name in config.__all__ if name.endswith("Config")} - {
        "KeypointConfig",
        "ModelConfig",
        "RunConfig",
    }
    assert options - {"SaliencyConfig"} <= {name.rpartition(".")[2] for name in described}
