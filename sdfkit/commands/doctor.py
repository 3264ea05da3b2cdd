from typing import TYPE_CHECKING

import typer

from sdfkit.options import Json

if TYPE_CHECKING:
    from sdfkit.runtime.doctor import Fact

WIDTH = 80


def doctor(*, as_json: Json = False) -> None:
    """Report what this machine can run, and what to install.

    The report lists CPU cores, memory, free disk space, torch, the GPU, OpenGL, the connection to the Hugging Face hub,
    and the installed encoders. Graphics drivers are tested by rendering with them. GPU, OpenGL and hub are optional:
    the exit status is 0 if this machine can run all steps from meshes to a predicted mesh, and 5 if it cannot.

    \b
    Examples:
      sdfkit doctor
      sdfkit doctor --json | jq '.facts.GPU'
    """
    from sdfkit.errors import MissingError
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.doctor import inspect_machine

    facts = inspect_machine()
    missing = [fact for fact in facts if fact.needed]
    if as_json:
        described = {
            fact.name: {"ok": fact.ok, "told": fact.summary, "remedy": fact.remedy, **fact.found}
            for fact in facts
        }
        typer.echo(format_json({"can_run": not missing, "facts": described}))
    else:
        for fact in facts:
            typer.echo(_format_line(fact))
    if missing:
        reasons = "; ".join(f"{fact.name}: {fact.summary}: {fact.remedy}" for fact in missing)
        raise MissingError(f"this machine cannot run all steps from meshes to a predicted mesh: {reasons}")
    if not as_json:
        typer.echo("\nThis machine can go from meshes to a predicted mesh.")


def _format_line(fact: "Fact") -> str:
    """Format a fact as one line of the screen: a long summary is shortened, but never the remedy."""
    from sdfkit.rows import printable

    start = f"{fact.name:<8}  {'ok' if fact.ok else 'lacks':<5}  "
    end = f": {fact.remedy}" if fact.remedy else ""
    summary, room = printable(fact.summary), WIDTH - len(start) - len(end)
    return start + (summary if len(summary) <= room else f"{summary[: room - 1]}…") + end
