import math

import numpy as np
import pytest
import trimesh
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from sdfkit.errors import GeometryError
from sdfkit.images.rendering import rasteriser
from sdfkit.images.rendering.cameras import fibonacci_cameras, intrinsics, look_at
from sdfkit.images.rendering.raster_kernels import _encode
from sdfkit.images.rendering.rasteriser import RenderedViews, render_views
from tests.properties import examples

YFOV = math.radians(55)
FRONT = np.array([np.eye(4)])
FRONT[0, 2, 3] = 2.5


def draw(mesh: trimesh.Trimesh, cameras=FRONT, **changed) -> RenderedViews:
    settings = {
        "paint": None,
        "yfov": YFOV,
        "size": 64,
        "crease": 1.0,
        "cull": True,
        "depth": True,
        "normal": True,
    }
    return render_views(mesh, cameras, **(settings | changed))


def triangles(corners) -> trimesh.Trimesh:
    corners = np.asarray(corners, dtype=float)
    faces = np.arange(len(corners) * 3).reshape(-1, 3)
    return trimesh.Trimesh(corners.reshape(-1, 3), faces, process=False)


def rays(size: int, yfov: float = YFOV):
    """Directions (row, column, xyz) through pixel centres in camera space, at depth 1."""
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    pixel = np.stack([column, row, np.ones_like(row)], axis=-1)
    return pixel @ np.linalg.inv(intrinsics(yfov, size, size)).T


def pyrender_shader(normal, toward, lights):
    """The light that reaches the camera, computed from the formulas of pyrender's shader, (..., 3)."""
    base, metallic, alpha = np.array(rasteriser.BASE_COLOR), rasteriser.METALLIC, rasteriser.ROUGHNESS**2
    k = (rasteriser.ROUGHNESS + 1) ** 2 / 8
    f0 = 0.04 * (1 - metallic) + base * metallic
    total = 0.0
    for direction, intensity in lights:
        half = toward + direction
        half = half / np.linalg.norm(half, axis=-1, keepdims=True)
        nl = np.clip(normal @ direction, 0.001, 1)[..., None]
        nv = np.clip(np.abs((normal * toward).sum(-1)), 0.001, 1)[..., None]
        nh = np.clip((normal * half).sum(-1), 0, 1)[..., None]
        vh = np.clip((toward * half).sum(-1), 0, 1)[..., None]
        fresnel = f0 + (1 - f0) * (1 - vh) ** 5
        occlusion = nl / (nl * (1 - k) + k) * nv / (nv * (1 - k) + k)
        distribution = alpha**2 / (math.pi * (nh**2 * (alpha**2 - 1) + 1) ** 2)
        diffuse = (1 - fresnel) * base * 0.96 * (1 - metallic) / math.pi
        total += intensity * nl * (diffuse + fresnel * occlusion * distribution / (4 * nl * nv + 0.001))
    return 255 * np.clip(total, 0, 1) ** (1 / 2.2)


