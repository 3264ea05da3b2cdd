"""Distances and signs against closed forms and exhaustive search."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from sdfkit.errors import GeometryError
from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.shapes import solid_mesh
from sdfkit.geometry.shapes.fields import primitives
from sdfkit.geometry.shapes.fields.profiles import plate
from sdfkit.geometry.shapes.fields.solid import normalise
from tests.properties import examples


def soup(triangles: np.ndarray) -> TriangleTree:
    return TriangleTree(triangles.reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3))


def to_segment(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> np.ndarray:
    share = np.clip((points - a) @ (b - a) / max((b - a) @ (b - a), 1e-300), 0, 1)  # 0 if a equals b
    return np.linalg.norm(points - a - share[:, None] * (b - a), axis=1)


def by_search(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest triangle by exhaustive search over faces and edges."""
    best = np.full(len(points), np.inf)
    for corners in triangles:
        sides = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))
        best = np.min([best, *(to_segment(a, b, points) for a, b in sides)], axis=0)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if np.linalg.norm(normal) > 1e-9:
            normal /= np.linalg.norm(normal)
            height = (points - corners[0]) @ normal
            foot = points - height[:, None] * normal
            inside = np.all([np.cross(b - a, foot - a) @ normal >= 0 for a, b in sides], axis=0)
            best = np.where(inside, np.minimum(best, np.abs(height)), best)
    return best


def with_degenerate(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random triangles, among them a point, two segments, and one with nearly collinear corners."""
    triangles = rng.normal(size=(count + 4, 3, 3))
    triangles[0] = triangles[0, 0]
    triangles[1, 2] = triangles[1, 0]
    triangles[2, 2] = (triangles[2, 0] + triangles[2, 1]) / 2
    triangles[3] = np.outer([0, 1, 3], [1 / 3, 1 / 7, 1 / 9])
    return triangles


@examples(40)
@given(st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_closest_agrees_with_exhaustive_search(count, seed):
    rng = np.random.default_rng(seed)
    triangles = with_degenerate(rng, count)
    points = 2 * rng.normal(size=(50, 3))
    distance, face, place = soup(triangles).closest(points)
    assert np.allclose(distance, by_search(triangles, points), rtol=0, atol=1e-12)
    assert np.allclose(np.linalg.norm(points - place, axis=1), distance, rtol=0, atol=1e-12)
    onto = [by_search(triangles[f : f + 1], p[None])[0] for f, p in zip(face, place, strict=True)]
    assert np.max(onto) < 1e-12


def test_a_tree_can_be_built_of_coinciding_triangles():
    triangles = np.repeat(np.random.default_rng(0).normal(size=(1, 3, 3)), 1000, axis=0)
    points = np.random.default_rng(1).normal(size=(20, 3))
    distance, _, _ = soup(triangles).closest(points)
    assert np.allclose(distance, by_search(triangles[:1], points), rtol=0, atol=1e-12)


CELLS = arrays(np.bool_, (3, 3, 3)).filter(np.any)


def mesh_of_cells(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The boundary of a union of unit cells: closed, and non-manifold where cells share only an edge."""
    triangles = []
    padded = np.pad(filled, 1)
    for axis in range(3):
        along, u, v = np.roll(np.eye(3, dtype=int), -axis, axis=0)
        for outward in (1, -1):
            bare = padded & ~np.roll(padded, -outward, axis=axis)
            for cell in np.argwhere(bare) - 1:
                base = cell + along * (outward > 0)
                quad = np.array([base, base + u, base + u + v, base + v])[::outward]
                triangles += [quad[[0, 1, 2]], quad[[0, 2, 3]]]
    triangles = np.array(triangles, dtype=float)
    return triangles.reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3)


