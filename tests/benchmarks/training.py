"""Train on twenty generated shapes, test decoder and denoiser against required scores, and measure time per step.

    python -m tests.benchmarks.training [deepsdf] [dit] [steps] [--in FOLDER]

If no part is named, all parts run, in this order. `dit` needs the outputs of `deepsdf`. The seed is the first for which
the twenty categories include the wagon wheel (thirteen spokes), the armchair and the bicycle, which are hard: they have
spokes, or slits a few thousandths wide. Outputs already in the folder are used again, so that a run can be continued.
Times are CPU seconds of all threads together, and seconds of wall time.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
import zarr
from torch.nn import functional

from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.models.deepsdf import PRESETS
from sdfkit.models.encodings import encode_points
from sdfkit.training.deepsdf.recipes import RECIPES
from sdfkit.training.deepsdf.training import DeepSDFTraining
from sdfkit.training.run import open_device_context
from sdfkit.training.samples import SampleChunk, SampleReader

SHAPES, SEED = 20, 266
ENCODER = ("--model", "efficientnet-lite0")


def sdfkit(*words: object) -> str:
    """Run a command, unless its output exists, and print its CPU time and wall time."""
    texts = [str(word) for word in words]
    output = Path(texts[texts.index("-o") + 1]) if "-o" in texts else None
    if output is not None and output.exists() and not unfinished(output):
        return ""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    print("$ sdfkit", *texts, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "sdfkit", *texts], stdout=subprocess.PIPE, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  {cpu:.0f} CPU s, {time.monotonic() - began:.0f} s", flush=True)
    return done.stdout


def unfinished(path: Path) -> bool:
    return (path / "zarr.json").is_file() and not zarr.open_group(path, mode="r").attrs["complete"]


def verdict(name: str, value: float, bar: float, *, least: bool) -> None:
    passed = value >= bar if least else value <= bar
    print(f"{name:<44}{value:10.5f}   {'>=' if least else '<='} {bar:<9g}{'' if passed else 'MISSED'}")


def judge(predicted: Path, truth: Path) -> dict[str, dict[str, float]]:
    """Scores of each shape, with the number of pieces and the Euler number of both meshes."""
    shapes = json.loads(sdfkit("compare", f"{predicted}/", f"{truth}/", "--json"))["shapes"]
    for uid, scores in shapes.items():
        for name, path in (("learned", predicted / f"{uid}.ply"), ("true", truth / f"{uid}.glb")):
            mesh = trimesh.load(path, force="mesh")
            scores[f"{name}_pieces"], scores[f"{name}_euler"] = mesh.body_count, mesh.euler_number
    return shapes


def deepsdf(folder: Path) -> None:
    true, samples, model, meshes = (
        folder / name for name in ("true", "samples.zarr", "deepsdf.zarr", "meshes")
    )
    sdfkit("shapes", "--count", SHAPES, "--seed", SEED, "-o", f"{true}/")
    sdfkit("sample-sdf", f"{true}/", "-o", samples)
    sdfkit("train-deepsdf", samples, "--preset", "small", "-o", model)
    # At resolution 128 the armchair's slits are half a cell wide, so voids remain in them however good the decoder is.
    sdfkit("mesh", model, "--resolution", 256, "-o", f"{meshes}/")
    shapes, category = judge(meshes, true), names(model)
    print(f"\n{'shape':<26}{'IoU':>8}{'pieces':>14}{'Euler':>14}   (learned, true)")
    for uid, own in shapes.items():
        pieces, euler = (f"{own[f'learned_{what}']}, {own[f'true_{what}']}" for what in ("pieces", "euler"))
        print(f"{uid} {category[uid]:<17}{own['iou']:8.4f}{pieces:>14}{euler:>14}")
    errors = field_errors(model, samples)
    iou = {uid: own["iou"] for uid, own in shapes.items()}
    worst, wheel = min(iou, key=iou.__getitem__), next(uid for uid in iou if category[uid] == "wagon_wheel")
    print()
    verdict("SDF L1 up to 0.1, mean", errors.mean(), 0.0006, least=False)
    verdict("SDF L1 up to 0.1, worst", errors.max(), np.inf, least=False)
    verdict("IoU, mean", float(np.mean(list(iou.values()))), 0.96, least=True)
    verdict(f"IoU, worst ({category[worst]})", iou[worst], 0.92, least=True)
    verdict("the wheel's |Euler number + 24|", abs(shapes[wheel]["learned_euler"] + 24), 0, least=False)
    extra = sum(own["learned_pieces"] - own["true_pieces"] for own in shapes.values())
    verdict("pieces that should not be", extra, 0, least=False)


def names(model: Path) -> dict[str, str]:
    group = zarr.open_group(model, mode="r")
    return dict(zip(group["uid"][:].tolist(), group["category"][:].tolist(), strict=True))


def field_errors(model: Path, samples: Path) -> np.ndarray:
    """Mean error of each shape's clamped distances on its first 20,000 samples, by `plain_decoder`."""
    group, store = zarr.open_group(model, mode="r"), zarr.open_group(samples, mode="r")
    decoder = {name: torch.from_numpy(array[:]) for name, array in group["decoder"].arrays()}
    errors = []
    for row, code in enumerate(torch.from_numpy(group["code"][:])):
        points, true = (torch.from_numpy(store[name][row, :20_000]) for name in ("point", "distance"))
        predicted = plain_decoder(decoder, code.expand(len(points), -1), points)
        errors.append((predicted.clamp(-0.1, 0.1) - true.clamp(-0.1, 0.1)).abs().mean().item())
    return np.array(errors)


