from typing import Annotated

import typer

from sdfkit.inference.defaults import MESH_RESOLUTION, SPECK_AREA
from sdfkit.options import STANDARD, WHOLE, Device, FailFast, Format, Input, Manifest, Output, Overwrite


def mesh(
    codes: Input = STANDARD,
    *,
    decoder: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Store with the decoder of the codes: of train-deepsdf, train-flow or train-ae.",
        ),
        WHOLE,
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Views store with images of the shapes: leave out what extends beyond their silhouettes.",
        ),
        WHOLE,
    ] = None,
    resolution: Annotated[
        int, typer.Option(min=16, max=1024, help="Grid cells along a side of the query cube.")
    ] = MESH_RESOLUTION,
    margin: Annotated[
        float,
        typer.Option(
            min=1,
            help="Safety factor on the measured interpolation error; cells that cannot contain surface within this "
            "error are skipped.",
        ),
    ] = 1,
    largest: Annotated[
        bool, typer.Option("--largest", help="Keep only the largest connected piece of each mesh.")
    ] = False,
    speck_area: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Leave out specks: connected pieces with less than this share of the area of the mesh; 0 keeps all.",
        ),
    ] = SPECK_AREA,
    simplify: Annotated[
        int | None,
        typer.Option(min=4, metavar="FACES", help="Reduce each mesh to at most about FACES faces."),
    ] = None,
    smooth_normals: Annotated[
        bool, typer.Option("--smooth-normals", help="Store the gradient of the distances as vertex normals.")
    ] = False,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    format: Format = "ply",
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn codes, weights or grids of distances into meshes.

    Each latent code, with its decoder, each vector of weights of a small network, and each grid of a reconstruction
    network (sdfkit train-recon) defines the signed distances of a shape. The mesh is extracted by marching cubes in the
    query cube, from -1 to 1 along each axis. The grid is refined from coarse to fine, and the network is evaluated only
    where the surface can be; the triangles are those of the full grid.

    Only codes need --decoder. A store of train-deepsdf or train-ae alone gives the meshes of its training shapes, and a
    store of fit-mlp those of its networks. A shape whose distances have no zero crossing has no surface; it is reported
    as failed, with the range of its distances. The log counts meshes of one piece and specks; with -v, it lists the
    pieces and the Euler number of each mesh.

    With --views, each shape is cut by the visual hull of its images (masks and cameras), with an edge that is rounded
    by half a pixel. The rows are paired by their uids. The images must show the shape in the frame of its distances, as
    the images from which a shape was predicted do: those of sdfkit render, not photos.

    \b
    Examples:
      sdfkit mesh deepsdf.zarr -o meshes/
      sdfkit predict dit.zarr features.zarr | sdfkit mesh --decoder deepsdf.zarr -o predicted/
      sdfkit predict dit.zarr views.zarr | sdfkit mesh --decoder deepsdf.zarr --views views.zarr -o cut/
      sdfkit mesh weights.zarr --resolution 256 --smooth-normals --format glb -o meshes/
    """
    from contextlib import ExitStack
    from dataclasses import asdict

    from sdfkit.errors import UsageError
    from sdfkit.inference.meshing import MeshOptions, make_mesher
    from sdfkit.io.meshes.writer import create_meshes
    from sdfkit.io.models.reader import load_code_decoder
    from sdfkit.io.stores.contents.outlines import index_images
    from sdfkit.io.stores.reader import open_store
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    if [codes, decoder, views].count(STANDARD) > 1:
        raise UsageError("standard input can be read only once; give files for the other stores")
    place = choose_device(device)
    trained = load_code_decoder(decoder, place) if decoder is not None else None
    options = MeshOptions(resolution, margin, largest, simplify, smooth_normals, speck_area)
    with ExitStack() as stack:
        images = None
        if views is not None:
            images = index_images(stack.enter_context(open_store(views, "views", manifest=None)))
        kinds = ("codes", "deepsdf", "weights", "grids", "autoencoder", "flow")
        store = stack.enter_context(open_store(codes, *kinds, manifest=manifest))
        mesher = make_mesher(store, trained, place, options, images)
        settings = {**asdict(options), "network": mesher.network}
        with create_meshes(
            output, len(store), settings=settings, seed=None, kind=format, overwrite=overwrite
        ) as meshes:
            # In this process: the network uses all cores, and rows are meshed as the pipe delivers them.
            pool = PoolOptions(1, 0, None, fail_fast)
            compute_rows(meshes, mesher.rows(store), len(store), mesher.mesh, pool)
    mesher.log_outcomes()
    report_outcome(output, "meshes", len(store), meshes.failed, made=meshes.made)
