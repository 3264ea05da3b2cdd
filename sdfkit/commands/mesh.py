from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Device, FailFast, Format, Input, Manifest, Output, Overwrite

if TYPE_CHECKING:
    from sdfkit.io.stores.reader import ArrayRow
    from sdfkit.models.fields import Fields

# Points that the network sees at once.
BATCH = 1 << 15


def mesh(
    codes: Input = STANDARD,
    *,
    decoder: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="The deepsdf, flow or autoencoder store that reads the codes."),
    ] = None,
    resolution: Annotated[int, typer.Option(min=16, max=1024, help="Cells along a side of the cube.")] = 128,
    margin: Annotated[
        float, typer.Option(min=1, help="How many times worse than measured interpolation may be.")
    ] = 1,
    largest: Annotated[bool, typer.Option("--largest", help="Keep only the largest piece.")] = False,
    simplify: Annotated[
        int | None, typer.Option(min=4, metavar="FACES", help="Reduce to about as many faces at most.")
    ] = None,
    smooth_normals: Annotated[
        bool, typer.Option("--smooth-normals", help="Store the field's gradient as normals of the vertices.")
    ] = False,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    format: Format = "ply",
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn codes or weights into meshes.

    Marching cubes of the network's distances on the cube from -1 to 1, coarse to fine: the network is asked only
    where the surface can be, and the triangles are those of the full grid. Codes need their --decoder; a deepsdf or
    autoencoder store alone gives its training shapes, a weights store its networks. A shape without a surface is an
    error that tells the range of its distances.

    \b
    Examples:
      sdfkit mesh deepsdf.zarr -o meshes/
      sdfkit predict dit.zarr features.zarr | sdfkit mesh --decoder deepsdf.zarr -o predicted/
      sdfkit mesh weights.zarr --resolution 256 --smooth-normals --format glb -o meshes/
    """
    import logging

    from sdfkit.errors import InputError, UsageError
    from sdfkit.io.meshes.writer import create_meshes
    from sdfkit.io.models import check_codes, load_reader, read_fields
    from sdfkit.io.stores.reader import open_store
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import Workers, conclude, fill

    place = choose_device(device)
    trained = load_reader(decoder, place) if decoder is not None else None
    with open_store(codes, "codes", "deepsdf", "weights", "autoencoder", "flow", manifest=manifest) as store:
        if trained is None and store.kind == "codes":
            raise UsageError(f"{store.name}: codes without their decoder; add --decoder STORE")
        if trained is not None and store.kind == "weights":
            raise UsageError(f"{store.name}: weights are whole networks; leave out --decoder")
        if trained is not None:
            check_codes(store, trained)
        fields = read_fields(store, place) if trained is None else trained.fields
        array, what = ("weights", "weights") if store.kind == "weights" else ("code", "codes")
        width = store.array(array).shape[1]
        if width != fields.width:
            reader = "their network" if array == "weights" else decoder or store.name
            raise InputError(f"{store.name}: {what} of {width} numbers, but {reader} reads {fields.width}")
        if not len(store):
            raise InputError(f"{store.name}: holds no shapes")
        asked: list[int] = []
        make = partial(
            _extract, array=array, fields=fields, place=place, resolution=resolution, margin=margin,
            largest=largest, simplify=simplify, smooth_normals=smooth_normals, asked=asked,
        )  # fmt: skip
        settings = {
            "decoder": decoder or codes, "resolution": resolution, "margin": margin, "largest": largest,
            "simplify": simplify, "smooth_normals": smooth_normals,
        }  # fmt: skip
        with create_meshes(
            output, len(store), settings=settings, seed=None, kind=format, overwrite=overwrite
        ) as meshes:
            # In this process: the network uses its cores, and rows come as the pipe brings them.
            rows = _with_history(store.rows(array), [] if trained is None else trained.history)
            fill(meshes, rows, len(store), make, Workers(1, 0, None, fail_fast))
    if asked:
        share = sum(asked) / (len(asked) * (resolution + 1) ** 3)
        logging.getLogger(__name__).info(
            "asked at %.1f %% of the grid's points: %.0f times fewer", 100 * share, 1 / share
        )
    conclude(output, "meshes", len(store), meshes.failed)


def _with_history(rows: "Iterator[ArrayRow]", history: list[dict[str, Any]]) -> "Iterator[ArrayRow]":
    """Rows that know how their decoder was made, too."""
    from dataclasses import replace

    for row in rows:
        yield replace(row, steps=[*(step for step in history if step not in row.steps), *row.steps])


def _extract(
    row: "ArrayRow",
    *,
    array: str,
    fields: "Fields",
    place: str,
    resolution: int,
    margin: float,
    largest: bool,
    simplify: int | None,
    smooth_normals: bool,
    asked: list[int],
) -> dict[str, Any]:
    import numpy as np
    import torch

    from sdfkit.errors import GeometryError
    from sdfkit.geometry.isosurface.extraction import extract_surface
    from sdfkit.geometry.pieces import largest_piece
    from sdfkit.models.fields import ask_field

    if row.error:
        raise GeometryError(row.error)
    if not np.isfinite(row.arrays[array]).all():
        raise GeometryError(f"its {array} holds numbers that are not finite")
    field = fields.of(torch.from_numpy(row.arrays[array]).to(place))
    distance = partial(ask_field, field, device=place)
    surface, count = extract_surface(distance, resolution=resolution, margin=margin, batch=BATCH)
    asked.append(count)
    if largest:
        surface = largest_piece(surface)
    if simplify is not None:
        from sdfkit.geometry.simplify import simplify as reduce_faces

        surface = reduce_faces(surface, simplify)
    if smooth_normals:
        import trimesh

        from sdfkit.models.fields import field_normals

        vertices = torch.from_numpy(surface.vertices.astype(np.float32)).to(place)
        normals = field_normals(field, vertices, BATCH).cpu().numpy()
        surface = trimesh.Trimesh(surface.vertices, surface.faces, vertex_normals=normals, process=False)
    return {"mesh": surface}
