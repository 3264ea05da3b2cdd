from typing import Annotated

import typer

from sdfkit.options import ROWS, STANDARD, WHOLE, Device, FilesFrom, Manifest, Matte, Output, Overwrite, Seed


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Store of train-dit (a denoiser), train-flow (a flow), train-recon."
        ),
        WHOLE,
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="A features or views store, pictures with transforms.json, or image files or folders; - is a store.",
        ),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Number of codes, or vectors of weights, to sample for each shape.")
    ] = 1,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=500,
            show_default="50; for a flow, the number in its training",
            help="Number of steps of a denoiser's DDIM sampler, or of a flow.",
        ),
    ] = None,
    eta: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the noise that the DDIM sampler renews in each step; 0 is deterministic.",
        ),
    ] = 0,
    guidance: Annotated[float, typer.Option(help="Weight of classifier-free guidance; 1: no guidance.")] = 1,
    average: Annotated[
        int,
        typer.Option(min=1, max=64, help="Number of predictions to average, by a network of train-recon."),
    ] = 1,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Also store every step of a flow, for sdfkit view.")
    ] = False,
    refine: Annotated[
        bool, typer.Option("--refine", help="Move the codes until the silhouettes agree with the images.")
    ] = False,
    decoder: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="For --refine: the decoder of the codes (of train-deepsdf)."),
        WHOLE,
    ] = None,
    matte: Matte = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Predict codes, weights or distances of shapes from images.

    The result is a latent code per shape, which sdfkit mesh turns into a mesh with the decoder of the training codes. A
    denoiser that was trained on weights of small networks, one per shape, predicts such weights, and a network of
    train-recon predicts grids of signed distances; sdfkit mesh needs no decoder for either.

    Features are used as they are. Views and image files are first embedded with the encoder of the denoiser's training
    features; a flow takes the images themselves, unless it was trained on features. Each image file is one shape with
    the name of the file. Several photos of one object go into a subfolder: in sdfkit predict photos/, each file in
    photos/ is a shape, and each subfolder is one shape whose files are its views and are used together. Image files
    come without cameras; a model that was trained with cameras predicts a little worse without them. A network of
    train-recon needs masks and cameras, of views or of transforms.json: sdfkit pose estimates those of image files.

    With --samples N each shape gives N rows, named uid_s0, uid_s1 ...; the more these samples differ from each other,
    the less certain the model is. A flow of train-flow --stage encoder predicts one code without
    sampling, and takes no --samples, --steps or --guidance; nor does a network of train-recon. With --average N, such a
    network predicts the shape N times, from mirrored and turned views, and the mean of the distances is stored: from
    one image of generated shapes the IoU is 0.01 higher with 16, and it takes ten times as long.

    --refine starts from several samples of the model, from the training codes whose silhouettes fit the images best and
    from the mean code. It moves them until the decoded silhouettes agree with the masks, keeps the codes probable among
    the training codes, and writes the code that fits best. It takes about 4 CPU seconds a shape, and needs views
    with masks and cameras. A flow has its own decoder; other models need --decoder.

    \b
    Examples:
      sdfkit predict dit.zarr photo.jpg | sdfkit mesh --decoder deepsdf.zarr > photo.ply
      sdfkit render new.glb --views 4 | sdfkit predict dit.zarr | sdfkit mesh --decoder deepsdf.zarr > new.ply
      sdfkit predict dit.zarr features.zarr --samples 4 | sdfkit mesh --decoder deepsdf.zarr | sdfkit compare - closed/
      sdfkit predict recon.zarr pictures/ | sdfkit mesh -o meshes/
      sdfkit predict dit.zarr features.zarr -o codes.npy
      sdfkit predict dit.zarr views.zarr --refine --decoder deepsdf.zarr -o refined.zarr
      sdfkit predict flow.zarr views.zarr --trajectory | sdfkit view -o steps.html
    """
    from sdfkit.errors import UsageError
    from sdfkit.inference.prediction import sampling
    from sdfkit.inference.prediction.features import open_features
    from sdfkit.inference.prediction.loading import load_predictor
    from sdfkit.io.stores.writer import create_store
    from sdfkit.report.training_summary import describe_overlaps, log_lines
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import report_outcome

    if [model, decoder, *inputs].count(STANDARD) > 1:
        raise UsageError("standard input can be read only once; give files for the other stores")
    if decoder is not None and not refine:
        raise UsageError("--decoder is used by --refine only; add --refine or leave --decoder out")
    place = choose_device(device)
    predictor = load_predictor(model, place)
    settings = sampling.choose_settings(
        predictor, samples=samples, steps=steps, eta=eta, guidance=guidance, trajectory=trajectory, average=average
    )  # fmt: skip
    lines: list[str] = []
    if refine:
        from sdfkit.inference.prediction.refinement import RefiningWriter, draw_starts, load_refiner

        refiner = load_refiner(predictor, decoder, place, settings)
        settings |= {"refine": True, "decoder": decoder}
    with open_features(
        inputs, predictor, matte=matte, device=place, manifest=manifest, outlines=refine
    ) as features:
        count = features.count * samples
        with create_store(
            output, predictor.kind, count=count, history=features.history, seed=seed,
            settings=settings | {"seed": seed}, attributes=sampling.describe_origin(predictor, model),
            overwrite=overwrite,
        ) as vectors:  # fmt: skip
            sampling.create_arrays(vectors, predictor, count, settings, features.holds)
            if refine:
                refined = RefiningWriter(vectors, refiner, seed, draw_starts(predictor, settings))
                features.send(refined)
                refined.finish()
                failed, lines = refined.failed, describe_overlaps(refined.overlaps)
            else:
                sampled = sampling.SampleWriter(vectors, predictor, settings, seed)
                features.send(sampled)
                failed = sampled.failed
    log_lines(lines)
    what = predictor.kind if samples == 1 else f"{samples} {predictor.kind} each"
    report_outcome(output, what, features.count, failed)
