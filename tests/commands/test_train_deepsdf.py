"""`sdfkit train-deepsdf`: runs that fail, samples larger than memory, and unsuitable stores."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import zarr

from sdfkit.evaluation import field_errors
from sdfkit.io.models.reader import load_decoder
from sdfkit.io.stores.writer import create_store
from sdfkit.models.latents import LAYOUTS
from sdfkit.rows import Row
from sdfkit.training.deepsdf.training import DeepSDFTraining

TRAIN = ("--points", 32, "--device", "cpu", "--precision", "fp32")


def write_samples(path, shapes, count):
    """Samples of balls of different sizes."""
    rng = np.random.default_rng(0)
    rows = [Row(index, f"ball_{index}") for index in range(shapes)]
    with create_store(str(path), "samples", rows=rows, history=[], settings={}, overwrite=False) as store:
        for name, axes, dtype in (("point", ("xyz",), "f4"), ("distance", (), "f4"), ("near", (), "bool")):
            size = (shapes, count, *[3] * len(axes))
            store.create_array(name, shape=size, dtype=dtype, axes=("shape", "sample", *axes))
        for row in rows:
            point = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
            distance = np.linalg.norm(point, axis=1) - 0.3 - 0.4 * row.index / shapes
            store.write(row, point=point, distance=distance, near=np.arange(count) % 2 == 0)
    return path


@pytest.fixture
def samples(tmp_path):
    return write_samples(tmp_path / "samples.zarr", 3, 20_000)


def arrays(path, *names):
    group = zarr.open_group(path, mode="r")
    return [group[name][:] for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "zip"])
def test_available_memory_and_the_form_of_the_store_do_not_change_the_result(
    sdfkit, samples, tmp_path, monkeypatch, where
):
    line = ("train-deepsdf", *TRAIN, "--steps", 12)
    assert sdfkit(*line, samples, "-o", tmp_path / "held.zarr").exit_code == 0
    monkeypatch.setattr("sdfkit.runtime.doctor.free_memory", lambda: 500_000)
    other = samples
    if where == "zip":
        other = write_samples(tmp_path / "samples.zarr.zip", 3, 20_000)
    done = sdfkit(*line, other, "-o", tmp_path / "other.zarr")
    assert done.exit_code == 0, done.stderr
    assert ("they are read when they are needed" in done.stderr) == (where == "folder")
    names = ("loss", "code", "decoder/out.weight")
    both = zip(arrays(tmp_path / "held.zarr", *names), arrays(tmp_path / "other.zarr", *names), strict=True)
    assert all(np.array_equal(held, streamed) for held, streamed in both)


@pytest.mark.slow
def test_memory_is_bounded_while_samples_are_streamed(tmp_path):
    """In a separate process: 100 MB of samples, of which 10 MB may be in memory."""
    write_samples(tmp_path / "samples.zarr", 60, 100_000)
    script = """if True:
        import dataclasses, resource, sys, torch
        import sdfkit.runtime.doctor
        from sdfkit.models.deepsdf import DeepSDFConfig
        from sdfkit.io.stores.contents.samples import open_samples
        from sdfkit.training.deepsdf.training import DeepSDFTraining
        from sdfkit.training.deepsdf.recipes import RECIPES
        from sdfkit.training.run import open_device_context
        sdfkit.runtime.doctor.free_memory = lambda: float(sys.argv[2])
        recipe = dataclasses.replace(RECIPES["small"], points=64, steps=400)
        context = open_device_context("cpu", "fp32")
        with open_samples([sys.argv[1]], recipe, context, manifest=None) as known:
            config = DeepSDFConfig(code=4, bands=2, hidden=16, layers=3, skip=1, activation="relu")
            uids = [row.uid for row in known.rows]
            # The first windows, and memory that libraries allocate once, are not counted.
            training = DeepSDFTraining(config, recipe, known.samples, uids, context, torch.Generator())
            for step in range(10):
                training.step()
            first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for row in range(len(uids)):
                for index in range(known.samples.windows):
                    known.samples.window(row, index)
            print(known.samples.in_memory, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first)
    """
    line = [sys.executable, "-c", script, str(tmp_path / "samples.zarr"), "20e6"]
    done = subprocess.run(
        line, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    held, grown = done.stdout.split()
    assert held == "False" and int(grown) < 25_000  # KiB


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_a_diverging_run_keeps_its_last_finite_state(sdfkit, samples, tmp_path, monkeypatch, fault):
    output = tmp_path / "deepsdf.zarr"
    line = ("train-deepsdf", samples, *TRAIN, "--steps", 6, "-o", output)
    assert sdfkit(*line[:-1], tmp_path / "whole.zarr").exit_code == 0
    step = DeepSDFTraining.step

    def broken(self):
        if self.steps_taken == 3 and fault == "loss":
            with torch.no_grad():
                self.codes[1] = torch.nan
        loss = step(self)
        if self.steps_taken == 4 and fault == "gradient":
            # The loss is finite but the new parameters are not, and a checkpoint is due.
            with torch.no_grad():
                self.codes[1] = torch.nan
        return loss

    monkeypatch.setattr("sdfkit.runtime.training_loop.MINUTES_BETWEEN_SAVES", 0)
    monkeypatch.setattr(DeepSDFTraining, "step", broken)
    done = sdfkit(*line)
    assert done.exit_code == 1
    told = {
        "loss": "sdfkit: ball_1: the loss at step 3 is nan; lower the learning rate",
        "gradient": "sdfkit: parameters/code has numbers that are not finite after step 4; lower the learning rate",
    }[fault]
    assert told in done.stderr.splitlines()
    assert (
        f"{output}: still holds the state after step 3; the same command continues from there" in done.stderr
    )
    store = zarr.open_group(output, mode="r")
    assert not store.attrs["complete"] and store["loss"].shape == (3,)
    assert np.isfinite(store["state/float32"][:]).all()
    monkeypatch.setattr(DeepSDFTraining, "step", step)
    assert sdfkit(*line).exit_code == 0
    names = ("loss", "code", "decoder/out.weight")
    both = zip(arrays(output, *names), arrays(tmp_path / "whole.zarr", *names), strict=True)
    assert all(np.array_equal(resumed, whole) for resumed, whole in both)


@pytest.mark.slow
def test_the_decoder_is_compiled_on_request(sdfkit, samples, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda decoder: compiled.append(decoder) or decoder)
    line = ("train-deepsdf", samples, *TRAIN, "--steps", 1)
    assert sdfkit(*line, "-o", tmp_path / "plain.zarr").exit_code == 0 and not compiled
    assert sdfkit(*line, "--compile", "-o", tmp_path / "compiled.zarr").exit_code == 0 and len(compiled) == 1


def test_a_run_that_diverges_at_once_writes_no_store(sdfkit, samples, tmp_path):
    output = tmp_path / "deepsdf.zarr"
    done = sdfkit("train-deepsdf", samples, *TRAIN, "--steps", 9, "--code-penalty", 1e40, "-o", output)
    assert (
        done.exit_code == 1 and "lower the learning rate" in done.stderr and "still holds" not in done.stderr
    )
    assert list(tmp_path.iterdir()) == [samples]


def test_training_on_one_shape_warns_and_its_decoder_cannot_fit_other_shapes(sdfkit, tmp_path):
    samples, model = write_samples(tmp_path / "samples.zarr", 1, 3000), tmp_path / "deepsdf.zarr"
    done = sdfkit("train-deepsdf", samples, *TRAIN, "--steps", 3, "-o", model)
    assert done.exit_code == 0 and "has only one shape; the decoder cannot represent others" in done.stderr
    assert "steps a second" in done.stderr
    refused = sdfkit("fit-code", samples, "--decoder", model, "-o", tmp_path / "codes.zarr")
    assert refused.exit_code == 3
    assert "was trained on one shape, so it cannot represent others" in refused.stderr


def test_a_store_with_only_failed_shapes_is_refused(sdfkit, tmp_path):
    samples, rows = tmp_path / "samples.zarr", [Row(0, "ball", error="no surface")]
    with create_store(str(samples), "samples", rows=rows, history=[], settings={}, overwrite=False) as store:
        store.write(rows[0])
    done = sdfkit("train-deepsdf", samples, "-o", tmp_path / "deepsdf.zarr")
    assert done.exit_code == 3 and "all its shapes failed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "parameters"), [("256x4", 250_625), ("512x8", 1_945_089)])
def test_the_papers_preset_runs_in_bfloat16(sdfkit, samples, tmp_path, preset, parameters):
    """One step with 64 points per shape instead of the preset's 8,192."""
    model = tmp_path / "deepsdf.zarr"
    options = ("--preset", preset, "--steps", 1, "--points", 64, "--precision", "bf16", "--device", "cpu")
    done = sdfkit("train-deepsdf", samples, *options, "-o", model)
    assert done.exit_code == 0, done.stderr
    group = zarr.open_group(model, mode="r")
    assert sum(array.size for _, array in group["decoder"].arrays()) == parameters
    assert group.attrs["settings"]["precision"] == "bf16"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "zip"])
