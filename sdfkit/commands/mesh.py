from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Device, FailFast, Format, Input, Manifest, Output, Overwrite

if TYPE_CHECKING:
    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.store import ArrayRow, StoreReader


def mesh(
    codes: Input = STANDARD,
    *,
    decoder: Annotated[
        str | None, typer.Option(metavar="STORE", help="The deepsdf store whose decoder reads the codes.")
    ] = None,
    resolution: Annotated[int, typer.Option(min=16, max=1024, help="Cells along a side of the cube.")] = 128,
    margin: Annotated[
        float, typer.Option(min=1, help="How many times steeper than measured the field may be.")
    ] = 1.5,
    largest: Annotated[bool, typer.Option("--largest", help="Keep only the largest piece.")] = False,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    format: Format = "ply",
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn codes into meshes.

    Marching cubes of the decoder's distances on the cube from -1 to 1, coarse to fine: the decoder is asked only where
    the surface can be, and the triangles are those of the full grid. A deepsdf store alone gives its training
    shapes. A code without a surface is an error that tells the range of its distances.

    \b
    Examples:
      sdfkit mesh deepsdf.zarr -o meshes/
      sdfkit predict dit.zarr features.zarr | sdfkit mesh --decoder deepsdf.zarr -o predicted/
    """
    import logging

    from sdfkit.device import choose_device
    from sdfkit.errors import InputError, UsageError
    from sdfkit.meshwriter import create_meshes
    from sdfkit.parallel import Workers, conclude, fill
    from sdfkit.store import open_store

    place = choose_device(device)
    network = None if decoder is None else _load(decoder, place)
    with open_store(codes, "codes", "deepsdf", manifest=manifest) as store:
        if network is None:
            if store.kind != "deepsdf":
                raise UsageError(f"{store.name}: codes without their decoder; add --decoder STORE")
            network = _load_from(store, place)
        dim, needed = store.array("code").shape[1], network.config.code
        if dim != needed:
            raise InputError(
                f"{store.name}: codes of {dim} numbers, but {decoder or store.name} reads {needed}"
            )
        asked: list[int] = []
        make = partial(
            _extract, network=network, resolution=resolution, margin=margin, largest=largest, asked=asked
        )
        settings = {
            "decoder": decoder or codes,
            "resolution": resolution,
            "margin": margin,
            "largest": largest,
        }
        with create_meshes(
            output, len(store), settings=settings, seed=None, kind=format, overwrite=overwrite
        ) as meshes:
            # In this process: the decoder uses its cores, and rows come as the pipe brings them.
            fill(meshes, store.rows("code"), len(store), make, Workers(1, 0, None, fail_fast))
    if asked:
        dense = len(asked) * (resolution + 1) ** 3
        logging.getLogger(__name__).info(
            "the decoder was asked at %.1f %% of the grid's points", 100 * sum(asked) / dense
        )
    conclude(output, "meshes", len(store), meshes.failed)


def _load(path: str, device: str) -> "DeepSDF":
    from sdfkit.store import open_store

    with open_store(path, "deepsdf", manifest=None) as store:
        return _load_from(store, device)


def _load_from(store: "StoreReader", device: str) -> "DeepSDF":
    import torch

    from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig

    network = DeepSDF(DeepSDFConfig(**store.attributes_of("decoder")))
    network.load_state_dict(
        {name: torch.from_numpy(value) for name, value in store.read_group("decoder").items()}
    )
    return network.to(device).eval()


def _extract(
    row: "ArrayRow", *, network: "DeepSDF", resolution: int, margin: float, largest: bool, asked: list[int]
) -> dict[str, Any]:
    import torch

    from sdfkit.errors import GeometryError
    from sdfkit.geometry.isosurface import extract_surface
    from sdfkit.geometry.pieces import largest_piece

    if row.error:
        raise GeometryError(row.error)
    place = network.out.weight.device
    code = torch.from_numpy(row.arrays["code"])[None].to(place)

    def distance(points: Any) -> Any:
        with torch.inference_mode():
            return network(code, torch.from_numpy(points)[None].to(place))[0].cpu().numpy()

    surface, count = extract_surface(distance, resolution=resolution, margin=margin, batch=1 << 15)
    asked.append(count)
    return {"mesh": largest_piece(surface) if largest else surface}
