from typing import Annotated, Literal

import typer

from sdfkit.options import STANDARD, Device, Input, Manifest, Output, Overwrite


def fit_code(
    samples: Input = STANDARD,
    *,
    decoder: Annotated[
        str, typer.Option(metavar="STORE", help="Store that train-deepsdf wrote, with the decoder.")
    ],
    points: Annotated[
        int | None, typer.Option(min=1, help="Number of samples per shape to fit to; default: all.")
    ] = None,
    half_space: Annotated[
        Literal["-x", "+x", "-y", "+y", "-z", "+z"] | None,
        typer.Option(help="Fit only to the samples on this side of the centre; +x: those with x > 0."),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            min=1, help="Number of Adam steps; after half of them, the learning rate falls to a tenth."
        ),
    ] = 800,
    batch: Annotated[int, typer.Option(min=1, help="Number of samples per shape and step.")] = 1024,
    lr: Annotated[float, typer.Option(min=0, help="Initial learning rate.")] = 5e-3,
    penalty: Annotated[
        float,
        typer.Option(
            min=0, help="Weight of the squared distance between code and mean training code in the loss."
        ),
    ] = 1e-4,
    clamp: Annotated[
        float,
        typer.Option(
            min=0, help="Limit predicted and true distances to this absolute value before comparing them."
        ),
    ] = 0.1,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Find the codes of shapes that a decoder was not trained on.

    The decoder of sdfkit train-deepsdf does not change. The latent code of each shape is optimised until the decoded
    distances agree with the shape's samples (of sdfkit sample-sdf). With --points or --half-space the code is fitted to
    only some of the samples, and the decoder completes the shape. The reported error is the mean absolute error of
    clamped distances at all samples, also those that were not fitted. Compare the meshes with sdfkit compare.

    \b
    Examples:
      sdfkit fit-code unseen.zarr --decoder deepsdf.zarr -o codes.zarr
      sdfkit fit-code unseen.zarr --decoder deepsdf.zarr --half-space +x | sdfkit mesh --decoder deepsdf.zarr -o whole/
    """
    import logging

    from sdfkit.errors import InputError
    from sdfkit.inference.code_fitting import ARRAYS, CHUNK, fit_rows
    from sdfkit.io.models import load_decoder
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.writer import create_store
    from sdfkit.report.training_summary import describe_codes
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import progress, report_outcome
    from sdfkit.training.fitting import FitSettings

    trained = load_decoder(decoder, choose_device(device))
    if len(trained.codes) == 1:
        raise InputError(
            f"{decoder}: was trained on one shape, so it cannot represent others; train a decoder on several shapes"
        )
    recipe = FitSettings(steps=steps, batch=batch, lr=lr, clamp=clamp, penalty=penalty, chunk=CHUNK)
    settings = {
        "decoder": decoder, "points": points, "half_space": half_space, "steps": steps, "batch": batch, "lr": lr,
        "penalty": penalty, "clamp": clamp,
    }  # fmt: skip
    with open_store(samples, "samples", manifest=manifest) as store:
        count, dim = len(store), trained.codes.shape[1]
        with create_store(
            output, "codes", count=count, history=store.history, settings=settings,
            attributes={"decoder": decoder, "decoder_sha256": trained.decoder}, overwrite=overwrite,
        ) as fitted, progress(count, "shape") as bar:  # fmt: skip
            fitted.create_array("code", shape=(count, dim), dtype="f4", axes=("shape", "dim"))
            fitted.create_array("sdf_l1", shape=(count,), dtype="f4", axes=("shape",))
            errors = fit_rows(
                trained, store.rows(*ARRAYS), fitted, recipe, half_space, points, advance=bar.update
            )
    for line in describe_codes(errors, clamp):
        logging.getLogger(__name__).info("%s", line)
    report_outcome(output, "codes", count, fitted.failed)
