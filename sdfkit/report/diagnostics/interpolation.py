"""The report of `interpolate`: a table of what the shapes between two codes are like."""

from collections.abc import Mapping
from typing import Any

from sdfkit.report.tables import format_table
from sdfkit.wording import counted


def format_interpolation(facts: Mapping[str, Any], definitions: Mapping[str, str]) -> str:
    """Return the report as text.

    Args:
        facts: The JSON report: `store`, `pairs`, `between`, `tolerance`, and `summary`, which gives for each measure
            its `mean`, the ends `low` and `high` of the confidence interval, and the number of `paths` that have it.
        definitions: What each measure is, by its name.
    """
    rows = [
        (
            name.replace("_", " "),
            mean["mean"],
            f"{mean['low']:.3f} to {mean['high']:.3f}",
            mean["paths"],
            text,
        )
        if mean
        else (name.replace("_", " "), None, "-", 0, text)
        for name, text in definitions.items()
        for mean in [facts["summary"][name]]
    ]
    table = format_table(("measure", "mean", "95 %", "paths", "definition"), rows)
    shapes = f"{counted(facts['between'], 'shape')} between the ends of each"
    return f"{facts['store']}: {counted(facts['pairs'], 'path')}, {shapes}; tolerance {facts['tolerance']:g}\n\n{table}"