def test_a_sphere_has_the_depth_normals_silhouette_and_colours_of_a_sphere():
    size = 128
    views = draw(trimesh.creation.icosphere(6), size=size)
    ray = rays(size)
    # |s * ray - centre| = 1 for the centre at (0, 0, -2.5).
    a, b, c = (ray**2).sum(-1), -2.5 * ray[..., 2], 2.5**2 - 1
    root = b**2 - a * c
    hit = root > 0
    depth = np.where(hit, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    normal = np.where(hit[..., None], depth[..., None] * ray - [0, 0, -2.5], 0)
    inner = root > 0.02  # away from the outline, where facets matter
    assert np.allclose(views.depth[0][inner], depth[inner], atol=1e-3)
    assert np.allclose(views.normal[0][inner], normal[inner], atol=5e-3)
    outer = root < -0.02
    assert not views.depth[0][outer].any()
    assert not views.normal[0][outer].any()
    assert not views.rgb[0][outer].any()
    area = math.pi * (size / 2 / math.tan(YFOV / 2)) ** 2 / (2.5**2 - 1)
    assert views.mask[0].sum() / 255 == pytest.approx(area, rel=2e-3)

    toward = -ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    directions = np.array(rasteriser.LIGHT_DIRECTIONS)
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    expected = pyrender_shader(
        normal, toward, list(zip(directions, rasteriser.LIGHT_INTENSITIES, strict=True))
    )
    assert np.abs(views.rgb[0][inner] - expected[inner]).max() < 1.5


def test_views_have_the_documented_shapes_and_omit_what_was_not_requested():
    views = draw(trimesh.creation.box(), fibonacci_cameras(3, 2.5), depth=False, normal=False, size=20)
    assert (views.rgb.shape, views.rgb.dtype) == ((3, 20, 20, 3), np.uint8)
    assert (views.mask.shape, views.mask.dtype) == ((3, 20, 20), np.uint8)
    assert set(np.unique(views.mask)) <= {0, 64, 128, 191, 255}
    assert views.depth is None
    assert views.normal is None
    views = draw(trimesh.creation.box(), depth=True, normal=False)
    assert views.depth.dtype == np.float32
    assert views.normal is None


def test_world_up_is_image_top_and_camera_right_is_image_right():
    ball = trimesh.creation.icosphere(2, radius=0.2)
    up = draw(ball.copy().apply_translation([0, 0.7, 0])).mask[0]
    right = draw(ball.copy().apply_translation([0.7, 0, 0])).mask[0]
    assert up[:32].any()
    assert not up[32:].any()
    assert right[:, 32:].any()
    assert not right[:, :32].any()


@pytest.mark.parametrize("seed", range(3))
def test_triangles_with_shared_edges_leave_no_gap_and_do_not_overlap(seed):
    rng = np.random.default_rng(seed)
    corners = np.array([[-2, -2], [-2, 2], [2, -2], [2, 2]])
    flat = np.concatenate([corners, rng.uniform(-1.5, 1.5, (300, 2))])
    faces = Delaunay(flat).simplices
    mesh = trimesh.Trimesh(np.column_stack([flat, np.zeros(len(flat))]), faces, process=False)
    views = draw(mesh, cull=False)
    assert views.mask.min() == 255
    # Together, the two halves of the triangles cover every sample exactly once.
    one = draw(trimesh.Trimesh(mesh.vertices, faces[::2], process=False), cull=False)
    other = draw(trimesh.Trimesh(mesh.vertices, faces[1::2], process=False), cull=False)
    share = one.mask.astype(float) + other.mask
    assert np.abs(share - 255).max() <= 1  # quarters are rounded to bytes
    assert np.all((one.depth > 0) != (other.depth > 0))


def outline_distance(pixels, corners):
    """Distance in pixels from each pixel's centre (row, column) to the outline of each triangle."""
    ends = np.roll(corners, -1, axis=1)
    along = ends - corners  # (face, side, 2)
    apart = pixels[:, :, None, None] - corners  # (row, column, face, side, 2)
    share = np.clip((apart * along).sum(-1) / np.square(along).sum(-1), 0, 1)
    return np.linalg.norm(apart - share[..., None] * along, axis=-1).min(axis=-1)


# The tip of a sliver lies on a pixel's centre in 524289.
@example(524289)
@given(st.integers(0, 2**32 - 1))
@examples(30)
def test_each_pixel_shows_the_nearest_triangle(seed):
    rng = np.random.default_rng(seed)
    mesh = triangles(rng.uniform(-1.2, 1.2, (6, 3, 3)))
    size = 24
    camera = look_at(np.array([0.4, 0.3, 2.1]), np.zeros(3), np.array([0.0, 1, 0]))
    to_camera = np.linalg.inv(camera)
    seen = mesh.triangles @ to_camera[:3, :3].T + to_camera[:3, 3]
    # Fronts only: backs are set back a little, see `test_the_front_of_a_sheet_hides_its_back`.
    away = np.linalg.det(seen) > 0
    mesh.faces[away] = mesh.faces[away, ::-1]
    seen[away] = seen[away, ::-1]
    views = draw(mesh, camera[None], size=size, cull=False, crease=0.0)

    def planes(shift):
        """Return whether the ray of each pixel hits each triangle, and where it intersects the triangle's plane."""
        ray = rays(size) + shift
        weights = np.stack([ray @ np.cross(seen[:, i - 2], seen[:, i - 1]).T for i in range(3)])
        inside = np.all(weights >= 0, axis=0) | np.all(weights <= 0, axis=0)
        volume = np.einsum("ij,ij->i", seen[:, 0], np.cross(seen[:, 1], seen[:, 2]))
        return inside, volume / weights.sum(axis=0)

    inside, depths = planes(0)
    focal = size / 2 / math.tan(YFOV / 2)
    # Corners are rounded to 256ths of a pixel, which moves outlines and planes by less than a 64th of one.
    shifts = np.array([[1, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]]) / 64 / focal
    slack = 1e-5 + 2 * np.max([np.abs(planes(shift)[1] - depths) for shift in shifts], axis=0)
    slack[(depths <= 0) | (slack > 0.5 * depths)] = np.inf  # seen nearly edge on

    corners = size / 2 + focal * seen[..., :2] / -seen[..., 2:] * [1, -1]
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    covered_surely = (outline_distance(np.stack([column, row], axis=-1), corners) > 1 / 64).all(axis=-1)
    owner = np.where(inside, depths, np.inf).argmin(axis=-1)
    farthest = np.take_along_axis(depths + slack, owner[..., None], axis=-1)
    behind = ~inside | (depths - slack > farthest) | (np.arange(6) == owner[..., None])
    hit = inside.any(axis=-1)
    steady = covered_surely & (~hit | (behind.all(axis=-1) & np.isfinite(farthest[..., 0])))
    assert steady.mean() > 0.7
    depth = np.where(hit, np.take_along_axis(depths, owner[..., None], axis=-1)[..., 0], 0)
    allowed = np.where(hit, farthest[..., 0] - depth, 0)
    assert np.all(np.abs(views.depth[0] - depth)[steady] <= allowed[steady])
    normal = np.where(hit[..., None], mesh.face_normals[owner], 0)
    assert np.allclose(views.normal[0][steady], normal[steady], atol=1e-4)


def test_a_floor_that_extends_behind_the_camera_is_clipped_correctly():
    floor = triangles([[[-50, -0.5, 60], [50, -0.5, 60], [0, -0.5, -90]]])
    views = draw(floor)
    down = rays(64)[..., 1]
    depth = np.where(down < 0, -0.5 / np.minimum(down, -1e-9), 0)
    near = (down < 0) & (depth < 30)
    assert near.sum() > 64 * 25
    assert np.allclose(views.depth[0][near], depth[near], rtol=1e-3)
    assert not views.depth[0][down > 0].any()
    assert np.allclose(views.normal[0][near], [0, 1, 0], atol=1e-5)
    assert not draw(triangles([[[-1, -1, 3], [1, -1, 3], [0, 1, 3]]]), cull=False).mask.any()  # behind


@pytest.mark.parametrize("distance", [0.06, 0.04])
def test_surfaces_nearer_than_the_near_plane_are_not_drawn(distance):
    wall = triangles([[[-9, -9, 0], [9, -9, 0], [0, 15, 0]]])
    camera = FRONT.copy()
    camera[0, 2, 3] = distance
    assert draw(wall, camera).mask.all() == (distance > 0.05)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearer_face_hides_the_farther(order):
    wall = np.array([[-9, -9, 0], [9, -9, 0], [0, 15, 0]], dtype=float)
    mesh = triangles(np.stack([wall, wall + [0, 0, 0.25]])[order])
    assert np.allclose(draw(mesh).depth, 2.25)


def test_faces_seen_from_behind_are_culled_on_request():
    front = trimesh.creation.icosphere(3)
    inverted = trimesh.Trimesh(front.vertices, front.faces[:, ::-1], process=False)
    # From distance 2.5 the front of the unit sphere begins at z = 0.4.
    half = trimesh.Trimesh(front.vertices, front.faces[front.triangles_center[:, 2] < 0.38], process=False)
    assert np.array_equal(draw(front).mask, draw(front, cull=False).mask)
    assert np.array_equal(draw(front).rgb, draw(front, cull=False).rgb)
    assert not draw(half).mask.any()
    seen = draw(half, cull=False)
    assert (seen.mask > 0).sum() == pytest.approx((draw(front).mask > 0).sum(), rel=0.05)
    assert seen.rgb[0, 32, 32].max() < draw(front).rgb[0, 32, 32].min()
    # The inside of the far wall is seen through the culled near one.
    assert draw(inverted).depth[0, 32, 32] == pytest.approx(3.5, abs=0.02)


def test_lights_are_fixed_to_the_camera():
    views = draw(trimesh.creation.icosphere(5), fibonacci_cameras(6, 2.5))
    difference = np.abs(views.rgb.astype(int) - views.rgb[0].astype(int))
    assert np.quantile(difference, 0.99) <= 2


def test_rotating_shape_and_camera_together_does_not_change_the_image():
    mesh = trimesh.creation.box([1, 0.6, 0.4])
    turn = trimesh.transformations.rotation_matrix(1.1, [0.3, 0.8, 0.5])
    before = draw(mesh, fibonacci_cameras(4, 2.5), crease=0.0)
    after = draw(mesh.copy().apply_transform(turn), turn @ fibonacci_cameras(4, 2.5), crease=0.0)
    assert np.mean(np.abs(before.rgb.astype(int) - after.rgb) > 1) < 2e-3
    assert np.mean(before.mask != after.mask) < 2e-3


def test_flat_shading_uses_face_normals_and_smooth_shading_blends_them():
    camera = look_at(np.array([1.5, 1.2, 1.6]), np.zeros(3), np.array([0.0, 1, 0]))[None]
    flat = draw(trimesh.creation.box(), camera, crease=0.0).normal[0]
    found = np.unique(np.round(flat[flat.any(-1)], 4), axis=0)
    assert np.array_equal(np.abs(found), np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]))
    smooth = draw(trimesh.creation.box(), camera, crease=math.pi).normal[0]
    assert len(np.unique(np.round(smooth, 2).reshape(-1, 3), axis=0)) > 100


