"""Models for web pages: few faces that keep the surface, its edges, its colours and its distances."""

import base64
import io
import json
import re
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdfkit.errors import GeometryError
from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.frame import normalise
from sdfkit.images.rendering.appearance import Material, Part, Texture
from sdfkit.images.rendering.paint import decode_srgb, join_parts, load_textures
from sdfkit.images.scenes import decimation
from sdfkit.images.scenes.cloud import make_cloud
from sdfkit.images.scenes.colours import encode_srgb, has_colors
from sdfkit.images.scenes.decimation import decimate
from sdfkit.images.scenes.model import make_model
from sdfkit.images.scenes.packing import Packed, pack_arrays
from sdfkit.report.viewer.mesh_cells import FEWEST, MANY, MOST, count_faces

WEB = files("sdfkit.report").joinpath("web")


def unpack(packed):
    """Do what `unpack` of models.js does, in another way."""
    raw, found = zlib.decompress(base64.b64decode(packed["data"])), {}
    for array in packed["arrays"]:
        kind = np.dtype("<" + array["type"])
        count = array["items"] * array["components"]
        taken, raw = raw[: count * kind.itemsize], raw[count * kind.itemsize :]
        planes = np.frombuffer(taken, np.uint8).reshape(kind.itemsize, count)
        values = np.ascontiguousarray(planes.T).view(kind.str.replace("i", "u")).reshape(-1)
        if array["coding"] == "faces":
            following, used = 0, []
            for code in values.tolist():
                used.append(following - code)
                following += code == 0
            values = np.array(used).reshape(array["items"], -1)
        else:
            values = values.reshape(array["components"], -1).T
            values = (
                np.cumsum(values, axis=0, dtype=values.dtype) if array["coding"] == "differences" else values
            )
        found[array["name"]] = values.astype(kind)
    assert not raw
    return found


def rebuild(model):
    """Return the mesh that a page shows."""
    arrays = unpack(model)
    vertices = arrays["position"] / 32767 * model["scale"]
    return trimesh.Trimesh(vertices, arrays["face"].astype(int), process=False), arrays


