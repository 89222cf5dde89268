"""What import-linter's contracts in pyproject.toml cannot hold: no prints, and a command line that answers at once."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_imports_keep_the_contracts():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_print_inside_the_package():
    for path in (ROOT / "lmpnet_cli").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [call for call in calls if getattr(call.func, "id", "") == "print"], path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["discover", "--help"], ["discover", "x", "--k", "0"]]
)
def test_help_and_usage_errors_load_neither_torch_nor_cv2(arguments):
    code = (
        "import sys\nsys.argv = ['lmpnet', *sys.argv[1:]]\nfrom lmpnet_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'cv2', 'timm', 'lightning', 'scipy'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=60)