def test_the_front_of_a_sheet_hides_its_back():
    # Other triangles on the same places: the diagonal of each square the other way.
    grid = np.arange(81).reshape(9, 9)
    corners = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1).reshape(-1, 4)
    x, y = np.meshgrid(np.linspace(-0.6, 0.6, 9), np.linspace(-0.6, 0.6, 9), indexing="ij")
    points = np.stack([x, y, 0.3 * x + 0.2 * y], axis=-1).reshape(-1, 3)
    front = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    back = np.concatenate([corners[:, [0, 3, 1]], corners[:, [1, 3, 2]]])
    sheet = trimesh.Trimesh(points, front, process=False)
    double = trimesh.Trimesh(points, np.concatenate([back, front]), process=False)
    cameras = fibonacci_cameras(64, 2.5)
    cameras = cameras[cameras[:, :3, 3] @ sheet.face_normals[0] > 0.4]
    alone, both = draw(sheet, cameras, cull=False), draw(double, cameras, cull=False)
    assert len(cameras) > 20
    assert np.array_equal(alone.mask, both.mask)
    assert np.mean(np.abs(alone.rgb.astype(int) - both.rgb) > 2) < 1e-4


def test_views_do_not_depend_on_each_other_and_repeat_byte_for_byte():
    mesh = trimesh.creation.torus(0.7, 0.3)
    cameras = fibonacci_cameras(5, 2.5)
    together = draw(mesh, cameras)
    alone = draw(mesh, cameras[3:4])
    for both, one in zip(together, alone, strict=True):
        assert np.array_equal(both[3:4], one)


