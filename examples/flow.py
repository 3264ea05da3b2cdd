#!/usr/bin/env python3
"""Split shapes into a training set and a held-out set for Flow-SDF, and summarise the results of its stages.

python flow.py split manifest.json shapes/ --each 5 -o split/
python flow.py table FOLDER split/
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.frame import normalise
from sdfkit.geometry.metrics import bootstrap_interval
from sdfkit.images.rendering.cameras import intrinsics
from sdfkit.io.stores.reader import open_store

MODELS = {
    "encoder": "encoder (the CNN baseline)",
    "distil": "flow, distilled",
    "brief": "flow, distilled in few steps",
    "unit": "flow, distilled in few steps, noise not scaled to the codes",
    "joint": "flow, whole chain",
    "rgb": "flow, whole chain, with shades",
    "one": "encoder, one view a shape",
    "one_joint": "flow, whole chain, one view a shape",
}
# Random points in the query cube at which the IoU of a visual hull is measured.
POINTS = 20_000


def write_split(options: argparse.Namespace) -> None:
    """Link the first shapes of each kind into train/, and the others into held/."""
    kinds: dict[str, list[str]] = {}
    for shape in json.loads(options.manifest.read_text())["shapes"]:
        kinds.setdefault(shape["category"], []).append(shape["uid"])
    for uids in kinds.values():
        for place, uid in enumerate(uids):
            folder = options.output / ("train" if place < options.each else "held")
            folder.mkdir(parents=True, exist_ok=True)
            link = folder / f"{uid}.ply"
            if not link.exists():
                link.symlink_to((options.meshes / link.name).resolve())


def interval(values: np.ndarray) -> str:
    low, high = bootstrap_interval(values, np.random.default_rng(0))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def hull_overlaps(views: Path, meshes: Path) -> np.ndarray:
    """IoU of each shape with its visual hull, which is the set of points inside the mask of every view."""
    points = np.random.default_rng(0).uniform(-1, 1, (POINTS, 3)).astype(np.float32)
    overlaps = []
    with open_store(str(views), "views", manifest=None) as store:
        for row in store.rows("mask", "camera_to_world", "yfov"):
            mesh, _ = normalise(trimesh.load(meshes / f"{row.uid}.ply", force="mesh"))
            true = TriangleTree(mesh.vertices, mesh.faces).signed(points, "winding") < 0
            hull = np.ones(POINTS, bool)
            size = row.arrays["mask"].shape[-1]
            for mask, camera, yfov in zip(
                *(row.arrays[name] for name in ("mask", "camera_to_world", "yfov")), strict=True
            ):
                seen = points - camera[:3, 3]
                columns, rows, depths = intrinsics(float(yfov), size, size) @ (seen @ camera[:3, :3]).T
                pixels = np.clip(np.stack([rows, columns]) / depths, 0, size - 1).astype(int)
                hull &= mask[tuple(pixels)] >= 128
            overlaps.append((true & hull).sum() / (true | hull).sum())
    return np.array(overlaps)


def read_log(path: Path) -> dict[str, str]:
    """The results that train-flow printed at its end, for training and held-out shapes, and its duration."""
    text = path.read_text()
    told = {}
    for name, match in zip(
        ("", "held_"),
        re.finditer(
            r"temperature (\S+): loss (\S+) \(ideal loss (\S+)\), IoU (\S+); mean shading error (\S+)", text
        ),
        strict=True,
    ):
        parts = zip(("temperature", "loss", "exact", "overlap", "shades"), match.groups(), strict=True)
        told |= {name + part: value for part, value in parts}
    began, ended = (int(line) for line in text.splitlines() if line.isdecimal())
    return told | {
        "seconds": str(ended - began),
        "gradients": text.partition("gradients: ")[2].splitlines()[0],
    }


def write_table(options: argparse.Namespace) -> None:
    """Print a row of scores for each model, for the baselines and for visual hulls; then notes on samples and noise."""
    folder = options.folder
    print(
        "| model | seconds | silhouette loss (IoU), training | held out | error of shades, training | held out "
        "| IoU, training | F 1 % | Chamfer | IoU, held out |"
    )
    print("|---" * 10 + "|")
    for model, title in MODELS.items():
        train, held = (
            json.loads((folder / f"reports/{model}.{name}.json").read_text()) for name in ("train", "held")
        )
        told = read_log(folder / f"{model}.log")
        scores = {
            name: np.array([shape[name] for shape in train["shapes"].values()])
            for name in ("iou", "f_score_1", "chamfer")
        }
        unseen = np.array([shape["iou"] for shape in held["shapes"].values()])
        print(
            f"| {title} | {told['seconds']} | {told['loss']} ({told['overlap']}) "
            f"| {told['held_loss']} ({told['held_overlap']}) | {told['shades']} | {told['held_shades']} | "
            f"{interval(scores['iou'])} | {scores['f_score_1'].mean():.3f} | {scores['chamfer'].mean():.4f} | "
            f"{interval(unseen)} |"
        )
    found: dict[str, Any] = json.loads((folder / "reports/joint.held.json").read_text())["shapes"]
    for name in ("retrieval", "oracle", "mean shape"):
        scores_of = np.array([shape["baselines"][name]["iou"] for shape in found.values()])
        print(f"| {name} | | | | | | | | | {interval(scores_of)} |")
    hulls = [hull_overlaps(folder / f"{name}.zarr", options.split / name) for name in ("train", "held")]
    print(f"| visual hull of the views | | | | | | {interval(hulls[0])} | | | {interval(hulls[1])} |")
    told = read_log(folder / "joint.log")
    print(
        f"\n* Silhouette loss at temperature {told['temperature']}; an exact distance field has {told['exact']}."
    )
    print(f"* Gradients of the last step of the whole chain: {told['gradients']}.")
    more = np.array([shape["iou"] - shape["baselines"]["retrieval"]["iou"] for shape in found.values()])
    wins = 100 * (more > 0).mean()
    print(
        f"* Held out, whole chain: IoU minus retrieval's {interval(more)}; higher for {wins:.0f} % of shapes."
    )
    for model in ("distil", "brief", "unit", "joint"):
        stats = json.loads((folder / f"reports/{model}.stats.json").read_text())
        rank = json.loads((folder / f"reports/{model}.rank.json").read_text())
        with open_store(str(folder / f"{model}.samples.zarr"), "codes", manifest=None) as store:
            codes = store.read("code").reshape(-1, 4, store.array("code").shape[1])
        centres = codes.mean(axis=1)
        within = np.sqrt(((codes - centres[:, None]) ** 2).sum(axis=2).mean())
        between = np.sqrt(((centres - centres.mean(axis=0)) ** 2).sum(axis=1).mean())
        print(
            f"* {MODELS[model]}: codes sampled for one image have {100 * within / between:.1f} % of the standard "
            f"deviation between images; pairwise cosine {stats['cosine']['mean']:.3f}; rank: {rank['verdict']['name']}."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    parts = commands.add_parser("split")
    parts.add_argument("manifest", type=Path)
    parts.add_argument("meshes", type=Path, help="folder of meshes named by uid")
    parts.add_argument("--each", type=int, required=True, help="number of training shapes of each kind")
    parts.add_argument("-o", "--output", type=Path, required=True, help="folder for train/ and held/")
    parts.set_defaults(run=write_split)
    table = commands.add_parser("table")
    table.add_argument("folder", type=Path, help="working folder of flow.sh")
    table.add_argument("split", type=Path, help="folder that `split` wrote")
    table.set_defaults(run=write_table)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
