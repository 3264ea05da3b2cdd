"""`sdfkit shapes`."""

import json

import pytest
import trimesh

from sdfkit.io.meshes.reader import read_info


def test_list_prints_all_categories(sdfkit):
    result = sdfkit("shapes", "--list")
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert len(names) >= 40
    assert len(set(names)) == len(names)
    assert {"chair", "wagon_wheel", "tunnel", "bust", "humanoid", "torus_knot", "lattice"} <= set(names)


@pytest.mark.slow
def test_mesh_files_contain_their_labels(sdfkit, tmp_path):
    line = ("shapes", "--count", 2, "--category", "wagon_wheel", "--resolution", 96, "--seed", 3)
    assert sdfkit(*line, "-o", f"{tmp_path}/raw/").exit_code == 0
    info = read_info(tmp_path / "raw/obj_0001.glb")
    assert info["uid"] == "obj_0001"
    assert info["category"] == "wagon_wheel"
    assert info["licence"] == "CC0-1.0"
    wheel = trimesh.load_mesh(tmp_path / "raw/obj_0001.glb")
    assert wheel.is_watertight
    assert wheel.euler_number == -24, "thirteen spokes"


@pytest.mark.slow
def test_equal_seeds_give_equal_bytes_and_different_seeds_differ(sdfkit, tmp_path):
    files = []
    for seed in (1, 1, 2):
        path = tmp_path / f"{len(files)}.stl"
        sdfkit("shapes", "--count", 1, "--category", "vase", "--resolution", 32, "--seed", seed, "-o", path)
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.slow
def test_messy_meshes_record_their_defects(sdfkit, tmp_path):
    line = ("shapes", "--count", 3, "--messy", "--resolution", 48, "-o", f"{tmp_path}/raw/")
    assert sdfkit(*line).exit_code == 0
    infos = [read_info(path) for path in sorted((tmp_path / "raw").iterdir())]
    assert all(info["defects"] for info in infos)
    meshes = [trimesh.load_mesh(path) for path in (tmp_path / "raw").iterdir()]
    assert not all(mesh.is_watertight for mesh in meshes)


def test_an_unknown_category_is_answered_with_similar_names(sdfkit):
    result = sdfkit("shapes", "--category", "chiar", "--count", 1)
    assert result.exit_code == 3
    assert result.stderr == "sdfkit: category 'chiar': does not exist; did you mean chair or car or chain?\n"


@pytest.mark.slow
def test_every_format_contains_the_label(sdfkit, tmp_path):
    for kind in ("ply", "glb", "obj", "stl"):
        path = tmp_path / f"bowl.{kind}"
        assert (
            sdfkit("shapes", "--count", 1, "--category", "bowl", "--resolution", 64, "-o", path).exit_code
            == 0
        )
        assert trimesh.load_mesh(path).is_watertight
        if kind == "stl":
            assert path.read_bytes()[:40].startswith(b"sdfkit obj_0000 bowl CC0-1.0")
        else:
            assert json.dumps(read_info(path)["category"]) == '"bowl"'
