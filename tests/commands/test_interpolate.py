"""`sdfkit interpolate` with a decoder of octahedra, whose code is their radius."""

import json

import numpy as np
import pytest
import zarr

from sdfkit.io.models.writer import network_group
from sdfkit.io.stores.writer import create_store
from sdfkit.models.deepsdf import DeepSDFConfig
from sdfkit.rows import Row
from tests.training.octahedra import make_decoder

CONFIG = DeepSDFConfig(code=1, bands=1, hidden=16, layers=2, skip=1, activation="relu")
CPU = ("--device", "cpu", "--resolution", 16)


@pytest.fixture
def make_store(tmp_path):
    def make(name, codes, kind="deepsdf", categories=("", "", ""), **attributes):
        rows = [
            Row(index, f"shape_{index}", category)
            for index, category in zip(range(len(codes)), categories, strict=False)
        ]
        path = tmp_path / name
        with create_store(
            str(path), kind, rows=rows, history=[], settings={}, attributes=attributes, overwrite=True
        ) as store:
            store.create_array("code", data=np.float32(codes).reshape(-1, 1), axes=("shape", "dim"))
            if kind == "deepsdf":
                network = make_decoder(CONFIG)
                group = network_group(network, network.config)
                store.create_group("decoder", attributes=group.attributes, arrays=group.arrays)
            for row in rows:
                store.write(row)
        return path

    return make


def test_shapes_between_octahedra_are_octahedra(sdfkit, make_store, tmp_path):
    model, paths = make_store("deepsdf.zarr", [0.3, 0.6, 0.9]), tmp_path / "paths.zarr"
    words = ("interpolate", model, "--steps", 2, *CPU, "--resolution", 32)
    done = sdfkit(*words, "--json", "-o", paths)
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["pairs"], facts["between"]) == (3, 2)
    assert all(
        facts["summary"][name]["mean"] == 1
        for name in ("surface", "one_piece", "few_pieces", "euler", "volume", "area", "ends_one_piece")
    )
    assert facts["summary"]["volume_excess"]["mean"] == facts["summary"]["area_excess"]["mean"] == 0
    (widest,) = [path for path in facts["paths"] if path["ends"] == ["shape_0", "shape_2"]]
    volumes = [shape["volume"] for shape in widest["shapes"]]
    assert volumes == pytest.approx([4 / 3 * radius**3 for radius in (0.3, 0.5, 0.7, 0.9)], rel=0.05)
    assert widest["measures"]["longest_step"] == pytest.approx(1, abs=0.1)
    store = zarr.open_group(paths, mode="r")
    names = [
        f"{one}~{other}~{place}"
        for one, other in (path["ends"] for path in facts["paths"])
        for place in range(4)
    ]
    assert store["uid"][:].tolist() == names
    at = names.index("shape_0~shape_2~0")
    assert store["code"][at : at + 4, 0] == pytest.approx([0.3, 0.5, 0.7, 0.9])
    meshed = sdfkit("mesh", paths, "--decoder", model, *CPU, "-o", tmp_path / "meshes")
    assert meshed.exit_code == 0, meshed.stderr
    text = sdfkit(*words).stdout
    assert (
        "3 paths, 2 shapes between the ends of each; tolerance 0.05" in text
        and "few pieces      1.0000" in text
    )


def test_the_seed_chooses_the_pairs(sdfkit, make_store):
    model = make_store("deepsdf.zarr", [0.4, 0.5, 0.6])
    words = ("interpolate", model, "--steps", 1, "--pairs", 1, *CPU, "--json", "--seed")
    first, again, *others = (sdfkit(*words, seed).stdout for seed in (0, 0, 1, 2, 3))
    assert first == again
    assert len({tuple(json.loads(report)["paths"][0]["ends"]) for report in others}) > 1


def test_a_shape_without_a_surface_is_an_outcome(sdfkit, make_store):
    model = make_store("deepsdf.zarr", [0.8, -0.4])
    done = sdfkit("interpolate", model, "--steps", 2, *CPU, "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["paths"][0]["shapes"][2:] == [None, None] and facts["paths"][0]["distance"] is None
    assert facts["summary"]["surface"]["mean"] == 0.5 and facts["summary"]["volume"] is None
    lines = sdfkit("interpolate", model, "--steps", 2, *CPU).stdout.splitlines()
    assert any(line.split()[:4] == ["volume", "-", "-", "0"] for line in lines)


def test_codes_are_decoded_by_the_decoder_that_is_given(sdfkit, make_store):
    model = make_store("deepsdf.zarr", [0.3, 0.6])
    codes = make_store("codes.zarr", [0.4, 0.5, 0.7], "codes", ("cup", "car", "cup"))
    done = sdfkit("interpolate", codes, "--decoder", model, "--within-category", "--steps", 1, *CPU, "--json")
    assert done.exit_code == 0, done.stderr
    assert [path["ends"] for path in json.loads(done.stdout)["paths"]] == [["shape_0", "shape_2"]]


REFUSED = {
    "no decoder": (
        ([0.3, 0.6], "codes"),
        (),
        2,
        "holds latent codes without their decoder; add --decoder STORE",
    ),
    "other kind": (([0.3, 0.6], "denoiser"), (), 3, "holds denoiser, but"),
    "one shape": (([0.3],), (), 3, "deepsdf.zarr: has one shape, but a path joins two"),
    "no category": (([0.3, 0.6],), ("--within-category",), 3, "has no two shapes of one category"),
    "not finite": (([0.3, np.nan],), (), 3, "the vector of shape_1 has numbers that are not finite"),
    "other decoder": (([0.3, 0.6], "codes"), ("--decoder", "model.zarr"), 3, "belong to another decoder"),
    "bad name": (([0.3, 0.6],), ("-o", "paths.png"), 2, "paths.png"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsuitable_codes_are_refused(sdfkit, make_store, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    made, words, status, message = REFUSED[name]
    make_store("model.zarr", [0.1])
    make_store("deepsdf.zarr", *made, **({"decoder_sha256": "0" * 64} if name == "other decoder" else {}))
    refused = sdfkit("interpolate", "deepsdf.zarr", *words, *CPU)
    assert refused.exit_code == status, refused.stderr
    assert message in refused.stderr and refused.stderr.count("\n") == 1 and refused.stdout == ""
