"""Measures how much noise can be added to network weights or latent codes before the mesh decoded from them breaks."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from sdfkit.analysis.perturbation import (
    Level,
    Noise,
    Outcome,
    find_break,
    noise_scale,
    overlap,
    rank_groups,
    summarise,
)
from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.geometry.topology import describe_topology
from sdfkit.inference.defaults import (
    PERTURB_CRITERION,
    PERTURB_RESOLUTION,
    PERTURB_SHAPES,
    PERTURB_STRENGTHS,
)
from sdfkit.inference.meshing import BATCH, MeshOptions, mesh_field, require_decoder, require_finite
from sdfkit.rows import seed_shape
from sdfkit.runtime.progress import progress
from sdfkit.wording import counted

if TYPE_CHECKING:
    from trimesh import Trimesh

    from sdfkit.io.models.reader import Decoder
    from sdfkit.io.stores.store_reader import StoreReader
    from sdfkit.models.fields import Fields
    from sdfkit.models.layers import MLPConfig

# Number of surface points, and number of random sums over these, from which the sensitivities of dimensions are
# estimated.
POINTS, PROBES = 1024, 128
# Dimensions are sorted by sensitivity, largest first, and cut into groups at these shares of all dimensions.
SHARES = (0.001, 0.01, 0.1, 0.5)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapeVectors:
    """Network weights or latent codes of a store, and the distance functions that are decoded from them.

    Attributes:
        name: Name of the store, for messages.
        uids: Uids of the shapes.
        vectors: The weights or the code of each shape.
        fields: The network that turns a vector into a distance function.
        parts: Position of each weight matrix and bias in a vector, by name; a code is one part.
        config: Architecture of the networks; None for codes.
        device: Name of the torch device on which the distance functions are evaluated.
    """

    name: str
    uids: list[str]
    vectors: Float[np.ndarray, "shape dim"]
    fields: "Fields"
    parts: Mapping[str, slice]
    config: "MLPConfig | None"
    device: str


@dataclass(frozen=True)
class PartTolerance:
    """Effect of noise on a part of the dimensions of the vectors.

    Attributes:
        breaks_at: The sigma (relative standard deviation of the noise) at which the mean IoU falls below the criterion;
            None if it does not at any sigma that was tried.
        levels: Summary of the outcomes of all shapes at each sigma.
        shapes: For each shape its `uid`, and `iou`, the list of its IoUs with the shape without noise at each sigma.
    """

    breaks_at: float | None
    levels: list[Level]
    shapes: list[dict[str, Any]]


@dataclass(frozen=True)
class NoiseTolerance:
    """Effect of noise on the shapes of a store.

    Attributes:
        name: Name of the store.
        network: Architecture of the networks; None for latent codes.
        parts: Results by the name of the part of the dimensions to which noise was added, such as "all"; empty if no
            shape has a surface without noise.
        failed: Number of shapes that have no surface even without noise. They are left out.
    """

    name: str
    network: Mapping[str, Any] | None
    parts: dict[str, PartTolerance]
    failed: int

    def describe(self) -> dict[str, Any]:
        """Return the results in the form of the JSON report."""
        parts = {name: asdict(part) for name, part in self.parts.items()}
        return {"name": self.name, "network": self.network, "parts": parts}


def read_shape_vectors(
    store: "StoreReader", decoder: "Decoder | None", device: str, shapes: int = PERTURB_SHAPES
) -> ShapeVectors:
    """Read the vectors of the first shapes of a store, without those of shapes that failed.

    Args:
        store: A weights, codes or deepsdf store.
        decoder: The decoder of the codes; None if the store itself holds the decoder or the networks.
        device: Name of the torch device to compute on.
        shapes: Maximum number of shapes.

    Raises:
        UsageError: The decoder of codes is missing, or a decoder is given for weights.
        InputError: The vectors have the wrong length or numbers that are not finite.
    """
    from sdfkit.io.models.reader import read_fields, read_mlp
    from sdfkit.models.fields import fields_of_codes
    from sdfkit.models.layers import slice_layers

    require_decoder(store, has_decoder=decoder is not None)
    fields = read_fields(store, device) if decoder is None else fields_of_codes(decoder.network)
    config = read_mlp(store) if store.kind == "weights" else None
    parts = {"code": slice(None)} if config is None else slice_layers(config)
    array = "code" if config is None else "weights"
    rows, arrays = store.read_rows(array, own=slice(0, shapes))
    vectors = arrays[array]
    uids = [row.uid for row in rows[: len(vectors)]]
    if vectors.shape[1] != fields.width:
        raise InputError(
            f"{store.name}: its {array} has {counted(vectors.shape[1], 'number')} per shape, but its network "
            f"needs {fields.width}"
        )
    require_finite(store, rows, vectors)
    return ShapeVectors(store.name, uids, vectors, fields, parts, config, device)


def perturb(
    shapes: ShapeVectors,
    *,
    strengths: Sequence[float] = PERTURB_STRENGTHS,
    noise: Noise = "tensor",
    per: Literal["all", "layer", "dimension"] = "all",
    criterion: float = PERTURB_CRITERION,
    resolution: int = PERTURB_RESOLUTION,
    seed: int = 0,
) -> NoiseTolerance:
    """Add noise of increasing sigma to vectors, and compare the noisy shapes with the shapes without noise.

    Args:
        shapes: The vectors and their distance functions.
        strengths: Values of sigma, ascending: standard deviations of the noise, relative to a scale that `noise`
            selects. The same random numbers are used for each sigma.
        noise: The scale that sigma is multiplied by; see `analysis.perturbation.DEFINITIONS`.
        per: The dimensions that noise is added to. "all": all at once. "layer": one weight matrix or bias at a time.
            "dimension": one group of dimensions at a time; the groups are formed by how far noise on a dimension moves
            the surface.
        criterion: Minimum IoU, with the shape without noise, of a shape that is not broken.
        resolution: Cells along a side of the query cube, from -1 to 1 along each axis.
        seed: Seed of the noise.

    Raises:
        UsageError: `per` is not "all", but the vectors are latent codes, which have no layers.
        InputError: `noise` is "spread", but a single shape has no standard deviation.
    """
    if per != "all" and shapes.config is None:
        raise UsageError(f"{shapes.name}: latent codes have no layers; use --per all")
    if noise == "spread" and len(shapes.vectors) < 2:
        raise InputError(
            f"{shapes.name}: has one shape only, but --noise spread needs several; choose another --noise"
        )
    scales = noise_scale(shapes.vectors, shapes.parts, noise)
    results: dict[str, list[list[Outcome]]] = {}
    kept: list[str] = []
    with progress(len(shapes.vectors), "shape") as bar:
        for row, uid in enumerate(shapes.uids):
            rng = np.random.default_rng(seed_shape(seed, uid))
            try:
                clean = _CleanShape(shapes, row, resolution)
            except GeometryError as error:
                log.warning("%s: is left out, because it is broken even without noise: %s", uid, error)
                bar.update()
                continue
            kept.append(uid)
            draw = scales[row] * rng.standard_normal(len(scales[row]), dtype=np.float32)
            for name, mask in _masks(shapes, per, scales[row], clean, rng):
                outcomes = results.setdefault(name, [[] for _ in strengths])
                for found, strength in zip(outcomes, strengths, strict=True):
                    found.append(clean.compare(np.where(mask, np.float32(strength) * draw, 0)))
            bar.update()
    network = None if shapes.config is None else asdict(shapes.config)
    parts = {
        name: _summarise_part(strengths, outcomes, kept, criterion) for name, outcomes in results.items()
    }
    return NoiseTolerance(shapes.name, network, parts, failed=len(shapes.uids) - len(kept))


def _summarise_part(
    strengths: Sequence[float], outcomes: Sequence[Sequence[Outcome]], uids: Sequence[str], criterion: float
) -> PartTolerance:
    levels = [
        summarise(strength, found, criterion) for strength, found in zip(strengths, outcomes, strict=True)
    ]
    shapes = [{"uid": uid, "iou": [found[row].iou for found in outcomes]} for row, uid in enumerate(uids)]
    return PartTolerance(find_break(levels, criterion), levels, shapes)


class _CleanShape:
    """A shape without noise, with which the noisy shapes are compared.

    Raises:
        GeometryError: The shape has no surface.
    """

    def __init__(self, shapes: ShapeVectors, row: int, resolution: int) -> None:
        self.vector = shapes.vectors[row]
        self._fields, self._device = shapes.fields, shapes.device
        self._options = MeshOptions(resolution, speck_area=0.0)
        centres = (np.arange(resolution, dtype=np.float32) + 0.5) * (2 / resolution) - 1
        self._cells = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)
        self._inside, self.mesh = self._decode(self.vector)
        self._topology = describe_topology(self.mesh)

    def _decode(self, vector: Float[np.ndarray, " dim"]) -> "tuple[Bool[np.ndarray, ' cell'], Trimesh]":
        """Return which cells are inside the shape that a vector decodes to, and the mesh of the shape."""
        import torch

        from sdfkit.models.fields import evaluate_field

        field = self._fields.of(torch.from_numpy(vector).to(self._device))
        distance = partial(evaluate_field, field, device=self._device)
        blocks = np.array_split(self._cells, -(-len(self._cells) // BATCH))
        inside = np.concatenate([distance(block) < 0 for block in blocks])
        return inside, mesh_field(field, self._device, self._options)[0]

    def compare(self, noise: Float[np.ndarray, " dim"]) -> Outcome:
        """Return how the shape changes when noise is added to its vector."""
        try:
            inside, mesh = self._decode(self.vector + noise)
        except GeometryError:
            # A shape without a surface is an outcome, not an error.
            return Outcome(0.0, 0, 0, False)
        topology = describe_topology(mesh)
        return Outcome(overlap(self._inside, inside), *topology, topology == self._topology)


def _masks(
    shapes: ShapeVectors,
    per: str,
    scale: Float[np.ndarray, " dim"],
    clean: _CleanShape,
    rng: np.random.Generator,
) -> "Iterator[tuple[str, Bool[np.ndarray, ' dim']]]":
    """Yield the sets of dimensions to which noise is added in turn, each with its name in the report."""
    if per == "all":
        yield "all", np.ones(len(scale), dtype=bool)
    elif per == "layer":
        for name, part in shapes.parts.items():
            mask = np.zeros(len(scale), dtype=bool)
            mask[part] = True
            yield name, mask
    else:
        yield from rank_groups(_measure_slopes(shapes, clean, rng) * scale, SHARES).items()


def _measure_slopes(
    shapes: ShapeVectors, clean: _CleanShape, rng: np.random.Generator
) -> Float[np.ndarray, " dim"]:
    """Return how fast the distance function changes with each weight: the root mean square over surface points."""
    import torch

    from sdfkit.models.mlp import slope_by_weights

    assert shapes.config is not None
    surface = clean.mesh.vertices
    chosen = rng.choice(len(surface), min(POINTS, len(surface)), replace=False)
    slopes: np.ndarray = (
        slope_by_weights(
            shapes.config,
            torch.from_numpy(clean.vector).to(shapes.device),
            torch.from_numpy(surface[chosen].astype(np.float32)).to(shapes.device),
            PROBES,
            torch.Generator().manual_seed(int(rng.integers(2**62))),
        )
        .cpu()
        .numpy()
    )
    return slopes
