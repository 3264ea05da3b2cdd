"""The reader of the furniture catalogue, for a small catalogue of two objects."""

import csv
import importlib.util
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sdfkit.io.meshes.reader import MeshRow

PATH = Path(__file__).parents[2] / "examples/furniture.py"
OBJ = b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 0 2\nvn 0 1 0\nusemtl wood\nf 1//1 2//1 3//1\n"
PROPERTIES = """\
id=SweetHome3D#Models
id#1=Scopia#lamp
name#1=Bill 10\\u20ac
model#1=/scopia/lamp/lamp.obj
creator#1=Zo\u00eb
id#2=Scopia#chair
name#2=Small oak chair with cushion
model#2=/scopia/chair/chair.obj
modelRotation#2=1 0 0 0 0 1 0 -1 0
creator#2=Ann
"""


@pytest.fixture(scope="module")
def furniture():
    spec = importlib.util.spec_from_file_location("furniture", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["furniture"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(furniture, tmp_path, monkeypatch):
    """Unpack a catalogue in which one library contains the two objects and other files."""

    def run(**more):
        for library in furniture.LIBRARIES:
            with zipfile.ZipFile(tmp_path / f"{library}.sh3f", "w") as archive:
                archive.writestr("LICENSE.TXT", "free")
                ours = library == "Scopia"
                archive.writestr(
                    "PluginFurnitureCatalog.properties", PROPERTIES.encode("latin-1") if ours else b""
                )
                if ours:
                    for name in ("lamp", "chair"):
                        archive.writestr(f"scopia/{name}/{name}.obj", OBJ)
                        archive.writestr(f"scopia/{name}/a.mtl", "newmtl wood\n")
                    for name, content in more.items():
                        archive.writestr(name, content)
        words = ["furniture.py", "--all", "--catalogue", str(tmp_path), "-o", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", words)
        furniture.main()
        return tmp_path / "out"

    return run


def test_objects_are_written_with_labels_and_licences(run):
    out = run()
    with (out / "furniture.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["uid"] for row in rows] == ["scopia_lamp", "scopia_chair"]
    assert [row["category"] for row in rows] == ["bill", "chair"]
    assert [row["source"] for row in rows] == ["Zo\u00eb, Sweet Home 3D Scopia", "Ann, Sweet Home 3D Scopia"]
    assert rows[0]["name"] == "Bill 10\u20ac"
    assert {row["licence"] for row in rows} == {"CC-BY-3.0"}
    assert (out / "LICENSE.Scopia.txt").read_text() == "free"
    assert (out / "raw/scopia_chair/a.mtl").exists()


def test_rotation_turns_lying_objects_upright(run):
    raw = run() / "raw"
    lamp = MeshRow(0, "lamp", path=str(raw / "scopia_lamp/scopia_lamp.obj")).load()
    chair = MeshRow(0, "chair", path=str(raw / "scopia_chair/scopia_chair.obj")).load()
    assert np.ptp(lamp.vertices, axis=0).tolist() == [1, 0, 2]
    assert np.ptp(chair.vertices, axis=0).tolist() == [1, 2, 0]
    assert b"\nvn 0 0 -1\n" in (raw / "scopia_chair/scopia_chair.obj").read_bytes()
    assert (raw / "scopia_lamp/scopia_lamp.obj").read_bytes() == OBJ


@pytest.mark.parametrize("name", ["scopia/lamp/../../../../evil.txt", "scopia/lamp/..\\evil.txt"])
def test_names_that_would_leave_the_folder_are_refused(run, tmp_path, name):
    with pytest.raises(SystemExit, match="would be written outside"):
        run(**{name: "x"})
    assert not list(tmp_path.rglob("*evil*"))


def test_a_missing_catalogue_package_is_reported_with_its_name(furniture, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["furniture.py", "--list", "--catalogue", str(tmp_path)])
    with pytest.raises(SystemExit, match="does not exist; run apt-get install sweethome3d-furniture"):
        furniture.main()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Table with tablecloth", "table"), ("Sofa 2 seats", "sofa"), ("Chicken", "animal"),
        ("Roasted chicken", "food"), ("Small upper cabinet", "cabinet"), ("Wall light", "lamp"),
        ("Air conditioning - Internal unit", "appliance"), ("Spiral staircase", "staircase"),
    ],
)  # fmt: skip
def test_the_category_is_derived_from_the_name(furniture, name, kind):
    assert furniture.kind(name, furniture.wider_words()) == kind


def test_every_noun_belongs_to_one_category(furniture):
    nouns = [
        noun for line in furniture.WIDER.replace("\n        ", " ").split("\n") for noun in line.split()[1:]
    ]
    assert len(nouns) == len(set(nouns))
    assert len(furniture.PICKED.split()) == len(set(furniture.PICKED.split())) == 24