def with_flat_faces(vertices: np.ndarray, faces: np.ndarray, rng: np.random.Generator) -> tuple:
    """Split some edges on one side only, and close the gap with a face without area."""
    for row in rng.choice(len(faces), len(faces) // 3, replace=False):
        a, b, c = faces[row]
        middle = (vertices[a] + vertices[b]) / 2
        m = len(vertices)
        vertices = np.concatenate([vertices, middle[None]])
        faces = np.concatenate([faces, [[m, b, c], [a, b, m]]])
        faces[row] = a, m, c
    return vertices, faces


@pytest.mark.slow
@examples(60)
@given(CELLS, st.booleans(), st.sampled_from(["normal", "winding"]), st.integers(0, 2**32 - 1))
def test_all_signs_are_correct_for_unions_of_boxes(filled, flat, sign, seed):
    rng = np.random.default_rng(seed)
    vertices, faces = mesh_of_cells(filled)
    if flat:
        vertices, faces = with_flat_faces(vertices, faces, rng)
    # Sheared, so that cells have sharp edges, where the normal of a single face would give a wrong sign.
    shear = np.eye(3) + np.triu(rng.uniform(-3, 3, (3, 3)), 1)
    vertices = vertices @ shear
    tree = TriangleTree(vertices, faces)
    assert tree.closed
    # Random points, and a lattice with a spacing of 1/4, whose nearest features are edges and corners of cells.
    points = np.concatenate([rng.uniform(-1, 4, (150, 3)), rng.integers(-4, 16, (150, 3)) / 4 + 1e-4])
    distance = tree.signed(points @ shear, sign)
    cell = np.clip(np.floor(points).astype(int), -1, 3) + 1
    assert np.array_equal(distance < 0, np.pad(filled, 1)[tuple(cell.T)])
    assert np.allclose(np.abs(distance), by_search(vertices[faces], points @ shear), rtol=0, atol=1e-9)


@pytest.mark.parametrize("sign", ["normal", "winding"])
def test_distances_to_sphere_and_torus_are_exact_up_to_the_facets(sign):
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (20_000, 3))
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.8)
    ring = trimesh.creation.torus(0.7, 0.3, major_sections=128, minor_sections=64)
    x, y, z = points.T
    # Facets leave a sphere by (edge)^2 / (6 radius) at most, and a circle by 1 - cos(half the angle).
    bulge = ball.edges_unique_length.max() ** 2 / (6 * 0.8)
    bend = 1 - np.cos(np.pi / 128) + 0.3 * (1 - np.cos(np.pi / 64))
    for mesh, truth, sag in (
        (ball, np.linalg.norm(points, axis=1) - 0.8, bulge),
        (ring, np.hypot(np.hypot(x, y) - 0.7, z) - 0.3, bend),
    ):
        tree = TriangleTree(mesh.vertices, mesh.faces)
        distance = tree.signed(points, sign)
        assert tree.closed
        assert np.abs(distance - truth).max() < sag
        clear = np.abs(truth) > sag
        assert np.array_equal(distance[clear] < 0, truth[clear] < 0)


@examples(30)
@given(CELLS, st.floats(0, 0.5), st.integers(0, 2**32 - 1))
def test_distances_are_1_lipschitz(filled, step, seed):
    rng = np.random.default_rng(seed)
    tree = TriangleTree(*mesh_of_cells(filled))
    here = rng.uniform(-1, 4, (100, 3))
    there = here + step * rng.normal(size=here.shape)
    change = np.abs(tree.signed(here, "normal") - tree.signed(there, "normal"))
    assert (change <= np.linalg.norm(here - there, axis=1) + 1e-12).all()


def test_overlapping_parts_are_inside_by_the_winding_number():
    one = trimesh.creation.box((1, 1, 1))
    both = trimesh.util.concatenate([one, one.copy().apply_translation([0.5, 0.2, 0.1])])
    points = np.random.default_rng(0).uniform(-1, 1.5, (5000, 3))
    tree = TriangleTree(both.vertices, both.faces)
    inside = [(np.abs(points - centre) < 0.5).all(axis=1) for centre in ([0, 0, 0], [0.5, 0.2, 0.1])]
    assert tree.closed
    assert np.array_equal(tree.signed(points, "winding") < 0, inside[0] | inside[1])


