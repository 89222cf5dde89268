"""What MkDocs cannot know by itself: pages from outside docs/, links between the two, and the options of classes."""

import posixpath
import re
from importlib import import_module
from inspect import cleandoc, isclass
from pathlib import Path

from griffe import Class, Docstring, Extension
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
OUTSIDE = {  # files of the repository that are pages or downloads of the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "licence.txt",
    "SECURITY.md": "security.md",
    "weights/README.md": "weights.md",
    **{path.relative_to(ROOT).as_posix(): f"examples/{path.name}" for path in ROOT.glob("examples/*.py")},
}
LINK = re.compile(r"(?<=\]\()([^)#:]+)(?=[#)])")


def on_files(files, config):
    """Add the files from outside docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links between files of the repository into links between pages."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # it would be a list of one
    source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()

    def on_site(link):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[0]))
        target = OUTSIDE.get(path, path.removeprefix("docs/"))
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(on_site, markdown)


class Options(Extension):
    """Give the classes of lmpnet_cli.config their full docstrings, which list the options when they are imported."""

    def on_class(self, *, cls: Class, **_):
        """Replace the docstring of one class."""
        if cls.module.path.startswith("lmpnet_cli.config."):
            found = getattr(import_module(cls.module.path), cls.name, None)
            if isclass(found) and found.__doc__:
                cls.docstring = Docstring(cleandoc(found.__doc__), parent=cls, parser="google")
