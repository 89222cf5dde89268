"""`make release`: what is refused, and what is tagged."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lmpnet_cli

ROOT = Path(__file__).parent.parent
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2030-01-02\n\n- New.\n\n## [1.1.0] - 2029-01-02\n\n- Old.\n"
IDENTITY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A small repository that can be released as 1.2.0."""
    for name, value in (IDENTITY | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "lmpnet_cli").mkdir()
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release.py", tmp_path / ".ci")
    (tmp_path / "lmpnet_cli" / "__init__.py").write_text('"""Package."""\n\n__version__ = "1.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 1.2.0\n")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.split()


def commit(folder):
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Change")


def release(folder, *arguments):
    program = [sys.executable, folder / ".ci" / "release.py", *arguments]
    done = subprocess.run(program, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_check_changes_nothing_and_a_release_is_tagged_once(clone):
    assert release(clone) == (0, "1.2.0 can be released.\n") and git(clone, "tag") == []
    code, output = release(clone, "--tag")
    assert code == 0 and "git push origin v1.2.0" in output and git(clone, "tag") == ["v1.2.0"]
    assert git(clone, "cat-file", "-t", "v1.2.0") == ["tag"]
    code, output = release(clone, "--tag")
    assert code == 1 and "The tag v1.2.0 already exists" in output


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("CHANGELOG.md", " - 2030-01-02", "", "newest dated version in CHANGELOG.md is 1.1.0"),
        ("CHANGELOG.md", "1.2.0", "1.3.0", "newest dated version in CHANGELOG.md is 1.3.0"),
        ("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n- Newer.\n", "lists changes above version 1.2.0"),
        ("CITATION.cff", "\nversion: 1.2.0", "\nversion: 1.1.0", "CITATION.cff says 1.1.0"),
        ("lmpnet_cli/__init__.py", "1.2.0", "1.1.0", "CITATION.cff says 1.2.0, lmpnet_cli/__init__.py says 1.1.0"),
    ],
)
def test_versions_that_differ_are_refused(clone, file, old, new, message):
    text = (clone / file).read_text()
    assert old in text
    (clone / file).write_text(text.replace(old, new))
    commit(clone)
    code, output = release(clone, "--tag")
    assert code == 1 and message in output and git(clone, "tag") == []


def test_uncommitted_changes_are_refused(clone):
    (clone / "new.txt").write_text("new")
    code, output = release(clone, "--tag")
    assert code == 1 and "uncommitted changes" in output and git(clone, "tag") == []


def test_the_citation_has_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", text, re.M) == [lmpnet_cli.__version__]
    assert "arXiv:2507.02308" in text
