"""`lmpnet doctor`."""

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import print_json, print_note, print_summary


def doctor(quiet: o.Quiet = False, json: o.Json = False) -> None:
    """Say what this installation can do: versions, devices, extras, and which optional features are unavailable.

    \b
    lmpnet doctor
    lmpnet doctor --json > for-the-bug-report.json
    """
    from lmpnet_cli.io.doctor import doctor as run

    findings = run()
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if json:
        print_json({finding.name: {"state": finding.state, "says": finding.says} for finding in findings})
    elif not quiet:
        facts = {each.name: each.says if each.state == "ok" else f"{each.state}: {each.says}" for each in findings}
        print_summary("doctor", facts)
        print_note(f"Broken: {', '.join(broken)}." if broken else "All checks passed.")
    if broken:
        raise typer.Exit(1)
