from pathlib import Path
from typing import Annotated, Literal

import typer

from sdfkit.errors import UsageError
from sdfkit.options import ROWS, STANDARD, FilesFrom, Jobs, Manifest, Output, Overwrite, Timeout, Up
from sdfkit.runtime.cores import CORES

PAGES = (".html", ".htm")


def view(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE|MESH",
            help="A store; pictures with transforms.json; a .npy file; mesh files and folders of them; or several "
            "stores with trajectories of the same shapes; - reads standard input.",
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
            show_default="24 on a page; on a sheet 6 for a views store, else 1",
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
    up: Up = "y",
    manifest: Manifest = None,
    output: Output = STANDARD,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    overwrite: Overwrite = False,
) -> None:
    """Draw a store or mesh as an image or as a page for a browser.

    Meshes and views are drawn as a contact sheet of images with the names of the shapes; on a page, drag a shape to
    turn it. Grids of distances (of sdfkit predict, with a model of train-recon) are drawn as the meshes of their
    surfaces. Samples are drawn as slices, with points inside the shape in blue and points outside in orange. Codes,
    weights and features are drawn as a map of their first two principal components, coloured by category. A model is
    drawn as the curve of its training loss, also during training, with a map of its codes.

    Codes with trajectories (of sdfkit predict --trajectory) become a page on which you step through the sampling of
    each code: its path in the latent space, the silhouette at each step, and the true silhouette. As an image, they are
    drawn as strips of silhouettes. Several stores with trajectories of the same shapes become one page on which you
    switch between the stores, for example between two models. The URL of the page records the selection:
    #shape=0&step=4&noise=1, where noise is the index of the store.

    \b
    Examples:
      sdfkit view chair.glb -o chair.png
      sdfkit view closed/ -o closed.html
      sdfkit view deepsdf.zarr -o deepsdf.png
      sdfkit view scaled.zarr unit.zarr -o stepper.html
    """
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.outputs import open_output
    from sdfkit.io.stores.contents.vectors import open_vectors
    from sdfkit.io.streams import find_kind, name_of
    from sdfkit.report.gallery import Appearance, draw_meshes, draw_runs, draw_store, draw_vectors, read_runs
    from sdfkit.runtime.pool import PoolOptions, report_outcome

    is_page = _choose_format(output, form) == "html"
    appearance = Appearance([name_of(path) for path in inputs], is_page, views, size, columns, limit)
    options = PoolOptions(jobs, timeout, None, fail_fast=False)
    with open_output(output, overwrite=overwrite) as stream:
        kinds = [find_kind(path) for path in inputs]
        if set(kinds) == {"mesh"}:
            with open_meshes(inputs, manifest=manifest, up=up) as meshes:
                drawing = draw_meshes(meshes, appearance, options)
        elif len(inputs) > 1:
            drawing = draw_runs(read_runs(inputs, limit, manifest=manifest), appearance)
        elif kinds == ["arrays"]:
            with open_vectors(inputs[0], manifest=None) as vectors:
                drawing = draw_vectors(vectors, appearance)
        else:
            is_pipe = inputs[0] == STANDARD
            drawing = draw_store(inputs[0], appearance, options, manifest=manifest, is_pipe=is_pipe)
        if len(drawing.failed) < drawing.count:
            stream.write(drawing.content)
        else:
            report_outcome(output, "nothing", drawing.count, drawing.failed)
    made = 0 if stream.is_kept and not drawing.failed else None
    report_outcome(output, "a page" if is_page else "an image", drawing.count, drawing.failed, made=made)


def _choose_format(output: str, form: str | None) -> str:
    """Return png or html, by the option or else by the ending of the output.

    Raises:
        UsageError: The option contradicts the ending, or the ending is of neither format.
    """
    ending = Path(output).suffix.lower()
    named = "html" if ending in PAGES else "png" if ending == ".png" else None
    if output == STANDARD or (named is None and form is not None):
        return form or "png"
    if output.endswith("/"):
        raise UsageError(f"{output}: one image or page is a file; write views as pictures with sdfkit cat")
    if named is None:
        raise UsageError(
            f"{output}: the file name ends in neither .png nor .html; rename the output or add --format"
        )
    if form not in (None, named):
        raise UsageError(
            f"{output}: the ending of the file name contradicts --format {form}; change one of them"
        )
    return named