def exact_winding(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Winding numbers from the solid angles of all triangles (van Oosterom and Strackee, 1983)."""
    a, b, c = np.moveaxis(triangles[None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    volume = (a * np.cross(b, c)).sum(axis=2)
    cosine = la * lb * lc + (a * b).sum(2) * lc + (b * c).sum(2) * la + (c * a).sum(2) * lb
    return np.arctan2(volume, cosine).sum(axis=1) / (2 * np.pi)


def test_winding_numbers_of_an_open_sphere_approximate_the_exact_sum():
    rng = np.random.default_rng(0)
    ball = trimesh.creation.icosphere(subdivisions=3)
    faces = ball.faces[rng.random(len(ball.faces)) > 0.05]
    points = rng.uniform(-1.2, 1.2, (500, 3))
    tree = TriangleTree(ball.vertices, faces)
    exact = exact_winding(ball.vertices[faces].view(np.ndarray), points)
    assert not tree.closed
    assert np.abs(tree.winding(points) - exact).max() < 0.04
    assert np.abs(tree.winding(points) - exact).mean() < 0.012
    off = np.abs(np.linalg.norm(points, axis=1) - 1) > 0.05
    assert np.array_equal(tree.signed(points, "winding")[off] < 0, np.linalg.norm(points[off], axis=1) < 1)


@examples(40)
@given(CELLS, st.integers(0, 2**32 - 1))
def test_scan_signs_are_correct_in_a_closed_mesh_with_randomly_flipped_faces(filled, seed):
    rng = np.random.default_rng(seed)
    vertices, faces = mesh_of_cells(filled)
    flipped = rng.random(len(faces)) < 0.5
    faces[flipped] = faces[flipped, ::-1]
    # Rays from the centres of cells pass along edges and corners of the mesh, where they might miss all faces.
    points = np.concatenate([rng.uniform(-1, 4, (200, 3)), rng.integers(-2, 8, (200, 3)) / 2 + 0.25])
    inside = TriangleTree(vertices, faces).signed(points, "scan") < 0
    cell = np.clip(np.floor(points).astype(int), -1, 3) + 1
    assert inside[np.pad(filled, 1)[tuple(cell.T)]].all()
    assert not inside[((points < 0) | (points > 3)).any(axis=1)].any()


def test_flipped_and_inner_faces_break_winding_signs_but_not_scan_signs():
    rng = np.random.default_rng(0)
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.8)
    hidden = trimesh.creation.icosphere(subdivisions=2, radius=0.4)
    mesh = trimesh.util.concatenate([ball, hidden])
    faces = mesh.faces.copy()
    flipped = rng.random(len(faces)) < 0.5
    faces[flipped] = faces[flipped, ::-1]
    points = rng.uniform(-1, 1, (5000, 3))
    radius = np.linalg.norm(points, axis=1)
    points = points[np.abs(radius - 0.8) > 0.01]
    truth = np.linalg.norm(points, axis=1) < 0.8
    tree = TriangleTree(mesh.vertices, faces)
    assert np.array_equal(tree.signed(points, "scan") < 0, truth)
    assert np.mean((tree.signed(points, "winding") < 0) != truth) > 0.2


def slotted(width: float, depth: float) -> trimesh.Trimesh:
    """A cube of side 2 with a slot along its top: a closed prism with outward faces."""
    w, bottom = width / 2, 1 - depth
    profile = np.array([[-1, -1], [1, -1], [1, 1], [w, 1], [w, bottom], [-w, bottom], [-w, 1], [-1, 1]])
    front = np.array([[0, 1, 4], [1, 2, 3], [1, 3, 4], [0, 4, 5], [0, 5, 6], [0, 6, 7]])
    n = len(profile)
    side = [[i, (i + 1) % n + n, (i + 1) % n] for i in range(n)]
    side += [[i, i + n, (i + 1) % n + n] for i in range(n)]
    vertices = np.concatenate([np.column_stack([profile, np.full(n, z)]) for z in (1.0, -1.0)])
    return trimesh.Trimesh(vertices, np.concatenate([front, front[:, ::-1] + n, side]), process=False)


def test_scan_signs_are_correct_in_shallow_crevices_but_not_in_very_deep_ones():
    rng = np.random.default_rng(0)
    for width, depth, seen in ((0.2, 0.8, True), (0.01, 0.8, False)):
        mesh = slotted(width, depth)
        assert mesh.is_watertight and mesh.volume == pytest.approx(8 - 2 * width * depth)
        low, high = [-width / 2, 1 - depth, -0.5], [width / 2, 1 - 0.75 * depth, 0.5]
        points = rng.uniform(low, high, (500, 3))
        tree = TriangleTree(mesh.vertices, mesh.faces)
        assert (tree.signed(points, "winding") > 0).all()
        outside = tree.signed(points, "scan") > 0
        assert outside.all() if seen else not outside.any()


def test_a_scan_treats_a_sphere_with_a_small_hole_as_solid_and_an_open_box_as_empty():
    rng = np.random.default_rng(0)
    ball = trimesh.creation.icosphere(subdivisions=5)
    cap = np.cos(0.12)  # 0.36 % of the area
    holed = TriangleTree(ball.vertices, ball.faces[ball.triangles_center[:, 1] < cap])
    assert not holed.closed
    points = rng.uniform(-1, 1, (5000, 3))
    points = points[np.abs(np.linalg.norm(points, axis=1) - 1) > 0.01]
    truth = np.linalg.norm(points, axis=1) < 1
    wrong = (holed.signed(points, "scan") < 0) != truth
    # Only for points near the hole do enough rays leave through it.
    assert 0 < wrong.mean() < 0.02
    assert np.linalg.norm(points[wrong] - [0, 1, 0], axis=1).max() < 0.75

    box = trimesh.creation.box((1, 1, 1))
    lidless = TriangleTree(box.vertices, box.faces[box.face_normals[:, 1] < 0.9])
    within = rng.uniform(-0.4, 0.4, (500, 3))
    assert not (lidless.signed(within, "scan") < 0).any()
    assert (lidless.signed(within, "winding") < 0).mean() > 0.9


def star() -> trimesh.Trimesh:
    """A prism over a five-pointed star, which has concave edges."""
    angle = np.arange(10) * np.pi / 5
    ring = np.where(np.arange(10) % 2, 0.3, 0.8)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    ring = np.concatenate([ring, [[0, 0]]])
    vertices = np.concatenate([np.column_stack([ring, np.full(11, z)]) for z in (0.2, -0.2)])
    here, after = np.arange(10), (np.arange(10) + 1) % 10
    middle = np.full(10, 10)
    faces = [[here, after, middle], [after + 11, here + 11, middle + 11]]
    faces += [[here, here + 11, after + 11], [here, after + 11, after]]
    return trimesh.Trimesh(vertices, np.concatenate([np.transpose(part) for part in faces]), process=False)


EXACT = {
    "box": (trimesh.creation.box((1.0, 0.8, 0.3)), primitives.box((0, 0, 0), (1.0, 0.8, 0.3), 0.0)),
    "star": (star(), plate([star().vertices[:10, :2]], 0.4, 0.0)),
}


@pytest.mark.parametrize("sign", ["normal", "winding"])
@pytest.mark.parametrize("name", EXACT)
def test_distances_to_polyhedra_equal_those_of_the_generators_fields(name, sign):
    mesh, field = EXACT[name]
    assert mesh.is_watertight and mesh.volume > 0
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 3))
    truth = field.distance(points.T)
    distance = TriangleTree(mesh.vertices, mesh.faces).signed(points, sign)
    assert field.exact
    assert np.allclose(distance, truth, rtol=0, atol=1e-12)
    assert np.array_equal(distance < 0, truth < 0)


ROUND = {
    "sphere": primitives.sphere((0, 0, 0), 0.8),
    "torus": primitives.torus((0, 0, 0), (0, 1, 0), 0.7, 0.2),
    "ellipsoid": primitives.ellipsoid((0, 0, 0), (0.9, 0.5, 0.3)),
    "capsule": primitives.capsule((-0.5, 0, 0), (0.4, 0.2, 0.1), 0.3),
    "round cone": primitives.round_cone((0, -0.5, 0), (0, 0.5, 0), 0.4, 0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["normal", "winding", "scan"])
@pytest.mark.parametrize("name", ROUND)
def test_distances_to_round_shapes_equal_those_of_the_generators_fields_up_to_facets(name, sign):
    solid = normalise(ROUND[name])
    mesh = solid_mesh(solid, 64)
    surface, _ = trimesh.sample.sample_surface(mesh, 20_000, seed=0)
    # Vertices lie on the surface, so this is the error of facets, and hence of distances.
    sag = 1.2 * np.abs(solid.distance(np.asarray(surface))).max()
    assert solid.exact and 1e-5 < sag < 4e-3
    points = np.random.default_rng(0).uniform(-1, 1, (5000, 3))
    truth = solid.distance(points)
    distance = TriangleTree(mesh.vertices, mesh.faces).signed(points, sign)
    assert np.abs(np.abs(distance) - np.abs(truth)).max() < sag
    clear = np.abs(truth) > sag
    assert np.array_equal((distance < 0)[clear], (truth < 0)[clear])


@examples(25)
@given(CELLS, st.floats(1e-3, 1e3), st.sampled_from(["normal", "winding", "scan"]), st.integers(0, 2**32 - 1))
def test_distances_follow_translation_rotation_and_scaling(filled, scale, sign, seed):
    rng = np.random.default_rng(seed)
    vertices, faces = mesh_of_cells(filled)
    points = rng.uniform(-1, 4, (200, 3))
    turn, shift = Rotation.random(rng=rng).as_matrix(), 10 * scale * rng.normal(size=3)
    here, there = (
        TriangleTree(v, faces).signed(p, sign)
        for v, p in ((vertices, points), (scale * vertices @ turn + shift, scale * points @ turn + shift))
    )
    assert np.allclose(np.abs(there), scale * np.abs(here), rtol=0, atol=1e-11 * scale)
    # The sign method "scan" is left out, because its ray directions do not rotate with the mesh.
    clear = np.abs(here) > 1e-9
    assert sign == "scan" or np.array_equal(there[clear] < 0, here[clear] < 0)


@examples(25)
@given(CELLS, st.sampled_from(["normal", "winding", "scan"]), st.integers(0, 2**32 - 1))
def test_the_order_of_faces_and_corners_does_not_matter(filled, sign, seed):
    rng = np.random.default_rng(seed)
    vertices, faces = mesh_of_cells(filled)
    points = rng.uniform(-1, 4, (200, 3))
    shuffled = np.array([np.roll(face, rng.integers(3)) for face in rng.permutation(faces)])
    first, second = (TriangleTree(vertices, f).signed(points, sign) for f in (faces, shuffled))
    assert np.allclose(first, second, rtol=0, atol=1e-12)


@examples(25)
@given(CELLS, st.integers(0, 2**32 - 1))
def test_reversing_all_faces_swaps_inside_and_outside(filled, seed):
    vertices, faces = mesh_of_cells(filled)
    points = np.random.default_rng(seed).uniform(-1, 4, (200, 3))
    distance = TriangleTree(vertices, faces).signed(points, "normal")
    turned = TriangleTree(vertices, faces[:, ::-1].copy()).signed(points, "normal")
    regular = TriangleTree(vertices, faces)._topology.regular.all()
    # Where parts share only an edge, signs come from the winding number, which is 0 or -1 for an inverted mesh.
    assert not regular or np.allclose(turned, -distance, rtol=0, atol=1e-12)


def test_a_hole_or_a_flipped_face_is_not_closed():
    box = trimesh.creation.box((1, 1, 1))
    flipped = np.concatenate([box.faces[:1, ::-1], box.faces[1:]])
    for faces, closed in ((box.faces, True), (box.faces[1:], False), (flipped, False)):
        assert TriangleTree(box.vertices, faces).closed == closed


def test_the_order_of_points_does_not_matter():
    rng = np.random.default_rng(0)
    tree = TriangleTree(*mesh_of_cells(rng.random((3, 3, 3)) < 0.5))
    points = rng.uniform(-1, 4, (500, 3))
    shuffled = rng.permutation(500)
    again = tree.signed(points[shuffled], "normal")
    assert np.allclose(again, tree.signed(points, "normal")[shuffled], rtol=0, atol=1e-14)


def test_no_points_give_no_distances():
    distance, face, place = soup(np.eye(3)[None]).closest(np.zeros((0, 3)))
    assert distance.shape == (0,) and face.shape == (0,) and place.shape == (0, 3)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.eye(3), np.zeros((0, 3), dtype=int), "has no faces, so there is no surface to measure"),
        (np.diag([1, 1, np.nan]), np.arange(3)[None], "vertices are NaN or infinite"),
    ],
)
def test_meshes_without_faces_and_non_finite_vertices_are_refused(vertices, faces, message):
    with pytest.raises(GeometryError, match=message):
        TriangleTree(vertices, faces)