def test_held_out_shapes_are_not_trained_on_and_reported(sdfkit, tmp_path, monkeypatch, where):
    monkeypatch.setattr(field_errors, "HELD_OUT_FIT", dataclasses.replace(field_errors.HELD_OUT_FIT, steps=5))
    samples = write_samples(tmp_path / ("samples.zarr" + ".zip" * (where == "zip")), 5, 2_000)
    model = tmp_path / "deepsdf.zarr"
    done = sdfkit("train-deepsdf", *TRAIN, "--steps", 3, "--held-out", 0.4, samples, "-o", model)
    assert done.exit_code == 0, done.stderr
    assert (
        "2 held-out shapes, fitted to half of the samples: SDF L1 of the others clamped at 0.1" in done.stderr
    )
    kept = zarr.open_group(model, mode="r")["uid"][:].tolist()
    named = [
        f"ball_{index}"
        for index in range(5)
        if f"; ball_{index} " in done.stderr or f"worst: ball_{index} " in done.stderr
    ]
    assert len(kept) == 3 and set(named) >= {f"ball_{index}" for index in range(5)} - set(kept)


def test_a_dry_run_prints_settings_and_costs_and_writes_nothing(sdfkit, samples, tmp_path, monkeypatch):
    monkeypatch.setattr("sdfkit.training.costs.SECONDS", 0.0)
    line = ("train-deepsdf", *TRAIN, "--steps", 100, samples, "--dry-run", "-o", tmp_path / "deepsdf.zarr")
    done = sdfkit(*line)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"^steps +100$", done.stdout, re.MULTILINE)
    assert re.search(r"^time .* without reading and reports$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("measured in 3 steps; nothing was written\n")
    facts = json.loads(sdfkit(*line, "--json").stdout)
    assert facts["settings"]["steps"] == 100 and facts["shapes"] == 3
    (kind,) = facts["steps"]
    assert kind["number"] == 100 and facts["seconds"] == pytest.approx(
        100 * np.mean(kind["seconds"]), rel=1e-4
    )
    assert [path.name for path in tmp_path.iterdir()] == ["samples.zarr"]


@pytest.mark.slow
@pytest.mark.parametrize("latent", ["triplane", "hybrid"])
def test_codes_with_places_are_flat_vectors_to_every_other_command(sdfkit, tmp_path, latent):
    samples, model, codes = (tmp_path / f"{name}.zarr" for name in ("samples", "deepsdf", "codes"))
    write_samples(samples, 3, 3_000)
    done = sdfkit("train-deepsdf", samples, *TRAIN, "--latent", latent, "--steps", 2, "-o", model)
    assert done.exit_code == 0, done.stderr
    layout = LAYOUTS[latent]
    group = zarr.open_group(model, mode="r")
    assert group["code"].shape == (3, layout.code) and group.attrs["settings"]["latent"] == latent
    assert dict(group["decoder"].attrs)["layout"] == dataclasses.asdict(layout)
    # After two steps the distances are about equal everywhere; a surface at their mean.
    axis = torch.linspace(-1, 1, 9)
    code, points = torch.from_numpy(group["code"][:1]), torch.cartesian_prod(axis, axis, axis)[None]
    bias = zarr.open_group(model, mode="r+")["decoder/out.bias"]
    bias[:] = bias[:] - load_decoder(str(model), "cpu").network(code, points).mean().item()
    done = sdfkit("fit-code", samples, "--decoder", model, "--steps", 2, "--batch", 64, "-o", codes)
    assert done.exit_code == 0, done.stderr
    assert zarr.open_group(codes, mode="r")["code"].shape == (3, layout.code)
    meshes = tmp_path / "meshes"
    done = sdfkit("mesh", codes, "--decoder", model, "--resolution", 24, "--smooth-normals", "-o", meshes)
    assert done.exit_code == 0, done.stderr
    assert len(list(meshes.glob("*.ply"))) == 3
    done = sdfkit("rank", codes, "--known", model)
    assert done.exit_code == 0, done.stderr
    done = sdfkit("weight-stats", model)
    assert done.exit_code == 0, done.stderr
    # A denoiser whose tokens are blocks of places, and which reads the patches of posed images.
    features, denoiser = tmp_path / "features.zarr", tmp_path / "dit.zarr"
    rows = [Row(index, f"ball_{index}") for index in range(3)]
    with create_store(
        str(features), "features", rows=rows, history=[], settings={}, overwrite=False
    ) as store:
        axes = ("shape", "view", "token", "dim")
        store.create_array("token", data=np.ones((3, 2, 2, 3), np.float32), axes=axes)
        cameras = np.tile(np.eye(4, dtype=np.float32), (3, 2, 1, 1))
        store.create_array("camera_to_world", data=cameras, axes=("shape", "view", "to", "from"))
        for row in rows:
            store.write(row)
    few = ("--views", 2, "--batch", 2, "--steps", 2, "--condition", "token", "--tokens", "places")
    done = sdfkit("train-dit", features, "--codes", model, *few, "-o", denoiser)
    assert done.exit_code == 0, done.stderr
    assert zarr.open_group(denoiser, mode="r")["denoiser"].attrs["tokens"] == layout.tokens
    done = sdfkit("predict", denoiser, features, "--steps", 2, "-o", tmp_path / "predicted.zarr")
    assert done.exit_code == 0, done.stderr
    done = sdfkit("train-dit", features, "--codes", codes, *few, "-o", tmp_path / "other.zarr")
    assert done.exit_code == 3 and "its codes have no places; give a store of train-deepsdf" in done.stderr