@given(
    st.sampled_from(["u1", "u2", "i2"]),
    st.sampled_from(["plain", "differences"]),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_packed_arrays_are_unpacked_unchanged(kind, coding, items, components, seed):
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    values = np.random.default_rng(seed).integers(low, high, (items, components), endpoint=True).astype(kind)
    faces = np.arange(3 * items, dtype=np.uint32).reshape(-1, 3)
    faces[items // 2 :] //= 2
    packed = pack_arrays([Packed("values", values, coding), Packed("face", faces, "faces")])
    found = unpack(json.loads(json.dumps(packed)))
    assert np.array_equal(found["values"], values)
    assert np.array_equal(found["face"], faces)


def test_a_closed_mesh_keeps_its_topology_and_volume():
    torus = trimesh.creation.torus(0.7, 0.25, major_sections=64, minor_sections=32)
    simple = decimate(torus, 800)
    assert (len(simple.faces), simple.is_watertight, simple.euler_number) == (800, True, 0)
    assert simple.volume == pytest.approx(torus.volume, rel=0.02)


def test_a_mesh_of_many_pieces_loses_some_of_them(caplog):
    balls = [trimesh.creation.icosphere(1, radius=0.1) for _ in range(50)]
    for index, ball in enumerate(balls):
        ball.apply_translation([0.3 * index, 0, 0])
    assert len(decimate(trimesh.util.concatenate(balls), 150).faces) <= 155
    assert not caplog.records


@pytest.mark.parametrize("large", [False, True])
def test_open_and_large_meshes_are_simplified_too(monkeypatch, large):
    mesh = trimesh.creation.icosphere(4)
    if large:
        monkeypatch.setattr(decimation, "LARGE", 1000)
    else:
        mesh.update_faces(mesh.triangles_center[:, 1] < 0.5)
    # Faces that share no vertices, as in an STL.
    soup = trimesh.Trimesh(
        mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3), process=False
    )
    simple = decimate(soup, 600)
    assert len(simple.faces) <= 605
    assert simple.area == pytest.approx(mesh.area, rel=0.02)
    assert simple.is_watertight == large


def test_a_mesh_whose_faces_are_lines_is_refused():
    lines = trimesh.Trimesh(np.eye(3), np.tile([0, 1, 1], (9, 1)), process=False)
    with pytest.raises(GeometryError, match="has no faces with an area; export the mesh again"):
        decimate(lines, 4)


def test_edges_are_sharp_and_curved_surfaces_smooth():
    box, _ = normalise(trimesh.creation.box())
    mesh, arrays = rebuild(make_model(box, faces=100))
    assert len(arrays["position"]) == 24  # three at each corner, one for each side
    assert np.isclose(mesh.volume, box.volume, rtol=1e-3)
    ball = trimesh.creation.icosphere(3)
    mesh, arrays = rebuild(make_model(ball, faces=10**6))
    assert len(arrays["position"]) == len(ball.vertices)
    # Positions are rounded to half a step.
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 1 / 32767


def test_distances_are_positive_outside_and_unsigned_to_an_open_mesh():
    truth = trimesh.creation.icosphere(4)
    tree = TriangleTree(np.asarray(truth.vertices), np.asarray(truth.faces))
    for radius in (0.8, 1.1):
        model = make_model(trimesh.creation.icosphere(4, radius=radius), faces=800, other=tree)
        values = unpack(model)["distance"] / 32767 * model["distance"]["largest"]
        assert np.allclose(values, radius - 1, atol=0.01)
        assert model["distance"]["mean"] == pytest.approx(abs(radius - 1), abs=0.01)
        assert model["distance"]["signed"]
    half = truth.submesh([truth.triangles_center[:, 1] < 0], append=True)
    model = make_model(
        truth, faces=800, other=TriangleTree(np.asarray(half.vertices), np.asarray(half.faces))
    )
    assert not model["distance"]["signed"]
    assert model["distance"]["largest"] == pytest.approx(np.sqrt(2), abs=0.1)
    assert unpack(model)["distance"].min() >= 0


def paint_of(parts):
    mesh, colors = join_parts(parts)
    assert has_colors(colors)
    return mesh, load_textures(colors, np.asarray(mesh.vertices), np.asarray(mesh.faces), 50.0)[0]


def test_colours_stay_where_they_are():
    ball = trimesh.creation.icosphere(4)
    right = ball.triangles_center[:, 0] > 0
    parts = [
        Part(np.asarray(ball.vertices), np.asarray(ball.faces[mask]), Material(color))
        for mask, color in ((right, (1.0, 0.0, 0.0)), (~right, (0.0, 0.0, 1.0)))
    ]
    mesh, paint = paint_of(parts)
    for faces in (10**6, 600):
        model, arrays = rebuild(make_model(mesh, faces=faces, paint=paint))
        x = model.vertices[:, 0]
        clear = np.abs(x) > 0.15
        red, blue = (arrays["colour"] == color for color in ([255, 0, 0], [0, 0, 255]))
        assert np.array_equal(red.all(axis=1)[clear], x[clear] > 0)
        assert (red.all(axis=1) | blue.all(axis=1)).all()


def sheet(picture, uv_of):
    """A bent sheet of 2048 faces over the square from -1 to 1, with a picture at the places that `uv_of` gives."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png")
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 33), np.linspace(-1, 1, 33)), axis=-1).reshape(-1, 2)
    corner = (np.arange(32)[:, None] * 33 + np.arange(32)).reshape(-1)
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + 34], 1), np.stack([corner, corner + 34, corner + 33], 1)]
    )
    # Each face has vertices of its own, so that a seam may run anywhere.
    vertices = np.column_stack([grid, 0.2 * np.sin(3 * grid[:, 0])])[faces].reshape(-1, 3)
    centres = np.repeat(vertices.reshape(-1, 3, 3).mean(axis=1), 3, axis=0)
    material = Material(texture=Texture("x.png", stream.getvalue()))
    part = Part(vertices, np.arange(len(vertices)).reshape(-1, 3), material, uv=uv_of(vertices, centres))
    return paint_of([part])


def find_uv(model):
    rebuilt, arrays = rebuild(model)
    low, high = (np.array(model["uv"][name]) for name in ("low", "high"))
    return rebuilt, low + arrays["uv"] / 65535 * (high - low)


@pytest.mark.parametrize("faces", [10**6, 300])
def test_textures_stay_images_where_they_were(faces):
    mesh, paint = sheet(np.full((8, 8, 3), 90, np.uint8), lambda vertices, _: (vertices[:, :2] + 1) / 2)
    model = make_model(mesh, faces=faces, paint=paint)
    (texture,) = model["textures"]
    assert texture["wrap"] == ["repeat", "repeat"]
    assert texture["image"].startswith("data:image/webp;base64,")
    assert model["groups"] == [model["shown"]]
    rebuilt, uv = find_uv(model)
    assert np.allclose(uv, (rebuilt.vertices[:, :2] + 1) / 2, atol=1e-4 if faces > 2048 else 0.02)
    assert len(rebuilt.vertices) < 1.2 * (faces / 2 + 60) or faces > 2048  # faces share vertices


def test_faces_across_a_seam_have_the_texture_as_colours():
    """Left of the middle there is the upper half of the picture, which is red, right of it the lower one."""
    picture = np.zeros((64, 8, 3), np.uint8)
    picture[:32, :, 0] = picture[32:, :, 1] = 200
    # Rotated, so that the seam does not follow the edges of the simplified faces.
    place = lambda points: points @ (0.8, 0.6, 0)  # noqa: E731
    mesh, paint = sheet(
        picture, lambda vertices, centres: np.column_stack(
            [np.full(len(vertices), 0.5), 0.25 + 0.2 * vertices[:, 1] + 0.5 * (place(centres) < 0)]
        ),
    )  # fmt: skip
    model = make_model(mesh, faces=300, paint=paint)
    rebuilt, uv = find_uv(model)
    kept, coloured = model["groups"]
    assert 0 < coloured < 100
    corners, side = uv[rebuilt.faces[:kept]], place(rebuilt.triangles_center[:kept])
    assert np.ptp(corners[..., 1], axis=1).max() < 0.2  # no face shows the whole picture
    clear = np.abs(side) > 0.2
    assert np.array_equal(corners[clear, 0, 1] > 0.5, side[clear] < 0)
    colors = unpack(model)["colour"][np.unique(rebuilt.faces[kept:])]
    assert ((colors[:, 0] > 150) ^ (colors[:, 1] > 150)).all()


def test_colours_survive_the_conversion_to_light_and_back():
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(encode_srgb(decode_srgb(codes)), codes)


def test_samples_keep_their_places_and_distances():
    point = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    model = make_cloud(point, point[:, 0], points=300)
    arrays = unpack(model)
    assert (model["shown"], model["given"], len(arrays["position"])) == (300, 500, 300)
    position = arrays["position"] / 32767 * model["scale"]
    assert np.allclose(np.sort(position, axis=0), np.sort(point[:300], axis=0), atol=1e-4)
    distance = arrays["distance"][:, 0] / 32767 * model["distance"]["largest"]
    assert np.allclose(distance, position[:, 0], atol=1e-4)


def test_pages_of_one_and_of_24_shapes_are_small():
    script = len(WEB.joinpath("three.min.js").read_bytes())
    ball = trimesh.creation.icosphere(6)
    ball.vertices *= 1 + 0.05 * np.sin(17 * ball.vertices).sum(axis=1, keepdims=True)
    for shapes, most in ((1, 1.5e6), (24, 3e6)):
        model = make_model(ball, faces=count_faces(shapes))
        # Eight stills of 160 pixels take 20 kB.
        assert script + 50_000 + shapes * (len(json.dumps(model)) + 20_000) < most


@pytest.mark.parametrize(("models", "faces"), [(1, MOST), (24, 6875), (100, FEWEST), (MANY, FEWEST)])
def test_the_more_models_the_fewer_faces_each(models, faces):
    assert count_faces(models) == faces


def test_three_is_of_the_version_that_the_recipe_names():
    recipe = Path(__file__).parents[3] / "web" / "package.json"
    version = json.loads(recipe.read_text())["dependencies"]["three"]
    start = WEB.joinpath("three.min.js").read_text(encoding="utf-8")[:200]
    assert re.match(rf"/\* three\.js {re.escape(version)}, MIT License", start)
    assert "The MIT License" in WEB.joinpath("three.LICENSE").read_text(encoding="utf-8")
