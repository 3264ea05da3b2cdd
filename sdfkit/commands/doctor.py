from typing import TYPE_CHECKING

import typer

from sdfkit.options import Json

if TYPE_CHECKING:
    from sdfkit.runtime.doctor import Fact

WIDTH = 80


def doctor(*, as_json: Json = False) -> None:
    """Tell what this machine can do for sdfkit, and what to install where it lacks something.

    Cores, memory, free space, torch, the GPU, OpenGL, the hub and the encoders that are here; drivers are tried, not
    looked up. A GPU, OpenGL and the hub are welcome but not needed: the status is 0 if shapes can go all the way
    from a mesh to a predicted mesh, and 5 if not.

    \b
    Examples:
      sdfkit doctor
      sdfkit doctor --json | jq '.facts.GPU'
    """
    from sdfkit.errors import MissingError
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.doctor import look

    facts = look()
    missing = [fact for fact in facts if fact.needed]
    if as_json:
        told = {
            fact.name: {"ok": fact.ok, "told": fact.told, "remedy": fact.remedy, **fact.found}
            for fact in facts
        }
        typer.echo(format_json({"can_run": not missing, "facts": told}))
    else:
        for fact in facts:
            typer.echo(_line(fact))
    if missing:
        reasons = "; ".join(f"{fact.name}: {fact.told}: {fact.remedy}" for fact in missing)
        raise MissingError(f"the main job cannot run here: {reasons}")
    if not as_json:
        typer.echo("\nThe main job can run here, from meshes to a predicted mesh.")


def _line(fact: "Fact") -> str:
    """One line of the screen; what is told gives way to the remedy, which must be whole to be of use."""
    from sdfkit.report.tables import printable

    start = f"{fact.name:<8}  {'ok' if fact.ok else 'lacks':<5}  "
    end = f": {fact.remedy}" if fact.remedy else ""
    told, room = printable(fact.told), WIDTH - len(start) - len(end)
    return start + (told if len(told) <= room else f"{told[: room - 1]}…") + end
