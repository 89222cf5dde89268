"""Check that this clone can be released as its version says, or tag it; nothing is pushed.

    python .ci/release.py          # check
    python .ci/release.py --tag    # check again, then tag

`make release` checks, runs everything that must pass, and tags.
"""

import re
import subprocess
import sys
from pathlib import Path

VERSION = re.compile(r'^__version__ = "(.+)"$', re.M)
CITED = re.compile(r"^version: (.+)$", re.M)
HEADING = re.compile(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", re.M)


def main() -> None:
    """Check, and tag where that was asked for."""
    root = Path(__file__).parent.parent
    version = one(VERSION, root / "lmpnet_cli" / "__init__.py", "a line with __version__")
    tag = f"v{version}"
    if problems := found_problems(root, version, tag):
        raise SystemExit("\n".join(["This clone cannot be released:", *(f"- {each}" for each in problems)]))

    if "--tag" in sys.argv[1:]:
        git(root, "tag", "--annotate", tag, "--message", f"lmpnet {version}")
        print(f"Tagged {tag}. To publish it: git push origin {tag}")
    else:
        print(f"{version} can be released.")


def found_problems(root: Path, version: str, tag: str) -> list[str]:
    """Return what is wrong, a sentence each."""
    problems = []
    if git(root, "status", "--porcelain"):
        problems.append("There are uncommitted changes. Commit them, or remove them.")
    if git(root, "tag", "--list", tag):
        problems.append(f"The tag {tag} already exists. Increase __version__ in lmpnet_cli/__init__.py.")

    cited = one(CITED, root / "CITATION.cff", "a line with the version")
    if cited != version:
        problems.append(f"CITATION.cff says {cited}, lmpnet_cli/__init__.py says {version}. Make them the same.")
    return problems + problems_of_changelog((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)


def problems_of_changelog(text: str, version: str) -> list[str]:
    """Return what is wrong in the changelog, a sentence each."""
    headings = list(HEADING.finditer(text))
    dated = [each for each in headings if each[2]]
    if not dated or dated[0][1] != version:
        newest = dated[0][1] if dated else "none"
        heading = f"## [{version}] - YYYY-MM-DD"
        return [f'The newest dated version in CHANGELOG.md is {newest}. Write "{heading}" above the changes.']

    above = text[headings[0].end() : dated[0].start()]
    if re.search(r"^- ", above, re.M):
        return [f"CHANGELOG.md lists changes above version {version}. Move them below its heading."]
    return []


def one(pattern: re.Pattern[str], file: Path, what: str) -> str:
    """Return what a pattern finds in a file."""
    found = pattern.search(file.read_text(encoding="utf-8"))
    if not found:
        raise SystemExit(f"{file} has no version: {what} is missing.")
    return found[1]


def git(root: Path, *arguments: str) -> str:
    """Run git and return what it prints."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
