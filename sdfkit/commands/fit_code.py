from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Device, Input, Manifest, Output, Overwrite

if TYPE_CHECKING:
    from sdfkit.io.stores.reader import ArrayRow

SAMPLE = ("point", "distance")
# Shapes that are fitted side by side; points in a CPU's cache; samples that the error is told on.
TOGETHER, CHUNK, TOLD = 16, 8_192, 20_000


class HalfSpace(StrEnum):
    left, right = "-x", "+x"
    below, above = "-y", "+y"
    back, front = "-z", "+z"


def fit_code(
    samples: Input = STANDARD,
    *,
    decoder: Annotated[str, typer.Option(metavar="STORE", help="The deepsdf store whose decoder to fit to.")],
    points: Annotated[
        int | None, typer.Option(min=1, help="Samples of each shape to know; all where not given.")
    ] = None,
    half_space: Annotated[
        HalfSpace | None, typer.Option(help="Know samples on this side of the centre only.")
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps of Adam; at half the rate falls to a tenth.")
    ] = 800,
    batch: Annotated[int, typer.Option(min=1, help="Samples of each shape a step.")] = 1024,
    lr: Annotated[float, typer.Option(min=0, help="Learning rate.")] = 5e-3,
    penalty: Annotated[
        float, typer.Option(min=0, help="How strongly codes are drawn to the training codes' mean.")
    ] = 1e-4,
    clamp: Annotated[float, typer.Option(min=0, help="Distances count up to this.")] = 0.1,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Find the codes of shapes that a decoder was not trained on.

    The decoder stays as it is; each shape's code is moved until the decoded distances agree with its samples. With
    --points or --half-space only some samples are known, and what the code makes of the rest is a completion. The error
    told at the end counts all samples, known or not; judge the meshes with compare.

    \b
    Examples:
      sdfkit fit-code unseen.zarr --decoder deepsdf.zarr -o codes.zarr
      sdfkit fit-code unseen.zarr --decoder deepsdf.zarr --half-space +x | sdfkit mesh --decoder deepsdf.zarr -o whole/
    """
    import logging

    import numpy as np
    import torch

    from sdfkit.errors import InputError
    from sdfkit.io.models import load_decoder
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.writer import create_store
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import conclude, progress
    from sdfkit.training.deepsdf import field_errors
    from sdfkit.training.fitting import FitSettings, fit_codes

    trained = load_decoder(decoder, choose_device(device))
    identity = trained.decoder
    if len(trained.codes) == 1:
        raise InputError(f"{decoder}: was trained on one shape, whose code tells nothing about others")
    seen = torch.from_numpy(trained.codes)
    centre, spread = seen.mean(dim=0), seen.std(dim=0, correction=0).clamp_min(1e-4)
    recipe = FitSettings(steps=steps, batch=batch, lr=lr, clamp=clamp, penalty=penalty, chunk=CHUNK)
    settings = {
        "decoder": decoder, "points": points, "half_space": half_space and str(half_space), "steps": steps,
        "batch": batch, "lr": lr, "penalty": penalty, "clamp": clamp,
    }  # fmt: skip
    with open_store(samples, "samples", manifest=manifest) as store:
        count, dim = len(store), trained.codes.shape[1]
        with create_store(
            output, "codes", count=count, history=store.history, settings=settings,
            attributes={"decoder": decoder, "decoder_sha256": identity}, overwrite=overwrite,
        ) as fitted, progress(count, "shape") as bar:  # fmt: skip
            fitted.create_array("code", shape=(count, dim), dtype="f4", axes=("shape", "dim"))
            fitted.create_array("sdf_l1", shape=(count,), dtype="f4", axes=("shape",))
            errors: dict[str, float] = {}

            def fit(rows: "list[ArrayRow]") -> None:
                rows = [_know(row, half_space, points) for row in rows]
                found: dict[str, dict[str, Any]] = {}
                whole = [row for row in rows if not row.error]
                if whole:
                    known_point, known_distance, point, distance = (
                        torch.from_numpy(np.stack([row.arrays[name] for row in whole]))
                        for name in ("known_point", "known_distance", *SAMPLE)
                    )
                    vectors = fit_codes(trained.network, known_point, known_distance, centre, spread, recipe)
                    told = field_errors(
                        trained.network, vectors, point[:, :TOLD], distance[:, :TOLD], (clamp,), CHUNK
                    )[:, 0]
                    for row, code, error in zip(whole, vectors.cpu().numpy(), told.tolist(), strict=True):
                        found[row.uid] = {"code": code, "sdf_l1": error}
                        errors[row.uid] = error
                for row in rows:
                    fitted.write(row, **found.get(row.uid, {}))
                bar.update(len(rows))

            waiting: list[ArrayRow] = []
            for row in store.rows(*SAMPLE):
                waiting.append(row)
                if len(waiting) == TOGETHER:
                    fit(waiting)
                    waiting = []
            fit(waiting)
    if errors:
        worst = max(errors, key=errors.__getitem__)
        logging.getLogger(__name__).info(
            "SDF L1 up to %g: mean %.5f, worst %.5f (%s)",
            clamp, np.mean(list(errors.values())), errors[worst], worst,
        )  # fmt: skip
    conclude(output, "codes", count, fitted.failed)


def _know(row: "ArrayRow", side: HalfSpace | None, count: int | None) -> "ArrayRow":
    """The row with the samples that are taken as known, or marked as failed."""
    import logging

    import numpy as np

    from sdfkit.errors import GeometryError
    from sdfkit.training.fitting import keep_known

    if row.error:
        return row
    point, distance = row.arrays["point"], row.arrays["distance"]
    known = np.ones(len(point), dtype=bool)
    if side is not None:
        known = (1 if side[0] == "+" else -1) * point[:, "xyz".index(side[1])] > 0
    try:
        places, values = keep_known(point, distance, known, min(count or len(point), len(point)))
    except GeometryError as error:
        logging.getLogger(__name__).warning("%s: %s", row.uid, error)
        return replace(row, error=str(error))
    return replace(row, arrays={**row.arrays, "known_point": places, "known_distance": values})
