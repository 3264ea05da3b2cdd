"""Mesh commands refuse files that are not meshes: one line, the right exit status, no output."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import trimesh

from sdfkit.cli import app  # noqa: F401  the commands must be importable


def broken(kind, path):
    box = trimesh.creation.box()
    if kind == "missing":
        return path.with_name("nothing.ply")
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path = path.with_name("empty_folder")
        path.mkdir()
    elif kind == "cut glb":
        path = path.with_suffix(".glb")
        path.write_bytes(box.export(file_type="glb")[:-100])
    elif kind == "cut ply":
        path.write_bytes(box.export(file_type="ply")[:-10])
    elif kind == "cut ply header":
        path.write_bytes(box.export(file_type="ply")[:40])
    elif kind == "nan":
        box.vertices[0, 0] = np.nan
        path.write_bytes(box.export(file_type="ply"))
    elif kind == "no faces":
        path.write_bytes(
            trimesh.Trimesh(box.vertices, np.zeros((0, 3), int), process=False).export(file_type="ply")
        )
    elif kind == "no extent":
        path.write_bytes(trimesh.Trimesh(np.ones((3, 3)), [[0, 1, 2]], process=False).export(file_type="ply"))
    elif kind == "face past the end":
        text = (
            b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        )
        text += b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n"
        path.write_bytes(text)
    elif kind == "claims a billion":
        path.write_bytes(
            box.export(file_type="ply").replace(b"element vertex 8", b"element vertex 1000000000")
        )
    elif kind == "not a mesh":
        path.write_text("hello\n")
    elif kind == "store":
        path = path.with_name("store.zarr")
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    return path


CASES = [
    ("missing", 3, "nothing.ply: No such file or directory"),
    ("empty", 3, "is empty; did the command that wrote it fail?"),
    ("folder", 3, "a folder without meshes"),
    ("cut glb", 3, "a GLB ends early"),
    ("cut ply", 3, "a PLY ends early"),
    ("cut ply header", 3, "ends within the header of a PLY"),
    ("nan", 4, "1 of 8 vertices is NaN or infinite"),
    ("no faces", 4, "no faces"),
    ("no extent", 4, "no extent"),
    ("face past the end", 3, "a face refers to a vertex that does not exist"),
    ("claims a billion", 3, "a PLY ends early"),
    ("not a mesh", 3, "not a PLY"),
    ("store", 3, "holds a Zarr store, but meshes are needed"),
]


@pytest.mark.parametrize("command", ["watertight", "sample-sdf", "render"])
@pytest.mark.parametrize(("kind", "status", "message"), CASES, ids=[case[0] for case in CASES])
def test_bad_meshes_give_one_line_the_right_status_and_no_output(
    sdfkit, tmp_path, command, kind, status, message
):
    path = broken(kind, tmp_path / "bad.ply")
    output = tmp_path / ("out.ply" if command == "watertight" else "out.zarr.zip")
    result = sdfkit(command, path, "-o", output)
    assert result.exit_code == status, result.stderr
    assert message in result.stderr
    assert result.stderr.startswith("sdfkit: ")
    assert result.stderr.count("\n") == 1
    assert not output.exists()


BOX = trimesh.creation.box()
PLY, GLB, STL = (bytes(BOX.export(file_type=kind)) for kind in ("ply", "glb", "stl"))
OBJ, OFF = (BOX.export(file_type=kind).encode() for kind in ("obj", "off"))
TEXT_PLY = bytes(BOX.export(file_type="ply", encoding="ascii"))
TEXT_STL = BOX.export(file_type="stl_ascii").encode()
JSON_END = 20 + int.from_bytes(GLB[12:16], "little")
HUGE = 4_000_000_000
HUGE_BYTES = HUGE.to_bytes(4, "little")


def change_glb(change):
    """The GLB of a box with changed JSON, and with the lengths in its header adapted."""
    tree = json.loads(GLB[20:JSON_END])
    accessors, primitive = tree["accessors"], tree["meshes"][0]["primitives"][0]
    change(tree, accessors[primitive["attributes"]["POSITION"]])
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    length = 20 + len(text) + len(GLB) - JSON_END
    sizes = length.to_bytes(4, "little") + len(text).to_bytes(4, "little")
    return GLB[:8] + sizes + GLB[16:20] + text + GLB[JSON_END:]


def claim_without_view(tree, position):
    position["count"] = 1_000_000_000
    del position["bufferView"]


def compress(tree, position):
    del position["bufferView"]
    packed = {"bufferView": 0, "attributes": {"POSITION": 0}}
    tree["meshes"][0]["primitives"][0]["extensions"] = {"KHR_draco_mesh_compression": packed}


def set_in(content, at, bytes_there):
    return content[:at] + bytes_there + content[at + len(bytes_there) :]


def zip_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", bytes(50 << 20))
    return stream.getvalue()


INDEX_VIEW = json.loads(GLB[20:JSON_END])["bufferViews"][0]
BILLIONS = {
    "vertices.ply": (PLY.replace(b"vertex 8", b"vertex 1000000000"), "a PLY ends early"),
    "faces.ply": (PLY.replace(b"face 12", b"face 1000000000"), "a PLY ends early"),
    "text.ply": (TEXT_PLY.replace(b"vertex 8", b"vertex 1000000000"), "a PLY ends early"),
    "length.glb": (
        set_in(GLB, 8, HUGE_BYTES),
        f"a GLB ends early; its header declares {HUGE} bytes, but there are only {len(GLB)}",
    ),
    "json.glb": (set_in(GLB, 12, HUGE_BYTES), "a chunk extends beyond the end of the GLB"),
    "binary.glb": (set_in(GLB, JSON_END, HUGE_BYTES), "a chunk extends beyond the end of the GLB"),
    "buffer.glb": (
        change_glb(lambda tree, _: tree["buffers"][0].update(byteLength=HUGE)),
        f"cannot be read as glTF (buffers[0] declares {HUGE} bytes, but has 240)",
    ),
    "view.glb": (
        change_glb(lambda tree, _: tree["bufferViews"][0].update(byteLength=HUGE)),
        "cannot be read as glTF (a bufferView ends after byte 240 of its buffer)",
    ),
    "count.glb": (
        change_glb(lambda _, position: position.update(count=1_000_000_000)),
        "cannot be read as glTF (bufferViews[1] ends before the last of 1000000000 elements)",
    ),
    "no_view.glb": (change_glb(claim_without_view), "cannot be read as glTF (POSITION has no data)"),
    "faces.stl": (
        set_in(STL, 80, HUGE_BYTES),
        f"is not a complete STL; its header declares {HUGE} triangles, but it holds 12",
    ),
    "header.stl": (
        bytes(80) + HUGE_BYTES,
        f"is not a complete STL; its header declares {HUGE} triangles, but it holds 0",
    ),
    "counts.off": (
        b"OFF\n1000000000 1000000000 0\n0 0 0\n",
        "it declares 2000000000 vertices and faces, but has 1 line",
    ),
    "bomb.3mf": (zip_bomb(), "would unpack to 52428800 bytes, as in a zip bomb; it is not read"),
}
BAD = BILLIONS | {
    "negative.ply": (PLY.replace(b"vertex 8", b"vertex -8"), "the header of a PLY has an invalid line"),
    "past_view.glb": (
        change_glb(lambda tree, _: tree["bufferViews"][0].update(byteOffset=9999)),
        "cannot be read as glTF (a bufferView ends after byte 240 of its buffer)",
    ),
    "sparse.glb": (
        change_glb(lambda _, position: position.update(sparse={"count": 1})),
        "cannot be read as glTF ('indices')",
    ),
    "packed.glb": (
        change_glb(lambda tree, _: tree.update(extensionsRequired=["EXT_unknown"])),
        "requires the glTF extension EXT_unknown, which is not supported; export it without",
    ),
    "no_tree.glb": (change_glb(lambda tree, _: tree.clear()), "is not a glTF; its JSON has no asset.version"),
    "past.ply": (PLY[:-4] + b"\x63\0\0\0", "a face refers to a vertex that does not exist"),
    "before.ply": (PLY[:-4] + b"\xff\xff\xff\xff", "a face refers to a vertex that does not exist"),
    "past_text.ply": (TEXT_PLY.rstrip()[:-1] + b"99\n", "a face refers to a vertex that does not exist"),
    "past.glb": (
        set_in(GLB, JSON_END + 8 + INDEX_VIEW.get("byteOffset", 0), b"\x63\0\0\0"),
        "cannot be read as glTF (a face refers to vertex 99 of 8)",
    ),
    "past.obj": (OBJ + b"\nf 1 2 99\n", "a face refers to vertex 99, but the file holds 8 vertices"),
    "zero.obj": (OBJ + b"\nf 1/1 0/1 2/1\n", "a face refers to vertex 0, but an OBJ numbers vertices from 1"),
    "past.off": (OFF.rstrip()[:-1] + b"99\n", "a face refers to a vertex that does not exist"),
    "cut.obj": (OBJ[: len(OBJ) // 3], "no faces"),
    "cut.off": (OFF[: len(OFF) * 9 // 10], "an OFF ends early; it declares 20 vertices and faces"),
    "cut.stl": (STL[:-20], "is not a complete STL; its header declares 12 triangles, but it holds 11"),
    "cut_text.stl": (TEXT_STL[: len(TEXT_STL) // 2], "an STL ends early; its last line is not endsolid"),
    "cut_text.ply": (TEXT_PLY[: len(TEXT_PLY) * 9 // 10], "a PLY ends early"),
    "cut.gltf": (b'{"asset": {"version"', "cannot be read as glTF"),
    "cut.3mf": (zip_bomb()[:500], "not a complete zip file"),
    "alone.gltf": (
        json.dumps(
            json.loads(GLB[20:JSON_END]) | {"buffers": [{"uri": "gone.bin", "byteLength": 240}]}
        ).encode(),
        "refers to gone.bin, which does not exist",
    ),
    "text.glb": (b"hello, this is a text\n", "is neither a GLB nor JSON; is it a glTF?"),
    "text.stl": (b"hello, this is a text\n", "not a complete STL"),
    "text.off": (
        b"hello, this is a text\n",
        "is not an OFF; it must begin with OFF and the numbers of vertices",
    ),
    "text.obj": (b"hello, this is a text\n", "is not an OBJ; it has no vertices and no faces"),
    "nan.stl": (set_in(STL, 96, np.float32(np.nan).tobytes()), "1 of 36 vertices is NaN or infinite"),
    "infinite.ply": (
        set_in(PLY, PLY.index(b"end_header\n") + 11, np.float32(-np.inf).tobytes()),
        "1 of 8 vertices is NaN or infinite",
    ),
    "points.ply": (bytes(trimesh.PointCloud(BOX.vertices).export(file_type="ply")), "no faces"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_of_every_format_are_refused(sdfkit, tmp_path, name):
    content, message = BAD[name]
    path, output = tmp_path / name, tmp_path / "out.ply"
    path.write_bytes(content)
    result = sdfkit("watertight", path, "-o", output)
    assert message in result.stderr
    assert result.exit_code == (4 if message == "no faces" or "NaN" in message else 3), result.stderr
    assert result.stderr.startswith("sdfkit: ")
    assert result.stderr.count("\n") == 1
    assert not output.exists()


def test_compressed_geometry_names_the_package_that_reads_it(sdfkit, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "box.glb").write_bytes(change_glb(compress))
    result = sdfkit("watertight", tmp_path / "box.glb", "-o", tmp_path / "out.ply")
    assert result.exit_code == 5
    assert result.stderr == (
        f"sdfkit: {tmp_path}/box.glb: is compressed with KHR_draco_mesh_compression, which needs DracoPy; "
        "pip install 'sdfkit[draco]'\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its address space")
def test_a_header_that_claims_a_billion_elements_allocates_no_memory(tmp_path):
    """The command runs in a process whose memory is limited to its initial size plus 64 MB."""
    for name, (content, _) in BILLIONS.items():
        (tmp_path / name).write_bytes(content)
    script = """