def plain_decoder(
    weights: dict[str, torch.Tensor], codes: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """The decoder as in the DeepSDF paper: latent code and encoded point are concatenated for every point."""
    inputs = torch.cat([codes, encode_points(points, 6)], dim=1)
    x = inputs
    for layer in range(4):
        if layer == PRESETS["small"].skip:
            x = torch.cat([x, inputs], dim=1)
        x = functional.linear(x, weights[f"hidden.{layer}.weight"], weights[f"hidden.{layer}.bias"]).relu()
    return functional.linear(x, weights["out.weight"], weights["out.bias"])[:, 0]


def dit(folder: Path) -> None:
    true, features, model = (folder / name for name in ("true", "features.zarr", "dit.zarr"))
    sdfkit("render", f"{true}/", "--views", 24, "-o", folder / "views.zarr")
    sdfkit("embed", folder / "views.zarr", *ENCODER, "-o", features)
    sdfkit("train-dit", features, "--codes", folder / "deepsdf.zarr", "--preset", "small", "-o", model)
    known = zarr.open_group(folder / "deepsdf.zarr", mode="r")["code"][:]
    for views, bar in ((1, 0.9999), (4, 0.99999)):
        # This tests recall, so the views are training views: the first one, or every sixth.
        seen, codes = folder / f"features{views}.zarr", folder / f"codes{views}.zarr"
        meshes = folder / f"predicted{views}"
        keep_views(features, seen, slice(0, 24, 24 // views))
        sdfkit("predict", model, seen, "-o", codes)
        sdfkit("mesh", codes, "--decoder", folder / "deepsdf.zarr", "-o", f"{meshes}/")
        cosine = cosines(zarr.open_group(codes, mode="r")["code"][:], known)
        own = np.diag(cosine)
        others = np.where(np.eye(len(cosine), dtype=bool), -np.inf, cosine).max(axis=1)
        shapes = judge(meshes, true)
        print()
        verdict(f"{views} views: cosine to the true code, worst", own.min(), bar, least=True)
        verdict(f"{views} views: margin to the next shape, worst", (own - others).min(), 0.4, least=True)
        worst = min(scores["f_score_5"] for scores in shapes.values())
        verdict(f"{views} views: F-score at 5 %, worst", worst, 0.95, least=True)


def keep_views(features: Path, output: Path, views: slice) -> None:
    """Write a store with the features of only some views."""
    if output.exists():
        return
    with open_store(str(features), "features", manifest=None) as store:
        rows, arrays = store.read_rows("feature", "camera_to_world")
        with create_store(
            str(output), "features", rows=rows, history=store.history, settings={},
            attributes={"encoder": store.attributes["encoder"]}, overwrite=False,
        ) as kept:  # fmt: skip
            kept.create_array("feature", data=arrays["feature"][:, views], axes=("shape", "view", "dim"))
            cameras = arrays["camera_to_world"][:, views]
            kept.create_array("camera_to_world", data=cameras, axes=("shape", "view", "to", "from"))
            for row in rows:
                kept.write(row)


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    ours, theirs = (codes / np.linalg.norm(codes, axis=1, keepdims=True) for codes in (ours, theirs))
    return ours @ theirs.T


def steps(folder: Path) -> None:
    """Compare a training step with a plain loop: Adam, and latent code and point concatenated for every point."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (SHAPES, 16_384, 3)).astype(np.float32)
    distances = (np.linalg.norm(points, axis=-1) - 0.5).astype(np.float32)
    near = np.abs(distances) < 0.1
    recipe = RECIPES["small"]
    asked = round(recipe.near * recipe.points)
    uids = [str(row) for row in range(SHAPES)]
    samples = SampleReader(
        lambda row, start, stop: SampleChunk(*(array[row, start:stop] for array in (points, distances, near))),
        uids, 16_384, window=8192, near=asked, others=recipe.points - asked, memory=sys.maxsize,
    )  # fmt: skip
    ours, adam_alone = (
        DeepSDFTraining(
            PRESETS["small"], replace(recipe, matrix_lr=rate), samples, uids, open_device_context("cpu", "fp32"),
            torch.Generator().manual_seed(0),
        )
        for rate in (recipe.matrix_lr, None)
    )  # fmt: skip
    weights = {
        name: value.detach().clone().requires_grad_() for name, value in ours.decoder.named_parameters()
    }
    codes = ours.codes.detach().clone().requires_grad_()
    adam = torch.optim.Adam([*weights.values(), codes], lr=1e-3)

    def plain() -> None:
        drawn = ours.draw(ours.steps_taken)
        adam.zero_grad()
        own = codes[drawn.rows].repeat_interleave(recipe.points, dim=0)
        predicted = plain_decoder(weights, own, drawn.points.flatten(0, 1))
        (predicted.clamp(-0.1, 0.1) - drawn.distances.flatten().clamp(-0.1, 0.1)).abs().mean().backward()
        adam.step()

    takers = {"plain": plain, "sdfkit, Adam alone": adam_alone.step, "sdfkit (with Muon)": ours.step}
    costs: dict[str, list[float]] = {name: [] for name in takers}
    for _ in range(3):
        for name, step in takers.items():
            began = time.process_time()
            for _ in range(5):
                step()
            costs[name].append((time.process_time() - began) / 5)
    for name, seconds in costs.items():
        print(f"{name:<20}{1000 * min(seconds):8.1f} CPU ms a step, {torch.get_num_threads()} threads")


def main() -> None:
    parts = {"deepsdf": deepsdf, "dit": dit, "steps": steps}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", choices=[[], *parts])
    parser.add_argument("--in", dest="folder", type=Path, default=Path("training-benchmark"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.part or parts:
        print(f"\n== {name}", flush=True)
        parts[name](arguments.folder)


if __name__ == "__main__":
    main()
