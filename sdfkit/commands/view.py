from typing import Annotated, Literal

import typer

from sdfkit.options import ROWS, STANDARD, WHOLE, FilesFrom, Jobs, Manifest, Output, Overwrite, Timeout, Up
from sdfkit.runtime.cores import CORES


def view(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="A store; pictures with transforms.json; a .npy file; mesh files, photos and folders of them; or "
            "several stores with trajectories of the same shapes; - reads standard input.",
        ),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    form: Annotated[
        Literal["png", "html"] | None,
        typer.Option(
            "--format",
            help="Format of the output. png: an image; html: a page for a browser.",
            show_default="by the output's ending, else png",
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=120,
            help="Number of images of each shape.",
            show_default="24 on a page, 8 of meshes, fewer of many; on a sheet 6 for a views store, else 1",
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=32, max=1024, help="Pixels along the longer side of each image.")
    ] = 160,
    columns: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of shapes in a row of a contact sheet.", show_default="about as many as rows"
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Maximum number of shapes to draw; maps always show all shapes.")
    ] = 64,
    truth: Annotated[
        str | None,
        typer.Option(metavar="MESHES", help="True meshes, beside the inputs, and colours by the distance."),
        WHOLE,
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Decoder of trajectories: a page plays the meshes of the steps."),
        WHOLE,
    ] = None,
    matte: Annotated[
        Literal["all", "auto", "alpha", "plain", "none"],
        typer.Option(help="How to find the object in a photo, as of embed. all: the methods side by side."),
    ] = "all",
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="Encoder, as of embed: resize and crop photos as it does."),
        WHOLE,
    ] = None,
    up: Up = "y",
    manifest: Manifest = None,
    output: Output = STANDARD,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    overwrite: Overwrite = False,
) -> None:
    """Draw a store or mesh as an image or as a page for a browser.

    As an image, meshes and views are drawn as a contact sheet with the names of the shapes. A page shows meshes in
    three dimensions, with turning, zoom, wires, normals, colours and a section, without network; it says to how
    many faces they are simplified. Several folders of the same shapes, several files of one shape, and the meshes
    of --truth stand side by side and turn together. Colours show the distance of each mesh to the true surface,
    and of the true mesh to the surface of the first prediction, in the unit in which the farthest point of the
    true shape is at 1. Grids of distances (of sdfkit predict, with a model of train-recon) are shown as the meshes
    of their surfaces, samples as slices and points (blue inside, orange outside), views as images and as cameras
    around the mesh of --truth. Codes, weights and features are drawn as a map of their first two principal
    components, coloured by category. A model is drawn as the curve of its training loss, also during training,
    with a map of its codes.

    Photos are drawn beside the masks that --matte finds and the pictures that sdfkit embed makes of them; a sentence
    says which method embed chooses, and where it takes the whole picture.

    Codes with trajectories (of sdfkit predict --trajectory) become a page on which you step through the sampling of
    each code: its path in the latent space, the silhouette at each step, the true silhouette and, with --decoder, the
    mesh at each step. As an image, they are drawn as strips of silhouettes. Several stores with trajectories of the
    same shapes become one page on which you switch between the stores, for example between two models. The URL of the
    page records the selection: #shape=0&step=4&noise=1, where noise is the index of the store.

    \b
    Examples:
      sdfkit view chair.glb -o chair.html
      sdfkit view predicted/ retrieved/ --truth meshes/ -o compared.html
      sdfkit view deepsdf.zarr -o deepsdf.png
      sdfkit view scaled.zarr unit.zarr -o stepper.html
      sdfkit view photo.jpg -o photo.html
    """
    from sdfkit.errors import UsageError
    from sdfkit.inference.meshing import load_code_mesher
    from sdfkit.io.image_files import is_photo
    from sdfkit.io.meshes.columns import open_table
    from sdfkit.io.outputs import open_output
    from sdfkit.io.stores.contents.vectors import open_vectors
    from sdfkit.io.streams import find_kind, name_of
    from sdfkit.report.drawing.formats import check_options, choose_format
    from sdfkit.report.gallery import draw_meshes, draw_runs, draw_store, draw_vectors, read_runs
    from sdfkit.report.table_pages.photos import draw_photos
    from sdfkit.report.viewer.appearance import Appearance
    from sdfkit.runtime.pool import PoolOptions, report_outcome

    is_page = choose_format(output, form) == "html"
    if (truth or decoder) and not is_page:
        raise UsageError("--truth and --decoder need a page; name the output .html or add --format html")
    appearance = Appearance([name_of(path) for path in inputs], is_page, views, size, columns, limit)
    options = PoolOptions(jobs, timeout, None, fail_fast=False)
    with open_output(output, overwrite=overwrite) as stream:
        kinds = ["photo" if is_photo(path) else find_kind(path) for path in inputs]
        check_options(kinds, truth=bool(truth), decoder=bool(decoder), photos=matte != "all" or bool(model))
        mesher = load_code_mesher(decoder, resolution=64) if decoder is not None else None
        if set(kinds) == {"photo"}:
            drawing = draw_photos(inputs, matte, model, appearance, options, manifest=manifest)
        elif set(kinds) == {"mesh"}:
            with open_table(inputs, truth=truth, manifest=manifest, up=up, beside=is_page) as table:
                drawing = draw_meshes(table, appearance, options)
        elif len(inputs) > 1:
            drawing = draw_runs(
                read_runs(inputs, limit, manifest=manifest, mesher=mesher), appearance, mesher
            )
        elif kinds == ["arrays"]:
            with open_vectors(inputs[0], manifest=None) as vectors:
                drawing = draw_vectors(vectors, appearance)
        else:
            is_pipe = inputs[0] == STANDARD
            drawing = draw_store(
                inputs[0], appearance, options, manifest=manifest, is_pipe=is_pipe, truth=truth, mesher=mesher
            )
        if len(drawing.failed) < drawing.count:
            stream.write(drawing.content)
        else:
            report_outcome(output, "nothing", drawing.count, drawing.failed)
    made = 0 if stream.is_kept and not drawing.failed else None
    report_outcome(output, "a page" if is_page else "an image", drawing.count, drawing.failed, made=made)