import resource, sys
from pathlib import Path
import trimesh
from sdfkit.errors import InputError
from sdfkit.io.meshes.reader import open_meshes

trimesh.creation.box()  # import now what trimesh imports late
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        with open_meshes([str(path)], manifest=None) as meshes:
            next(iter(meshes)).load()
    except InputError as error:
        print(path.name)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert run.stderr == ""
    assert run.stdout.split() == sorted(BILLIONS)


@pytest.mark.parametrize("missing", ["mtllib gone.mtl\nusemtl red\n", "mtllib here.mtl\nusemtl red\n"])
def test_a_missing_material_or_texture_does_not_change_the_shape(sdfkit, tmp_path, missing):
    (tmp_path / "here.mtl").write_text("newmtl red\nmap_Kd gone.png\n")
    (tmp_path / "box.obj").write_text(missing + OBJ.decode())
    (tmp_path / "plain.obj").write_bytes(OBJ)
    for name in ("box", "plain"):
        words = ("--resolution", 16, "-o", tmp_path / f"{name}.stl")
        result = sdfkit("watertight", tmp_path / f"{name}.obj", *words)
        assert result.exit_code == 0
        assert result.stderr.count("\n") <= 2
    assert (tmp_path / "box.stl").read_bytes()[80:] == (tmp_path / "plain.stl").read_bytes()[80:]


