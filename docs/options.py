"""Write docs/options.md: every option of every command, as the program declares it.

python docs/options.py
"""

from pathlib import Path

from typer.main import get_command

from lmpnet_cli.cli import app

PAGE = Path(__file__).parent / "options.md"
HEAD = """# Options

Every option of every command, as `lmpnet COMMAND --help` prints it. `python docs/options.py` writes this page.
"""


def page() -> str:
    """Return the content of the page."""
    sections = [HEAD]
    for name, command in sorted(get_command(app).commands.items()):
        if command.hidden:  # a second name
            continue
        rows = [f"| {_flags(option)} | {_text(option.help or '')} |" for option in command.params if _is_option(option)]
        about = (command.help or "").partition("\n")[0]
        sections.append("\n".join([f"## {name}\n", f"{about}\n", "| option | meaning |", "| --- | --- |", *rows, ""]))
    return "\n".join(sections)


def _is_option(parameter) -> bool:
    return parameter.opts[0].startswith("-") and parameter.name != "help"


def _flags(option) -> str:
    return ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))


def _text(text: str) -> str:
    return text.replace("\\[", "[").replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
