"""Write docs/options.md: every option of every command, as the program declares it.

python docs/options.py
"""

from pathlib import Path

from typer.main import get_command

from lmpnet_cli.cli import app

PAGE = Path(__file__).parent / "options.md"
HEAD = """# Options

Every argument and option of every command, as `lmpnet COMMAND --help` prints them. A switch without a stated default is
off. `make docs` writes this page.

Exit codes: 0 success, 1 an error that you can fix, 2 wrong usage, 130 interrupted. `lmpnet --version` shows the
version, and `lmpnet --install-completion` enables tab completion.
"""


def page() -> str:
    """Return the content of the page."""
    sections = [HEAD]
    for name, command in sorted(get_command(app).commands.items()):
        if command.hidden:  # a second name
            continue
        shown = sorted((each for each in command.params if each.name != "help"), key=lambda each: each.param_type_name)
        rows = [f"| {_flags(each)} | {_text(each.help or '')} |" for each in shown]  # arguments first
        about = (command.help or "").partition("\n")[0]
        sections.append("\n".join([f"## {name}\n", f"{about}\n", "| option | meaning |", "| --- | --- |", *rows, ""]))
    return "\n".join(sections)


def _flags(parameter) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}`"
    return ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))


def _text(text: str) -> str:
    return text.replace("\\[", "[").replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
