from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.options import STANDARD, Device, Json, Overwrite, Seed

if TYPE_CHECKING:
    import numpy as np
    from trimesh import Trimesh

    from sdfkit.analysis.perturbation import Outcome
    from sdfkit.models.fields import Fields

# Points that a network sees at once; points and random sums by which sensitivities are estimated.
BATCH, PROBED, PROBES = 1 << 15, 1024, 128
# The most sensitive dimensions, in shares of all, each up to the next.
SHARES = (0.001, 0.01, 0.1, 0.5)


def perturb(
    stores: Annotated[
        list[str],
        typer.Argument(metavar="STORE", help="Weights, or codes with --decoder; several side by side."),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    decoder: Annotated[
        str | None, typer.Option(metavar="STORE", help="The deepsdf store whose decoder reads the codes.")
    ] = None,
    sigma: Annotated[
        list[float], typer.Option(min=0, help="Strengths of noise, each relative to --noise.")
    ] = [0.05, 0.1, 0.17, 0.25, 0.34, 0.5],  # noqa: B006  typer copies it
    noise: Annotated[
        Literal["tensor", "vector", "number", "spread"],
        typer.Option(
            help="What it is relative to: the rms of each matrix and bias, that of the vector, each number, "
            "or its spread over the shapes."
        ),
    ] = "tensor",
    per: Annotated[
        Literal["all", "layer", "dimension"],
        typer.Option(
            help="Noise everywhere, on one matrix or bias at a time, or on dimensions grouped by sensitivity."
        ),
    ] = "all",
    shapes: Annotated[int, typer.Option(min=1, help="Shapes to look at, the first ones.")] = 10,
    criterion: Annotated[
        float, typer.Option(min=0, max=1, help="Broken where the mean IoU is below this.")
    ] = 0.5,
    resolution: Annotated[int, typer.Option(min=16, max=256, help="Cells along a side of the cube.")] = 48,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.png", help="Draw IoU by strength of noise.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Find how much noise weights take before their mesh breaks.

    Normal noise of growing strength is added to each vector, and the mesh that it then stands for is compared with the
    clean one: IoU by signs in all cells of the cube, pieces, and Euler number. The same draw is scaled by every
    strength. A network breaks at the strength where the mean IoU of the shapes falls below --criterion.

    With --per layer noise touches one matrix or bias at a time; with --per dimension, one group of dimensions, ordered
    by how far each moves the surface (the slope of the field by it, times what a noise of 1 is). Where few dimensions
    decide whether a shape survives, the first groups break it alone, and the last ones hardly touch it.

    \b
    Examples:
      sdfkit perturb weights.zarr -o noise.png
      sdfkit perturb relu.zarr siren.zarr --shapes 10
      sdfkit perturb weights.zarr --per dimension --noise number
      sdfkit perturb codes.zarr --decoder deepsdf.zarr --noise spread --json
    """
    import logging

    import numpy as np

    from sdfkit.analysis.perturbation import DEFINITIONS, find_break, noise_scale, summarise
    from sdfkit.errors import GeometryError, InputError, UsageError
    from sdfkit.report.plots import Curve, check_picture, draw_curves
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import progress

    if output is not None:
        check_picture(output, overwrite)
    if stores.count(STANDARD) > 1:
        raise UsageError("standard input can be read once; name files for the others")
    place, strengths = choose_device(device), sorted(sigma)
    reports, curves, asked, failed = [], {}, 0, 0
    log = logging.getLogger(__name__)
    for store in stores:
        subject = _read(store, decoder, shapes, place)
        if per != "all" and subject.network is None:
            raise UsageError(f"{subject.name}: codes have no layers; --per is for weights")
        if noise == "spread" and len(subject.vectors) < 2:
            raise InputError(f"{subject.name}: one row, which has no spread; choose another --noise")
        scales = noise_scale(subject.vectors, subject.tensors, noise)
        results: dict[str, list[list[Outcome]]] = {}
        kept: list[str] = []
        with progress(len(subject.vectors), "shape") as bar:
            for row, uid in enumerate(subject.uids):
                rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row,)))
                try:
                    judge = _Judge(subject.fields, subject.vectors[row], resolution, place)
                except GeometryError as error:
                    log.warning("%s: broken without any noise: %s", uid, error)
                    continue
                kept.append(uid)
                draw = scales[row] * rng.standard_normal(len(scales[row]), dtype=np.float32)
                for name, mask in _masks(subject, row, per, scales[row], judge, rng, place).items():
                    outcomes = results.setdefault(name, [[] for _ in strengths])
                    for found, strength in zip(outcomes, strengths, strict=True):
                        found.append(judge.compare(np.where(mask, np.float32(strength) * draw, 0)))
                bar.update()
        asked += len(subject.uids)
        failed += len(subject.uids) - len(kept)
        if not kept:
            continue
        breaks = {}
        for name, outcomes in results.items():
            levels = [
                summarise(strength, found, criterion)
                for strength, found in zip(strengths, outcomes, strict=True)
            ]
            breaks[name] = {
                "breaks_at": find_break(levels, criterion),
                "levels": [asdict(level) for level in levels],
                "shapes": [
                    {"uid": uid, "iou": [found[row].iou for found in outcomes]}
                    for row, uid in enumerate(kept)
                ],
            }
            label = subject.name if per == "all" else f"{subject.name}: {name}"
            curves[label] = Curve([0.0, *strengths], [1.0, *(level.iou for level in levels)])
        reports.append({"name": subject.name, "network": subject.network, "parts": breaks})
    facts = {
        "noise": DEFINITIONS[noise], "criterion": criterion, "resolution": resolution, "seed": seed, "stores": reports,
    }  # fmt: skip
    if reports:
        typer.echo(format_json(facts) if as_json else _tell(facts))
    if reports and output is not None:
        title = f"noise: {DEFINITIONS[noise]}"
        draw_curves(output, curves, title=title, x="sigma", y="mean IoU", log=False, overwrite=overwrite)
    if failed:
        raise GeometryError(
            f"{failed} of {asked} shapes failed, for the reasons above; the others were judged"
        )


@dataclass(frozen=True)
class _Subject:
    """Vectors and what they stand for; where the parts of one lie, each a matrix or a bias."""

    name: str
    uids: list[str]
    vectors: "np.ndarray"
    fields: "Fields"
    tensors: Mapping[str, slice]
    network: Mapping[str, Any] | None


def _read(path: str, decoder: str | None, shapes: int, place: str) -> _Subject:
    import numpy as np

    from sdfkit.errors import InputError, UsageError
    from sdfkit.io.models import load_decoder, read_fields
    from sdfkit.io.stores.reader import open_store
    from sdfkit.models.fields import fields_of_codes
    from sdfkit.models.mlp import MLPConfig, layer_sizes

    trained = None if decoder is None else load_decoder(decoder, place)
    with open_store(path, "weights", "codes", "deepsdf", manifest=None) as store:
        name, array = store.name, "weights" if store.kind == "weights" else "code"
        if store.kind == "codes" and trained is None:
            raise UsageError(f"{name}: codes without their decoder; add --decoder STORE")
        if store.kind == "weights" and trained is not None:
            raise UsageError(f"{name}: weights are whole networks; leave out --decoder")
        fields = read_fields(store, place) if trained is None else fields_of_codes(trained.network)
        tensors, network = {"code": slice(None)}, None
        if store.kind == "weights":
            network = store.attributes["network"]
            tensors = _tensors(layer_sizes(MLPConfig(**network)))
        rows, arrays = store.read_rows(array, own=slice(0, shapes))
        vectors = arrays[array]
    uids = [row.uid for row in rows[: len(vectors)]]
    if vectors.shape[1] != fields.width:
        raise InputError(
            f"{name}: rows of {vectors.shape[1]} numbers, but their network reads {fields.width}"
        )
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if wrong.size:
        raise InputError(f"{name}: {uids[wrong[0]]} holds numbers that are not finite; make it again")
    return _Subject(name, uids, vectors, fields, tensors, network)


def _tensors(sizes: list[tuple[int, int]]) -> dict[str, slice]:
    """Where each matrix and bias of a network lies in its vector."""
    tensors, start = {}, 0
    for layer, (outputs, inputs) in enumerate(sizes, start=1):
        for name, count in (("weight", outputs * inputs), ("bias", outputs)):
            tensors[f"layer {layer} {name}"] = slice(start, start + count)
            start += count
    return tensors


class _Judge:
    """A clean shape, and what becomes of it.

    Raises:
        GeometryError: It has no surface to begin with.
    """

    def __init__(self, fields: "Fields", vector: "np.ndarray", resolution: int, place: str) -> None:
        import numpy as np

        from sdfkit.geometry.metrics import describe_topology

        self.fields, self.vector, self.resolution, self.place = fields, vector, resolution, place
        middles = (np.arange(resolution, dtype=np.float32) + 0.5) * (2 / resolution) - 1
        self.cells = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1).reshape(-1, 3)
        self.inside, self.mesh = self._make(vector)
        self.topology = describe_topology(self.mesh)

    def _make(self, vector: "np.ndarray") -> "tuple[np.ndarray, Trimesh]":
        """Which cells are inside, and the mesh."""
        import numpy as np
        import torch

        from sdfkit.geometry.isosurface.extraction import extract_surface
        from sdfkit.models.fields import ask_field

        field = self.fields.of(torch.from_numpy(vector).to(self.place))
        distance = partial(ask_field, field, device=self.place)
        parts = np.array_split(self.cells, -(-len(self.cells) // BATCH))
        inside = np.concatenate([distance(part) < 0 for part in parts])
        mesh, _ = extract_surface(distance, resolution=self.resolution, margin=1.0, batch=BATCH)
        return inside, mesh

    def compare(self, noise: "np.ndarray") -> "Outcome":
        """What noise on the vector makes of the shape."""
        from sdfkit.analysis.perturbation import Outcome, overlap
        from sdfkit.errors import GeometryError
        from sdfkit.geometry.metrics import describe_topology

        try:
            inside, mesh = self._make(self.vector + noise)
        except GeometryError:
            # No surface is left: that is a result too.
            return Outcome(0.0, 0, 0, False)
        topology = describe_topology(mesh)
        return Outcome(overlap(self.inside, inside), *topology, topology == self.topology)


def _masks(
    subject: _Subject, row: int, per: str, scale: "np.ndarray", judge: _Judge, rng: Any, place: str
) -> "dict[str, np.ndarray]":
    """Which dimensions noise touches at a time, by what the report calls them."""
    import numpy as np
    import torch

    from sdfkit.analysis.perturbation import rank_groups
    from sdfkit.models.mlp import MLPConfig, slope_by_weights

    if per == "all":
        return {"all": np.ones(len(scale), dtype=bool)}
    if per == "layer":
        masks = {name: np.zeros(len(scale), dtype=bool) for name in subject.tensors}
        for name, place_of in subject.tensors.items():
            masks[name][place_of] = True
        return masks
    surface = judge.mesh.vertices
    chosen = rng.choice(len(surface), min(PROBED, len(surface)), replace=False)
    slope = slope_by_weights(
        MLPConfig(**(subject.network or {})),
        torch.from_numpy(subject.vectors[row]).to(place),
        torch.from_numpy(surface[chosen].astype(np.float32)).to(place),
        PROBES,
        torch.Generator().manual_seed(int(rng.integers(2**62))),
    )
    return rank_groups(slope.cpu().numpy() * scale, SHARES)


def _tell(facts: dict[str, Any]) -> str:
    from sdfkit.report.tables import format_table

    rows = []
    for store in facts["stores"]:
        for name, part in store["parts"].items():
            label = store["name"] if name == "all" else f"{store['name']}: {name}"
            for level in part["levels"]:
                rows.append(
                    (
                        label, f"{level['sigma']:g}", level["iou"], level["worst"], f"{level['whole']:.0%}",
                        f"{level['same']:.0%}", f"{level['pieces']:g}",
                    )
                )  # fmt: skip
                label = ""
    table = format_table(("noise on", "sigma", "iou", "worst", "whole", "same topology", "pieces"), rows)
    limit = facts["criterion"]
    verdicts = []
    for store in facts["stores"]:
        for name, part in store["parts"].items():
            label = store["name"] if name == "all" else f"{store['name']}: {name}"
            at = part["breaks_at"]
            verdicts.append(
                f"{label}: " + (f"breaks at {at:.3f}" if at is not None else "does not break at these")
            )
    return (
        f"noise: {facts['noise']}; whole: iou at least {limit:g}; same topology: pieces and Euler number\n\n"
        f"{table}\n\nmean iou under {limit:g}:\n" + "\n".join(verdicts)
    )
