#!/usr/bin/env python3
"""Split shapes into those that Flow-SDF learns from and those held out, and sum up what was told of its stages.

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
    "unit": "flow, distilled in few steps, noise not scaled",
    "joint": "flow, whole chain",
    "rgb": "flow, whole chain, with shades",
    "one": "encoder, one view a shape",
    "one_joint": "flow, whole chain, one view a shape",
}
# Points in the cube by which visual hulls are judged.
POINTS = 20_000


def write_split(options: argparse.Namespace) -> None:
    """Folders of links: the first shapes of each kind to learn from, the others held out."""
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
    """IoU of each shape with its visual hull: the points that no view shows outside the shape's mask."""
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
    """What train-flow told at the end, of its own shapes and of those held out, and how long it took."""
    text = path.read_text()
    told = {}
    for name, match in zip(
        ("", "held_"),
        re.finditer(
            r"temperature (\S+): loss (\S+) \(an exact field: (\S+)\), IoU (\S+); shades (\S+) off", text
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
    """One row a model; what retrieval answers, and what visual hulls allow; samples; the scale of the noise."""
    folder = options.folder
    print(
        "| model | seconds | silhouette loss (IoU), learned | held out | shades off, learned | held out "
        "| IoU, learned | F 1 % | Chamfer | IoU, held out |"
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
        f"\n* Silhouettes at temperature {told['temperature']}; a field that is right everywhere: {told['exact']}."
    )
    print(f"* Gradients of the last step of the whole chain: {told['gradients']}.")
    more = np.array([shape["iou"] - shape["baselines"]["retrieval"]["iou"] for shape in found.values()])
    wins = 100 * (more > 0).mean()
    print(f"* Held out, whole chain: IoU above retrieval's by {interval(more)}, higher for {wins:.0f} %.")
    for model in ("distil", "brief", "unit", "joint"):
        stats = json.loads((folder / f"reports/{model}.stats.json").read_text())
        rank = json.loads((folder / f"reports/{model}.rank.json").read_text())
        with open_store(str(folder / f"{model}.samples.zarr"), "codes", manifest=None) as store:
            codes = store.read("code").reshape(-1, 4, store.array("code").shape[1])
        centres = codes.mean(axis=1)
        within = np.sqrt(((codes - centres[:, None]) ** 2).sum(axis=2).mean())
        between = np.sqrt(((centres - centres.mean(axis=0)) ** 2).sum(axis=1).mean())
        print(
            f"* {MODELS[model]}: samples of one picture lie {100 * within / between:.1f} % of the spread between "
            f"pictures apart; pairwise cosine {stats['cosine']['mean']:.3f}; rank: {rank['verdict']['name']}."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    parts = commands.add_parser("split")
    parts.add_argument("manifest", type=Path)
    parts.add_argument("meshes", type=Path, help="folder of meshes named by uid")
    parts.add_argument("--each", type=int, required=True, help="shapes of a kind to learn from")
    parts.add_argument("-o", "--output", type=Path, required=True, help="folder for train/ and held/")
    parts.set_defaults(run=write_split)
    table = commands.add_parser("table")
    table.add_argument("folder", type=Path, help="where flow.sh worked")
    table.add_argument("split", type=Path, help="what split wrote")
    table.set_defaults(run=write_table)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
