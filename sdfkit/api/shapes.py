"""Functions on meshes and images; see `sdfkit.api`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, Float32, UInt8

from sdfkit.errors import InputError, UsageError
from sdfkit.geometry.defaults import (
    GAP,
    LEAST_AGREEMENT,
    NEAR_SHARE,
    NEAR_STD,
    SAMPLES,
    SURFACE_POINTS,
    THICKNESS,
    WATERTIGHT_RESOLUTION,
)
from sdfkit.geometry.sampling import SdfSamples
from sdfkit.images.rendering.appearance import Part
from sdfkit.images.rendering.defaults import (
    DEFAULT_CREASE_DEGREES,
    DEFAULT_DISTANCE,
    DEFAULT_SIZE,
    DEFAULT_VIEWS,
    DEFAULT_YFOV_DEGREES,
)
from sdfkit.inference.defaults import COMPARE_POINTS
from sdfkit.io.meshes.reader import MeshRow, open_meshes

if TYPE_CHECKING:
    from sdfkit.images.encoding.features import Pool

MeshLike = str | Path | trimesh.Trimesh


class Views(NamedTuple):
    """Images of one shape: uint8 and float32 arrays whose first axis is the views. Row 0 of an image is its top.

    Attributes:
        rgb: Colours (view, row, column, 3); the background is 0.
        mask: Share of each pixel that the shape covers, from 0 to 255 (view, row, column).
        camera_to_world: Matrices (view, 4, 4) of cameras that look along -Z with +Y up.
        yfov: Vertical fields of view in radians (view).
        depth: Depth of the surface along the camera's -Z (view, row, column), or None.
        normal: Unit normal in the shape's frame (view, row, column, 3), or None.
    """

    rgb: UInt8[np.ndarray, "view row column 3"]
    mask: UInt8[np.ndarray, "view row column"]
    camera_to_world: Float[np.ndarray, "view 4 4"]
    yfov: Float32[np.ndarray, " view"]
    depth: Float[np.ndarray, "view row column"] | None = None
    normal: Float[np.ndarray, "view row column 3"] | None = None


@dataclass(frozen=True)
class _GivenMesh(MeshRow):
    """A mesh of the program, as a row."""

    mesh: trimesh.Trimesh | None = None

    def load(self) -> trimesh.Trimesh:
        assert self.mesh is not None
        return self.mesh.copy()

    def load_parts(self, *, colour: bool) -> tuple[list[Part], list[str]]:
        raise UsageError("colours are read from files only; give the path of a mesh file")


def _row_of(mesh: MeshLike) -> MeshRow:
    if isinstance(mesh, trimesh.Trimesh):
        return _GivenMesh(0, "mesh", mesh=mesh)
    with open_meshes([str(mesh)], manifest=None) as meshes:
        if len(meshes) != 1:
            raise InputError(f"{mesh}: holds {len(meshes)} meshes, but one is needed")
        return next(iter(meshes))


def watertight(
    mesh: MeshLike,
    *,
    resolution: int = WATERTIGHT_RESOLUTION,
    gap: float = GAP,
    thickness: float = THICKNESS,
    keep_parts: bool = False,
    simplify: int | None = None,
    drop_specks: bool = False,
) -> trimesh.Trimesh:
    """Return the closed outer surface of any triangle mesh, in the unit frame, as `sdfkit watertight` does.

    Args:
        mesh: Any triangles: orientation, duplicates and holes do not matter.
        resolution: Grid cells along a side of the cube from -1 to 1.
        gap: Openings narrower than this length in the unit frame are closed if they lead into a cavity.
        thickness: Thickness, in the unit frame, of the plates that sheets become.
        keep_parts: Keep separate pieces smaller than two grid cells.
        simplify: Maximum number of faces; None to keep all.
        drop_specks: Leave out small pieces far from the rest.

    Returns:
        A closed 2-manifold, centred on its bounding box, with the farthest vertex at distance 1. `metadata` holds
        `to_original`, the 4 × 4 matrix that maps it to the original coordinates.

    Raises:
        GeometryError: The mesh has no faces or no area, or a vertex is not finite.
    """
    from sdfkit.preparation.closing import close_row

    made = close_row(
        _row_of(mesh), resolution=resolution, gap=gap, thickness=thickness, keep_parts=keep_parts,
        simplify=simplify, drop_specks=drop_specks,
    )  # fmt: skip
    closed: trimesh.Trimesh = made["mesh"]
    closed.metadata["to_original"] = np.array(made["to_original"])
    return closed


def sample_sdf(
    mesh: MeshLike,
    points: int = SAMPLES,
    *,
    near_share: float = NEAR_SHARE,
    near_std: Sequence[float] = NEAR_STD,
    surface_points: int = SURFACE_POINTS,
    sign: Literal["winding", "normal"] = "winding",
    agreement: float = LEAST_AGREEMENT,
    drop_specks: bool = False,
    seed: int = 0,
) -> SdfSamples:
    """Draw points and compute their exact signed distances to a shape, negative inside, as `sdfkit sample-sdf` does.

    Args:
        mesh: A closed mesh. It is scaled to the unit frame: centred, farthest vertex at distance 1.
        points: Number of query points, in the cube from -1 to 1.
        near_share: Share of the query points near the surface; the others are uniform in the cube.
        near_std: Standard deviations of the noise, along each axis, of the points near the surface.
        surface_points: Number of points on the surface.
        sign: Method that determines the sign.
        agreement: Least share of points at which a second method must give the same sign.
        drop_specks: Leave out small pieces far from the rest.
        seed: Seed of the points.

    Returns:
        A named tuple: `point` (sample, 3); `distance` (sample), negative inside; `near` (sample), whether a point was
        drawn near the surface; `surface_point` and the unit `surface_normal` (surface, 3); and `sign_agreement`, the
        share of points at which a second method gives the same sign.

    Raises:
        GeometryError: The mesh has no surface, or the two methods disagree on the signs: it is not closed.
    """
    from sdfkit.preparation.sdf_sampling import SdfOptions, sample_row

    options = SdfOptions(
        points, near_share, tuple(near_std), surface_points, "exact", sign, agreement, drop_specks, seed
    )
    arrays = sample_row(_row_of(mesh), options=options)
    return SdfSamples(**{name: arrays[name] for name in SdfSamples._fields})


def render(
    mesh: MeshLike,
    views: int = DEFAULT_VIEWS,
    *,
    distance: float = DEFAULT_DISTANCE,
    yfov: float = DEFAULT_YFOV_DEGREES,
    size: int = DEFAULT_SIZE,
    crease: float = DEFAULT_CREASE_DEGREES,
    colour: bool = False,
    depth: bool = False,
    normal: bool = False,
    drop_specks: bool = False,
) -> Views:
    """Render images of a mesh from all directions on the CPU, as `sdfkit render --renderer cpu` does.

    Args:
        mesh: Any mesh. It is scaled to the unit frame: centred, farthest vertex at distance 1.
        views: Number of cameras, on a Fibonacci sphere.
        distance: Distance of the cameras from the centre.
        yfov: Vertical field of view in degrees.
        size: Width and height of the images in pixels.
        crease: Angle in degrees between faces, above which their edge is shaded as sharp.
        colour: Render a mesh file in its own colours and textures, not in grey-blue.
        depth: Also return depth images.
        normal: Also return images of the surface normals.
        drop_specks: Leave out small pieces far from the rest.

    Raises:
        GeometryError: The mesh has no faces, or a camera is inside the unit sphere.
    """
    from sdfkit.preparation.rendering import ViewOptions, check_cameras, render_row

    options = ViewOptions(
        views=views, distance=distance, yfov=yfov, size=size, crease=crease, colour=colour, depth=depth,
        normal=normal, drop_specks=drop_specks, renderer="cpu",
    )  # fmt: skip
    check_cameras(options)
    return Views(**render_row(_row_of(mesh), options=options))


def embed(
    images: "Views | UInt8[np.ndarray, '*image row column 3']",
    model: str = "facebook/dinov2-base",
    *,
    revision: str | None = None,
    pool: "Pool" = "auto",
    device: Literal["auto", "cpu", "gpu"] = "auto",
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto",
) -> Float32[np.ndarray, "*image dim"]:
    """Encode images as features of a pretrained network, as `sdfkit embed` does.

    Args:
        images: Images of uint8 with values up to 255, with any number of leading axes; or views of `render`.
        model: A name on the Hugging Face hub, a folder, or efficientnet-lite0. It is loaded at each call.
        revision: Commit, tag or branch of the model on the hub.
        pool: The feature. cls: the class token; mean, max: mean or maximum over the patches; auto: the first that the
            model has of class token, pooled output and mean.
        device: Device to compute on; auto is the GPU if there is one.
        precision: Precision of matrix products; auto is bf16 on hardware with bf16 units.

    Raises:
        InputError: The model is no image encoder.
        MissingError: The model cannot be loaded on this machine.
    """
    from sdfkit.inference.encoders import load_chosen

    encoder = load_chosen(
        is_text=False,
        device=device,
        precision=precision,
        tokens="none",
        model=model,
        revision=revision,
        pool=pool,
    )
    pictures = images.rgb if isinstance(images, Views) else images
    features: np.ndarray = encoder.embed(pictures.reshape(-1, *pictures.shape[-3:]))
    return features.reshape(*pictures.shape[:-3], -1)


def compare(
    predicted: MeshLike,
    truth: MeshLike,
    *,
    points: int = COMPARE_POINTS,
    align: Literal["none", "icp"] = "none",
    seed: int = 0,
) -> dict[str, Any]:
    """Score a predicted mesh against the true one, both in the unit frame, as `sdfkit compare` does.

    Args:
        predicted: The predicted mesh.
        truth: The true mesh.
        points: Number of points on each surface, and in space for the IoU.
        align: "icp" first rotates and translates the prediction onto the truth, without scaling.
        seed: Seed of the points.

    Returns:
        `chamfer`, `chamfer_deepsdf`, `f_score_1`, `f_score_5`, `iou`, `normal_consistency`, `volume_ratio`, and the
        numbers of `pieces` and `euler` of the prediction. `sdfkit.geometry.metrics.DEFINITIONS` defines the scores.

    Raises:
        GeometryError: The true mesh has no area, or a vertex is NaN or infinite.
    """
    from sdfkit.inference.comparison.scores import score_pair
    from sdfkit.io.meshes.pairs import Pair

    true = _row_of(truth)
    pair = Pair(index=0, uid=true.uid, truth=true, guesses=(_row_of(predicted),), by_uid=False)
    scores = score_pair(pair, points=points, seed=seed, align=align == "icp", baselines=None)
    return {name: value for name, value in scores["predictions"][0].items() if name not in ("shape", "state")}
