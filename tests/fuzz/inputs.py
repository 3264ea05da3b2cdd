"""One small good input of every format that sdfkit reads, for `tests.fuzz.mutations` to damage."""

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh


class Input(NamedTuple):
    """A good input: its files by name, the command lines that read it, and which of the files may be damaged."""

    files: dict[str, bytes]
    lines: tuple[tuple[str, ...], ...]
    damaged: tuple[str, ...]


def make_inputs() -> dict[str, Input]:
    """Make one small good input of every format."""
    from PIL import Image

    from sdfkit.io.meshes.writer import encode

    box = trimesh.creation.box()
    info = {
        "uid": "box", "category": "chair", "history": [{"version": "1", "command": "sdfkit x", "seed": 0}],
        "settings": {"points": 5}, "rows": 1, "row": 0, "input": "0" * 16, "error": "", "sample_of": "",
        "to_original": np.eye(4).tolist(),
    }  # fmt: skip
    meshes = {f"head.{kind}": encode(box, kind, info) for kind in ("ply", "glb", "obj", "stl")}
    meshes |= {
        "box.off": box.export(file_type="off").encode(),
        "text.ply": bytes(box.export(file_type="ply", encoding="ascii")),
        "text.stl": box.export(file_type="stl_ascii").encode(),
        "tree.gltf": trimesh.exchange.gltf.export_gltf(trimesh.Scene(box), embed_buffers=True)["model.gltf"],
        "box.3mf": _threemf(),
        "box.dae": _dae(),
    }
    found = {}
    for name, content in meshes.items():
        lines = (("info", name), ("sample-sdf", name, "--points", "100", "--jobs", "1", "-o", "out.zarr"))
        found[name] = Input({name: bytes(content)}, lines, (name,))
    picture = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff", "ppm"):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, format=kind)
        name = f"photo.{kind}"
        found[name] = Input({name: out.getvalue()}, (("(picture)", name), ("(picture)", name)), (name,))
    for name, save in {"codes.npy": np.save, "codes.npz": np.savez}.items():
        out = io.BytesIO()
        save(out, np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32))
        found[name] = Input({name: out.getvalue()}, (("info", name), ("weight-stats", name)), (name,))
    entry = {
        "obj_idx": 0,
        "uid": "a",
        "path": "head.ply",
        "category": "c",
        "licence": "",
        "source": "",
        "sha256": "",
    }
    manifest = json.dumps({"format": 1, "shapes": [entry], "obj_idx": {"a": 0}}).encode()
    found["manifest.json"] = Input(
        {"manifest.json": manifest, "head.ply": meshes["head.ply"]},
        (("info", "head.ply", "--manifest", "manifest.json"),),
        ("manifest.json",),
    )
    return found | _stores()


def _dae() -> bytes:
    return b"""<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><up_axis>Z_UP</up_axis></asset><library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="a" count="12">0 0 0 1 0 0 0 1 0 0 0 1</float_array><technique_common>
<accessor source="#a" count="4" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles count="4"><input semantic="VERTEX" source="#v" offset="0"/><p>0 2 1 0 1 3 1 2 3 0 3 2</p></triangles>
</mesh></geometry></library_geometries><library_visual_scenes><visual_scene id="s"><node>
<instance_geometry url="#g"/></node></visual_scene></library_visual_scenes><scene>
<instance_visual_scene url="#s"/></scene></COLLADA>"""


def _threemf() -> bytes:
    corners = "".join(
        f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    )
    faces = "".join(
        f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2))
    )
    core = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
    model = (
        f'<?xml version="1.0"?>\n<model unit="millimeter" xmlns="{core}">\n<resources><object id="1" type="model">\n'
        f"<mesh><vertices>{corners}</vertices>\n<triangles>{faces}</triangles></mesh>\n</object></resources>\n"
        '<build><item objectid="1"/></build></model>'
    )
    relation = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
    relations = (
        '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Target="/3D/3dmodel.model" Id="r" Type="{relation}"/></Relationships>'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("_rels/.rels", relations)
        archive.writestr("3D/3dmodel.model", model)
    return out.getvalue()


def _stores() -> dict[str, Input]:
    from sdfkit.io.stores.writer import create_store
    from sdfkit.rows import Row

    rows = [Row(index, f"obj_{index}", "chair") for index in range(3)]
    rng = np.random.default_rng(0)

    arrays = {
        "codes": {"code": (rng.normal(size=(3, 5)).astype("f4"), ("shape", "dim"))},
        "samples": {
            "point": (rng.uniform(-1, 1, (3, 50, 3)).astype("f4"), ("shape", "sample", "xyz")),
            "distance": (rng.normal(size=(3, 50)).astype("f4"), ("shape", "sample")),
            "near": (rng.random((3, 50)) < 0.5, ("shape", "sample")),
        },
    }
    lines = {
        "codes": (("info", "{}"), ("weight-stats", "{}"), ("view", "{}", "-o", "out.png")),
        "samples": (("info", "{}"), ("view", "{}", "-o", "out.png", "--size", "32")),
    }
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for kind, own in arrays.items():
            for ending in ("zarr", "zarr.zip"):
                path = Path(place, f"{kind}.{ending}")
                with create_store(
                    str(path), kind, rows=rows, history=[{"version": "1", "command": "x"}], settings={"a": 1},
                    overwrite=False,
                ) as store:  # fmt: skip
                    for name, (values, axes) in own.items():
                        store.create_array(name, shape=values.shape, dtype=values.dtype, axes=axes)
                    for row in rows:
                        store.write(row, **{name: values[row.index] for name, (values, _) in own.items()})
                parts = [each for each in path.rglob("*") if each.is_file()] or [path]
                files = {each.relative_to(place).as_posix(): each.read_bytes() for each in parts}
                words = tuple(tuple(word.format(path.name) for word in line) for line in lines[kind])
                found[path.name] = Input(files, words, tuple(files))
    return found