def test_processing_continues_after_a_bad_shape(sdfkit, tmp_path, sphere):
    bad = broken("nan", tmp_path / "bad.ply")
    result = sdfkit(
        "watertight", sphere, bad, sphere, "--resolution", 32, "--jobs", 1, "-o", tmp_path / "closed/"
    )
    assert result.exit_code == 4
    assert "bad: 1 of 8 vertices is NaN" in result.stderr
    assert "1 of 3 shapes failed" in result.stderr
    assert sorted(path.name for path in (tmp_path / "closed").iterdir()) == ["sphere.ply", "sphere_2.ply"]


def test_fail_fast_stops_at_the_first_bad_shape(sdfkit, tmp_path, sphere):
    bad = broken("nan", tmp_path / "bad.ply")
    result = sdfkit("watertight", bad, sphere, "--fail-fast", "--jobs", 1, "-o", tmp_path / "closed/")
    assert result.exit_code == 4
    assert not (tmp_path / "closed" / "sphere.ply").exists()


def test_an_output_that_exists_is_refused(sdfkit, tmp_path, sphere):
    output = tmp_path / "out.ply"
    output.write_text("mine")
    result = sdfkit("watertight", sphere, "--resolution", 32, "-o", output)
    assert result.exit_code == 3
    assert "out.ply: exists; choose another name or add --overwrite" in result.stderr
    assert output.read_text() == "mine"


def test_a_folder_made_with_other_settings_is_refused(sdfkit, tmp_path, sphere):
    closed = tmp_path / "closed/"
    assert sdfkit("watertight", sphere, "--resolution", 32, "-o", f"{closed}/").exit_code == 0
    before = (closed / "sphere.ply").stat()
    assert sdfkit("watertight", sphere, "--resolution", 32, "-o", f"{closed}/").exit_code == 0
    assert (closed / "sphere.ply").stat().st_mtime_ns == before.st_mtime_ns, "kept, not made again"
    result = sdfkit("watertight", sphere, "--resolution", 33, "-o", f"{closed}/")
    assert result.exit_code == 3
    assert (
        "sphere.ply: was made with other settings (resolution: 32 then, 33 now); add --overwrite"
        in result.stderr
    )


def test_several_meshes_need_a_folder_as_output(sdfkit, tmp_path, sphere):
    result = sdfkit("watertight", sphere, sphere, "-o", tmp_path / "out.ply")
    assert result.exit_code == 2
    assert "one file cannot hold 2 meshes; give a folder" in result.stderr
