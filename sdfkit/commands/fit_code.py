from typing import Annotated, Literal

import typer

from sdfkit.options import STANDARD, WHOLE, Device, Inputs, Manifest, Output, Overwrite


def fit_code(
    samples: Inputs = [STANDARD],  # noqa: B006  typer copies it
    *,
    decoder: Annotated[
        str, typer.Option(metavar="STORE", help="Store that train-deepsdf wrote, with the decoder."), WHOLE
    ],
    points: Annotated[
        int | None, typer.Option(min=1, help="Number of samples per shape to fit to; default: all.")
    ] = None,
    half_space: Annotated[
        Literal["-x", "+x", "-y", "+y", "-z", "+z"] | None,
        typer.Option(help="Fit only to the samples on this side of the centre; +x: those with x > 0."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="800; with views 60",
            help="Number of Adam steps; after half of them, the learning rate falls to a tenth. With views: at "
            "most this number.",
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, show_default="1024", help="Number of samples per shape and step.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0, show_default="0.005", help="Initial learning rate.")
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            min=0,
            show_default="0.0001",
            help="Weight of the squared distance between code and mean training code in the loss.",
        ),
    ] = None,
    clamp: Annotated[
        float | None,
        typer.Option(
            min=0,
            show_default="0.1",
            help="Limit predicted and true distances to this absolute value before comparing them.",
        ),
    ] = None,
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

    Given views with masks and cameras in place of samples, the code is optimised until the decoded silhouettes agree
    with the masks, as sdfkit predict --refine does; of the other options only --steps applies.

    \b
    Examples:
      sdfkit fit-code unseen.zarr --decoder deepsdf.zarr -o codes.zarr
      sdfkit fit-code views.zarr --decoder deepsdf.zarr -o codes.zarr
      sdfkit fit-code unseen.zarr --decoder deepsdf.zarr --half-space +x | sdfkit mesh --decoder deepsdf.zarr -o whole/
    """
    from sdfkit.inference.fitting.codes import choose_fit, load_fitted_decoder
    from sdfkit.io.stores.writer import create_store
    from sdfkit.io.tables.joined import open_stores
    from sdfkit.report.training_summary import describe_codes, describe_overlaps, log_lines
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import report_outcome
    from sdfkit.runtime.progress import progress

    trained = load_fitted_decoder(decoder, choose_device(device))
    given = {"steps": steps, "batch": batch, "lr": lr, "penalty": penalty, "clamp": clamp}
    with open_stores(samples, "samples", "views", manifest=manifest) as store:
        fit = choose_fit(store, trained, given, points=points, half_space=half_space)
        count, dim = len(store), trained.codes.shape[1]
        with create_store(
            output, "codes", count=count, history=store.history, settings=fit.settings,
            attributes={"decoder": decoder, "decoder_sha256": trained.decoder}, overwrite=overwrite,
        ) as fitted, progress(count, "shape") as bar:  # fmt: skip
            fitted.create_array("code", shape=(count, dim), dtype="f4", axes=("shape", "dim"))
            fitted.create_array(fit.score, shape=(count,), dtype="f4", axes=("shape",))
            scores = fit.run(fitted, bar.update)
    is_sampled = fit.score == "sdf_l1"
    log_lines(describe_codes(scores, fit.settings["clamp"]) if is_sampled else describe_overlaps(scores))
    report_outcome(output, "codes", count, fitted.failed)
