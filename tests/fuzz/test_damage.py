"""Damaged files and streams are either read correctly or refused with a message of one line."""

import io

import numpy as np
import trimesh
import zarr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sdfkit.errors import GeometryError, InputError
from sdfkit.geometry.frame import normalise
from sdfkit.io.meshes.reader import MeshRow
from sdfkit.io.meshes.writer import encode
from sdfkit.io.stores.archives.zip_stream import ZipReader
from sdfkit.io.stores.archives.zip_writer import ZipWriter
from sdfkit.io.stores.arrays import load_arrays
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.stores.store_writer import StoreWriter
from tests.properties import examples

BOX = trimesh.creation.box()
MESHES = {f"box.{kind}": encode(BOX, kind, {"uid": "box"}) for kind in ("ply", "glb", "obj", "stl")}
MESHES |= {
    "box.off": BOX.export(file_type="off").encode(),
    "text.ply": bytes(BOX.export(file_type="ply", encoding="ascii")),
    "text.stl": BOX.export(file_type="stl_ascii").encode(),
    "tree.gltf": trimesh.exchange.gltf.export_gltf(trimesh.Scene(BOX), embed_buffers=True)["model.gltf"],
}
FUZZ = settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])

# Positions and new values of damaged bytes, and the length to which the file is truncated.
damage = st.tuples(
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4), st.floats(0, 1)
)


def damaged(content, wounds):
    changes, kept = wounds
    result = bytearray(content)
    for place, bytes_there in changes:
        at = int(place * len(result))
        result[at : at + len(bytes_there)] = bytes_there
    return bytes(result[: max(1, int(kept * len(result)))] if kept < 0.9 else result)


def one_line(error):
    text = str(error)
    assert text and "\n" not in text
    return True


@FUZZ
@given(st.sampled_from(sorted(MESHES)), damage)
def test_damaged_mesh_files_are_read_or_refused_in_one_line(tmp_path, name, wounds):
    path = tmp_path / name
    path.write_bytes(damaged(MESHES[name], wounds))
    try:
        mesh, _ = normalise(MeshRow(0, "box", path=str(path)).load())
    except (InputError, GeometryError) as error:
        assert one_line(error)
    else:
        assert np.isfinite(mesh.vertices).all()


def make_store():
    stream = io.BytesIO()
    zipped = ZipWriter(stream)
    root = {"kind": "codes", "format": 1, "complete": True, "history": []}
    writer = StoreWriter(zipped, root, None, 2, in_order=True)
    writer.create_array("code", shape=(2, 4), dtype="f4", axes=("shape", "dim"))
    for index in range(2):
        writer.write(MeshRow(index, f"obj_{index}"), code=np.full(4, index, np.float32))
    zipped.finish()
    return stream.getvalue()


STORE = make_store()


@FUZZ
@example(([(0.033, b"\x00\n\x00")], 1.0))
@given(damage)
def test_damaged_piped_stores_are_read_correctly_or_refused(wounds):
    content = damaged(STORE, wounds)
    store = ZipReader(io.BufferedReader(io.BytesIO(content)), "standard input")
    try:
        reader = StoreReader(zarr.open_group(store, mode="r"), "standard input", {})
        codes = [row.arrays["code"] for row in reader.rows("code")]
        store.finish()
    except InputError as error:
        assert one_line(error)
    except (zarr.errors.BaseZarrError, FileNotFoundError):
        pass  # open_store turns these into "is not a Zarr store"
    else:
        assert np.array_equal(codes, [[0] * 4, [1] * 4])


@FUZZ
@given(damage, st.sampled_from(["npy", "npz"]))
def test_damaged_arrays_are_read_or_refused_in_one_line(wounds, kind):
    stream = io.BytesIO()
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(stream, array) if kind == "npy" else np.savez(stream, array)
    try:
        loaded = load_arrays(io.BufferedReader(io.BytesIO(damaged(stream.getvalue(), wounds))), "pred")
    except InputError as error:
        assert one_line(error)
    else:
        assert loaded is not None
