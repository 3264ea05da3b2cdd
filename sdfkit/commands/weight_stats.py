from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import IRRELEVANT, STANDARD, WHOLE, Json, Manifest, Overwrite, Seed

if TYPE_CHECKING:
    from sdfkit.analysis.statistics import Statistics

KINDS = ("weights", "codes", "deepsdf", "denoiser", "autoencoder", "flow", "features")


def weight_stats(
    vectors: Annotated[
        str,
        typer.Argument(
            metavar="STORE",
            help="Weights, codes or features: a store or a .npy file; - reads standard input.",
        ),
        WHOLE,
    ] = STANDARD,
    *,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="A second set of vectors, whose statistics are printed beside those of the first.",
        ),
        WHOLE,
    ] = None,
    floor: Annotated[
        float,
        typer.Option(min=0, help="Standard deviation below which a dimension is counted as nearly constant."),
    ] = 1e-4,
    bins: Annotated[
        int, typer.Option(min=1, help="Maximum number of bins in the histogram of cosines.")
    ] = 50,
    seed: Seed = 0,
    as_json: Json = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Plot the statistics (.png), or write their arrays to a store (.zarr).",
        ),
        IRRELEVANT,
    ] = None,
    overwrite: Overwrite = False,
    manifest: Manifest = None,
) -> None:
    """Measure norms, cosines and variance of a set of vectors.

    The vectors are weights of small networks, one per shape, or latent codes, or features. Weights that were fitted
    from the same initial weights (the anchor of fit-mlp) lie close together and far from the origin: nearly all of
    their squared length is that of their mean, and their cosines are near 1. The differences between shapes are a small
    part of the squared length, spread over thousands of dimensions. Codes are distributed around the origin.

    The mean cosine of all pairs of vectors is exact. If there are more than 20,000 vectors, or more than fit into 256
    MB, range and histogram of the cosines are computed from evenly spaced rows only, and the report says so. Principal
    components are exact if there are at most 2,048 vectors or dimensions. Otherwise the first 50 components are
    computed by a randomised method, and the shares of variance reported for them are lower bounds. The effective rank
    is (sum of v)^2 / (sum of v^2), where v are the variances along the components. Memory use does not grow with the
    number of vectors: large sets are read five or six times.

    Two standard deviations per dimension are reported: one measured, and one implied by the mean norm and the mean
    cosine, norm * sqrt((1 - cosine) / dimensions). The two agree if all norms are equal.

    \b
    Examples:
      sdfkit weight-stats weights.zarr
      sdfkit weight-stats anchored.zarr --compare independent.zarr -o geometry.png
      sdfkit weight-stats deepsdf.zarr --json | jq .effective_rank
    """
    import numpy as np

    from sdfkit.analysis.statistics import measure_statistics
    from sdfkit.errors import UsageError
    from sdfkit.io.stores.contents.vectors import open_vectors
    from sdfkit.io.stores.writer import create_store
    from sdfkit.report.diagnostics.statistics import (
        describe_statistics,
        find_parts,
        format_statistics,
        plot_statistics,
    )
    from sdfkit.report.plots import check_picture, draw_panels
    from sdfkit.report.tables import format_json

    if vectors == compare == STANDARD:
        raise UsageError("standard input can be read only once; give a file for --compare")
    picture = None
    if output is not None and not output.rstrip("/").endswith((".zarr", ".zip", ".npz", ".npy", STANDARD)):
        picture = Path(output)
        check_picture(picture, overwrite)
    elif output is not None and compare is not None:
        raise UsageError(
            "an output store holds the statistics of one set only; leave out --compare, or plot both sets as .png"
        )
    with ExitStack() as stack:
        paths = [path for path in (vectors, compare) if path is not None]
        sets = [stack.enter_context(open_vectors(path, *KINDS, manifest=manifest)) for path in paths]
        parts = find_parts(sets)
        first = sets[0]
        rows = [replace(row, index=index) for index, row in enumerate(first.rows)]
        store = nullcontext() if output is None or picture is not None else create_store(
            output, "stats", rows=rows, history=first.history, settings={}, overwrite=overwrite,
            report=True,
        )  # fmt: skip
        with store as writer:
            measured = [
                measure_statistics(
                    each.vectors, [row.uid for row in each.rows], each.name, parts, floor, bins,
                    np.random.default_rng(seed),
                )
                for each in sets
            ]  # fmt: skip
            facts = [describe_statistics(each, found) for each, found in zip(sets, measured, strict=True)]
            report = facts[0] | ({"compared": facts[1]} if compare is not None else {})
            typer.echo(format_json(report) if as_json else format_statistics(facts, floor))
            if writer is not None:
                _write(writer, rows, measured[0])
    if picture is not None:
        draw_panels(picture, plot_statistics([each.name for each in sets], measured), overwrite=overwrite)


def _write(writer: Any, rows: list[Any], statistics: "Statistics") -> None:
    import numpy as np

    for name, axis, values in (
        ("norm", "shape", statistics.moments.norm.astype(np.float32)),
        ("cosine_to_mean", "shape", statistics.to_mean.astype(np.float32)),
        ("mean", "dim", statistics.moments.mean.astype(np.float32)),
        ("std", "dim", statistics.std.astype(np.float32)),
        ("component_variance", "component", statistics.spectrum.variance),
        ("cosine_count", "bin", statistics.cosines.counts),
        ("cosine_edge", "edge", statistics.cosines.edges),
    ):
        writer.create_array(name, data=values, axes=(axis,))
    for row in rows:
        writer.write(row)
