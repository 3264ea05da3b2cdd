"""Samples the signed distance of meshes, and creates the arrays of a samples store."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sdfkit.errors import GeometryError, UsageError
from sdfkit.preparation.framing import make_frame
from sdfkit.rows import seed_shape

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow
    from sdfkit.io.stores.store_writer import StoreWriter

# Number of shapes after which the process that runs mesh-to-sdf is replaced: after 70 shapes it is ten times slower.
SCAN_RECYCLE = 8
SIGN_NAMES = {"normal": "the nearest normal", "winding": "the winding number", "scan": "rays to the outside"}


@dataclass(frozen=True)
class SdfOptions:
    """How meshes are sampled.

    Attributes:
        points: Number of query points of each shape.
        near_share: Share of the query points that are near the surface: surface points plus Gaussian noise.
        near_std: Standard deviations of that noise along each axis; each applies to an equal part of the points.
        surface_points: Number of points on the surface that are stored beside the query points.
        method: "exact" measures the distance to the triangles; "scan" uses mesh-to-sdf.
        sign: Method that determines the signs: "normal", "winding" or "scan"; see `TriangleTree.signed`.
        agreement: Minimum share of points at which a second sign method must give the same sign.
        drop_specks: Leave out small pieces far from the rest, see `make_frame`.
        seed: Seed of the points.
    """

    points: int
    near_share: float
    near_std: tuple[float, ...]
    surface_points: int
    method: Literal["exact", "scan"]
    sign: Literal["normal", "winding", "scan"]
    agreement: float
    drop_specks: bool
    seed: int

    @property
    def recycle(self) -> int | None:
        """Number of shapes after which a worker process is replaced; None to keep the processes."""
        return SCAN_RECYCLE if self.method == "scan" else None


def choose_sign(
    method: Literal["exact", "scan"], sign: Literal["normal", "winding", "scan"] | None
) -> Literal["normal", "winding", "scan"]:
    """Return the sign method: `sign` if it is given, otherwise the default of the distance method.

    Raises:
        UsageError: The distance method is "scan" (mesh-to-sdf), which does not have this sign method.
        MissingError: The distance method is "scan", but there is no OpenGL driver.
    """
    if method == "exact":
        return sign or "winding"
    if sign == "winding":
        raise UsageError(
            "--sign winding: is not available with --method scan; use --sign normal or --sign scan"
        )
    from sdfkit.runtime.mesh_to_sdf import check_driver

    check_driver()
    return sign or "normal"


def create_sample_arrays(store: "StoreWriter", count: int, options: SdfOptions) -> None:
    """Create the arrays of a samples store for `count` shapes."""
    points, surface_points = (count, options.points), (count, options.surface_points, 3)
    store.create_array("to_original", shape=(count, 4, 4), dtype="f8", axes=("shape", "to", "from"))
    store.create_array("sign_agreement", shape=(count,), dtype="f4", axes=("shape",))
    store.create_array("point", shape=(*points, 3), dtype="f4", axes=("shape", "sample", "xyz"))
    store.create_array("distance", shape=points, dtype="f4", axes=("shape", "sample"))
    store.create_array("near", shape=points, dtype="bool", axes=("shape", "sample"))
    for name in ("surface_point", "surface_normal"):
        store.create_array(name, shape=surface_points, dtype="f4", axes=("shape", "surface", "xyz"))


def sample_row(row: "MeshRow", *, options: SdfOptions) -> dict[str, Any]:
    """Sample the signed distance of the mesh of a row.

    Returns:
        The arrays of its row in the samples store.

    Raises:
        GeometryError: The mesh has no surface, or the two sign methods disagree at too many points.
    """
    import numpy as np

    unit, to_original, *_ = make_frame(row.load(), row.uid, drop_specks=options.drop_specks)
    if "to_original" in row.info:
        to_original = np.array(row.info["to_original"]) @ to_original

    # Imported only for a valid mesh, because the first import on a machine compiles kernels.
    from sdfkit.geometry.sampling import SECOND, sample_sdf

    settings = asdict(options)
    del settings["drop_specks"]
    agreement, method, seed = settings.pop("agreement"), settings.pop("method"), settings.pop("seed")
    second, measure = SECOND[options.sign], None
    if method == "scan":
        from sdfkit.runtime.mesh_to_sdf import scan_distances

        sign: Literal["normal", "scan"] = "scan" if options.sign == "scan" else "normal"
        second, measure = "winding", partial(scan_distances, sign=sign)
    rng = np.random.default_rng(seed_shape(seed, row.uid))
    samples = sample_sdf(unit, measure=measure, rng=rng, **settings)
    if samples.sign_agreement < agreement:
        raise GeometryError(
            f"{SIGN_NAMES[options.sign]} and {SIGN_NAMES[second]} agree on inside and outside for "
            f"{samples.sign_agreement:.1%} of the points only; run watertight first, or lower --agreement"
        )
    return {**samples._asdict(), "to_original": to_original}
