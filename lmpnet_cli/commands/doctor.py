"""`lmpnet doctor`."""

import typer

from lmpnet_cli.commands import options as o
from lmpnet_cli.console import print_json, print_note, print_table


def doctor(quiet: o.Quiet = False, json: o.Json = False) -> None:
    """Say what this installation can do: versions, devices, extras, and what is missing for what.

    \b
    lmpnet doctor
    lmpnet doctor --json > for-the-bug-report.json
    """
    from lmpnet_cli.diagnosis import doctor as run

    findings = run()
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if json:
        print_json({finding.name: {"state": finding.state, "says": finding.says} for finding in findings})
    elif not quiet:
        print_table(
            "doctor",
            [
                "",
                "state",
                "",
            ],
            [[each.name, each.state, each.says] for each in findings],
        )
    if broken:
        raise typer.Exit(1)