def test_faces_without_area_and_unused_vertices_are_ignored():
    ball = trimesh.creation.icosphere(2)
    points = np.concatenate([ball.vertices, [[0.1, 0.2, 1.3], [0.30001, 0.4, 1.3], [0.5, 0.6, 1.3]]])
    line, spot = [[162, 163, 164], [162, 164, 163]], [[5, 5, 5], [3, 3, 4]]
    mesh = trimesh.Trimesh(points, np.concatenate([ball.faces, line, spot]), process=False)
    for crease in (0.0, 1.0, math.pi):
        views = draw(mesh, fibonacci_cameras(8, 2.5), crease=crease, cull=False)
        assert np.isfinite(views.normal).all()
        length = np.linalg.norm(views.normal, axis=-1)
        assert np.allclose(length[views.depth > 0], 1, atol=1e-5)
        clean = draw(ball, fibonacci_cameras(8, 2.5), crease=crease, cull=False)
        assert np.mean(views.rgb != clean.rgb) < 2e-3


def test_a_mesh_without_faces_is_refused():
    with pytest.raises(GeometryError, match="without faces cannot be drawn; leave it out"):
        draw(trimesh.Trimesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=int), process=False))


def test_gamma_encoding_agrees_with_a_power_function():
    *_, steps, guesses = rasteriser._shading_tables()
    light = np.concatenate([np.linspace(0, 1.2, 20_011), steps, np.nextafter(steps, 0), [1e-9, 1e9, np.inf]])
    codes = [_encode(value, steps, guesses) for value in light]
    # Rounded up, as steps are: the byte's range of light begins at half a byte below it.
    expected = np.searchsorted(steps, light, side="right") - 1
    assert np.array_equal(codes, expected)
    assert np.abs(codes - 255 * np.minimum(light, 1) ** (1 / 2.2)).max() <= 0.5 + 1e-6
    assert _encode(np.nan, steps, guesses) == 0


def test_masks_alone_are_those_of_the_whole_rendering():
    mesh = trimesh.util.concatenate([trimesh.creation.torus(0.7, 0.2), trimesh.creation.box([0.2, 1.9, 0.1])])
    cameras = fibonacci_cameras(5, 2.5)
    settings = {"crease": 0.0, "cull": False, "depth": False, "normal": False, "paint": None}
    whole = render_views(mesh, cameras, yfov=0.9, size=64, **settings)
    assert np.array_equal(rasteriser.render_masks(mesh, cameras, yfov=0.9, size=64), whole.mask)
