from typing import Annotated

import typer

from sdfkit.inference.defaults import (
    INTERPOLATE_BETWEEN,
    INTERPOLATE_PAIRS,
    INTERPOLATE_RESOLUTION,
    INTERPOLATE_TOLERANCE,
)
from sdfkit.options import IRRELEVANT, STANDARD, WHOLE, Device, Json, Manifest, Overwrite, Seed


def interpolate(
    codes: Annotated[
        str,
        typer.Argument(metavar="STORE", help="Store of a model with codes, or of codes with --decoder."),
        WHOLE,
    ] = STANDARD,
    *,
    decoder: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Store of the model that decodes the codes."),
        WHOLE,
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=1, help="Number of pairs of shapes, which are drawn at random.")
    ] = INTERPOLATE_PAIRS,
    steps: Annotated[
        int, typer.Option(min=1, help="Number of codes between the two ends of a path.")
    ] = INTERPOLATE_BETWEEN,
    within_category: Annotated[
        bool, typer.Option("--within-category", help="Only pairs of shapes of one category.")
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="How far volumes and areas may lie outside those of both ends, as a share of the greater of these.",
        ),
    ] = INTERPOLATE_TOLERANCE,
    resolution: Annotated[
        int, typer.Option(min=16, max=256, help="Grid cells along a side of the query cube.")
    ] = INTERPOLATE_RESOLUTION,
    seed: Seed = 0,
    device: Device = "auto",
    manifest: Manifest = None,
    as_json: Json = False,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="PATH", help="Write the codes of the paths to this store."),
        IRRELEVANT,
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the shapes on straight paths between pairs of codes.

    In a regular code space, the shapes between two shapes are shapes too: each has a surface in one piece, its volume
    and area lie between those of the ends, and the path has steps of equal length. The codes of each path are meshed as
    sdfkit mesh does, without specks, and measured. The report gives means over paths, with 95 % confidence intervals
    from a bootstrap over paths, and says what each measure is. --json also gives the measures of each path and shape.
    Compare models on the same shapes, pairs and seed. The shares of a code space are at most as good as its
    ends, which the last row judges.

    With -o the codes are written with both ends, under the uids A~B~0, A~B~1, ...; sdfkit mesh decodes them.

    \b
    Examples:
      sdfkit interpolate deepsdf.zarr
      sdfkit interpolate deepsdf.zarr --pairs 3 -o paths.zarr
      sdfkit mesh paths.zarr --decoder deepsdf.zarr -o paths/
      sdfkit interpolate fitted.zarr --decoder deepsdf.zarr --within-category --json
    """
    from contextlib import nullcontext

    from sdfkit.analysis.interpolation import DEFINITIONS
    from sdfkit.errors import UsageError
    from sdfkit.inference.interpolation import draw_paths, measure_paths
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.writer import create_store
    from sdfkit.report.diagnostics.interpolation import format_interpolation
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.device import choose_device

    if codes == decoder == STANDARD:
        raise UsageError("standard input can be read only once; give a file for --decoder")
    place = choose_device(device)
    with open_store(codes, "codes", "deepsdf", "autoencoder", "flow", manifest=manifest) as store:
        paths = draw_paths(
            store, decoder, place, pairs=pairs, between=steps, within_category=within_category, resolution=resolution,
            seed=seed,
        )  # fmt: skip
        history = [
            *paths.decoder.history,
            *(step for step in store.history if step not in paths.decoder.history),
        ]
    with nullcontext() if output is None else create_store(
        output, "codes", rows=paths.rows, history=history, settings={},
        attributes={"decoder": paths.decoder.name, "decoder_sha256": paths.decoder.decoder}, seed=seed,
        overwrite=overwrite, report=True,
    ) as writer:  # fmt: skip
        facts = measure_paths(paths, tolerance, seed)
        typer.echo(format_json(facts) if as_json else format_interpolation(facts, DEFINITIONS))
        if writer is not None:
            writer.create_array("code", data=paths.codes.reshape(len(paths.rows), -1), axes=("shape", "dim"))
            for row in paths.rows:
                writer.write(row)
