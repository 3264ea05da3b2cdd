#!/usr/bin/env python3
"""Split shapes into training and evaluation sets, and summarise the scores that sdfkit compare wrote for the latter.

python generalise.py split manifest.json meshes/ -o split/
python generalise.py table split/ all-recon.1.json all-dit.4.json 20-dit.4.json ...
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sdfkit.geometry.isosurface.extraction import extract_surface
from sdfkit.geometry.metrics import bootstrap_interval
from sdfkit.images.visual_hull import VisualHull
from sdfkit.io.stores.reader import open_store
from sdfkit.report.plots import Curve, Panel, paint_panels

COLUMNS = {"iou": "IoU", "chamfer": "Chamfer", "f_score_1": "F 1 %", "f_score_5": "F 5 %"}
SETS = {"recalled": "training shapes", "instances": "held-out instances", "kinds": "held-out kinds"}


def split(
    kinds: Sequence[str], *, sizes: Sequence[int], judged: int, rng: np.random.Generator
) -> dict[str, list[int]]:
    """Assign shapes to sets, as lists of indices into `kinds`, by the name of the set.

    All shapes of a tenth of the kinds are held out, and a fifth of the shapes of each other kind with five shapes or
    more. Each of the sets to evaluate (recalled, instances, kinds) has at most `judged` shapes, chosen at random.
    Smaller sets of training shapes, of given sizes, are contained in the larger ones.
    """
    groups: dict[str, list[int]] = {}
    for row in rng.permutation(len(kinds)):
        groups.setdefault(kinds[row], []).append(int(row))
    names = sorted(groups)
    unseen = set(rng.permutation(names)[: max(1, len(names) // 10)])
    train, instances = [], []
    for name in names:
        rows = groups[name]
        out = len(rows) // 5 or int(len(rows) == 4)
        if name not in unseen:
            instances += rows[:out]
            train += rows[out:]
    held = [row for name in sorted(unseen) for row in groups[name]]
    shuffled = rng.permutation(train).tolist()
    return {
        "all": train,
        **{str(size): shuffled[:size] for size in sizes},
        "recalled": shuffled[: min(*sizes, judged)],  # all models were trained on them
        "instances": rng.permutation(instances)[:judged].tolist(),
        "kinds": rng.permutation(held)[:judged].tolist(),
    }


def write_split(options: argparse.Namespace) -> None:
    """Write a folder of links to meshes for each set, and the folder `judged` with all shapes to evaluate."""
    shapes = json.loads(options.manifest.read_text())["shapes"]
    kind_of = {shape["uid"]: shape["category"] for shape in shapes}
    # Shapes without a mesh, because their conversion failed, are in no set.
    paths = sorted(path for path in options.meshes.iterdir() if path.stem in kind_of)
    kinds = [kind_of[path.stem] for path in paths]
    sets = split(kinds, sizes=options.sizes, judged=options.judged, rng=np.random.default_rng(options.seed))
    sets["judged"] = sets["recalled"] + sets["instances"] + sets["kinds"]
    for name, rows in sets.items():
        folder = options.output / name
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            link = folder / paths[row].name
            if not link.exists():
                link.symlink_to(paths[row].resolve())
        print(f"{name}: {len(rows)} shapes of {len({kinds[row] for row in rows})} kinds")


def interval(values: np.ndarray) -> str:
    low, high = bootstrap_interval(values, np.random.default_rng(0))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


class Run(NamedTuple):
    """The scores of one answer for each evaluated shape."""

    trained: str
    """Name of the set of training shapes."""
    model: str
    """Command that trained the model."""
    images: int
    shapes: dict[str, Mapping[str, Any]]


def collect(paths: Sequence[Path]) -> list[Run]:
    """Read reports whose names are SET-MODEL.IMAGES.json, those of the largest number of training shapes first."""
    runs = []
    for path in paths:
        name, images = path.stem.split(".")
        trained, model = name.split("-")
        runs.append(Run(trained, f"train-{model}", int(images), json.loads(path.read_text())["shapes"]))
    return sorted(
        runs, key=lambda run: (run.trained == "all", run.trained, run.images, run.model != "train-recon")
    )


def write_table(options: argparse.Namespace) -> None:
    """Print the scores on each set, and the share of shapes for which a model is better than each baseline."""
    runs = collect(options.reports)
    folders = {name: sorted(path.stem for path in (options.folder / name).iterdir()) for name in SETS}
    trained = {run.trained: len(list((options.folder / run.trained).iterdir())) for run in runs}
    print("| evaluated on | trained on | images | answer |", " | ".join(COLUMNS.values()), "|")
    print("|---" * (4 + len(COLUMNS)) + "|")
    for name, title in SETS.items():
        printed = set()
        for run in runs:
            judged = [run.shapes[uid] for uid in folders[name] if uid in run.shapes]
            answers: dict[tuple[str, str], list[Any]] = {(f"**{run.model}**", str(run.images)): judged}
            if name != "recalled":  # else baselines would answer with these very training shapes
                for baseline in judged[0]["baselines"]:
                    images = "any" if baseline in ("mean shape", "oracle") else str(run.images)
                    answers[baseline, images] = [shape["baselines"][baseline] for shape in judged]
            for (answer, images), scores in answers.items():
                line = (trained[run.trained], images, answer)
                if line not in printed:  # baselines are the same for all models
                    cells = [interval(np.array([score[column] for score in scores])) for column in COLUMNS]
                    print(f"| {title} ({len(judged)}) |", " | ".join(map(str, [*line, *cells])), "|")
                printed.add(line)
    print()
    for run in runs:
        for name, title in list(SETS.items())[1:]:
            judged = [run.shapes[uid] for uid in folders[name] if uid in run.shapes]
            for baseline in judged[0]["baselines"]:
                pairs = [(shape, shape["baselines"][baseline]) for shape in judged]
                more = np.array([shape["iou"] - answer["iou"] for shape, answer in pairs])
                nearer = np.array([shape["chamfer"] < answer["chamfer"] for shape, answer in pairs])
                wins = [f"{100 * won.mean():.0f} %" for won in (more > 0, nearer)]
                print(
                    f"* {run.model}, trained on {trained[run.trained]}, images: {run.images}, {title}: IoU minus that "
                    f"of {baseline} {interval(more)}, higher for {wins[0]} of shapes; Chamfer distance lower for "
                    f"{wins[1]}."
                )


def write_figures(options: argparse.Namespace) -> None:
    """Print the IoU of each model and of three baselines on each category."""
    runs = collect(options.reports)
    shapes = json.loads(options.manifest.read_text())["shapes"]
    kind_of = {shape["uid"]: shape["category"] for shape in shapes}
    print("| shapes | trained on | images | model | IoU | minus retrieval | oracle | visual hull |")
    print("|---" * 8 + "|")
    for kind in sorted(set(kind_of.values())):
        for run in runs:
            judged = [shape for uid, shape in run.shapes.items() if kind_of[uid] == kind]
            trained = len(list((options.folder / run.trained).iterdir()))
            iou = np.array([shape["iou"] for shape in judged])
            retrieval, oracle, hull = (
                np.array([shape["baselines"][name]["iou"] for shape in judged])
                for name in ("retrieval", "oracle", "visual hull")
            )
            cells = [interval(iou), interval(iou - retrieval), f"{oracle.mean():.3f}", f"{hull.mean():.3f}"]
            line = map(str, [trained, run.images, run.model, *cells])
            print(f"| {kind} ({len(judged)}) |", " | ".join(line), "|")
    print()


def draw_curve(options: argparse.Namespace) -> None:
    """Draw the IoU of each answer as a function of the number of training shapes.

    There is a row of panels for each set of held-out shapes, and a column for each number of images.
    """
    runs = collect(options.reports)
    panels = []
    for name in list(SETS)[1:]:
        folder = {path.stem for path in (options.folder / name).iterdir()}
        for images in sorted({run.images for run in runs}):
            curves: dict[str, dict[int, float]] = {}
            for run in (run for run in runs if run.images == images):
                trained = len(list((options.folder / run.trained).iterdir()))
                judged = [shape for uid, shape in run.shapes.items() if uid in folder]
                scores = {run.model: [shape["iou"] for shape in judged]}
                for baseline in judged[0]["baselines"]:
                    scores[baseline] = [shape["baselines"][baseline]["iou"] for shape in judged]
                for answer, values in scores.items():
                    curves.setdefault(answer, {})[trained] = float(np.mean(values))
            lines = {
                answer: Curve(*zip(*sorted(points.items()), strict=True)) for answer, points in curves.items()
            }
            panels.append(Panel(f"{SETS[name]}, images: {images}", "training shapes", "IoU", lines, "x"))
    options.output.write_bytes(paint_panels(panels, columns=len(panels) // 2))


def link_retrieved(options: argparse.Namespace) -> None:
    """Link each evaluated shape's name to the mesh of the training shape that retrieval found for it."""
    options.output.mkdir(exist_ok=True)
    for uid, shape in json.loads(options.report.read_text())["shapes"].items():
        for path in (options.folder / "all").glob(f"{shape['baselines']['retrieval']['shape']}.*"):
            (options.output / f"{uid}{path.suffix}").symlink_to(path.resolve())


def write_hulls(options: argparse.Namespace) -> None:
    """Write the visual hull of each shape of a views store as a mesh."""
    options.output.mkdir(exist_ok=True)
    with open_store(options.views, "views", manifest=None) as store:
        for row in store.rows("mask", "camera_to_world", "yfov"):
            if not row.error:
                hull = VisualHull(*row.arrays.values())
                surface, _ = extract_surface(hull.distance, resolution=128, margin=1.5, batch=1 << 15)
                surface.export(options.output / f"{row.uid}.ply")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    parts = commands.add_parser("split")
    parts.add_argument("manifest", type=Path)
    parts.add_argument("meshes", type=Path, help="folder of meshes named by uid")
    parts.add_argument(
        "-o", "--output", type=Path, required=True, help="folder to write, with a folder for each set"
    )
    parts.add_argument(
        "--sizes", type=int, nargs="+", default=[20], help="sizes of the smaller training sets"
    )
    parts.add_argument(
        "--judged", type=int, default=40, help="greatest number of shapes to evaluate in each set"
    )
    parts.add_argument("--seed", type=int, default=0)
    parts.set_defaults(run=write_split)
    table = commands.add_parser("table")
    table.add_argument("folder", type=Path, help="folder that `split` wrote")
    table.add_argument(
        "reports", type=Path, nargs="+", help="reports by sdfkit compare --json, named SET-MODEL.IMAGES.json"
    )
    table.set_defaults(run=write_table)
    figures = commands.add_parser("figures")
    figures.add_argument("manifest", type=Path, help="manifest of the shapes")
    figures.add_argument("folder", type=Path, help="folder that `split` wrote")
    figures.add_argument("reports", type=Path, nargs="+", help="as for `table`")
    figures.set_defaults(run=write_figures)
    curve = commands.add_parser("curve")
    curve.add_argument("folder", type=Path, help="folder that `split` wrote")
    curve.add_argument("reports", type=Path, nargs="+", help="as for `table`")
    curve.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    curve.set_defaults(run=draw_curve)
    found = commands.add_parser("retrieved")
    found.add_argument("folder", type=Path, help="folder that `split` wrote")
    found.add_argument("report", type=Path, help="report by sdfkit compare --json")
    found.add_argument("-o", "--output", type=Path, required=True, help="folder of links to meshes")
    found.set_defaults(run=link_retrieved)
    hulls = commands.add_parser("hulls")
    hulls.add_argument("views", help="views store with masks")
    hulls.add_argument("-o", "--output", type=Path, required=True, help="folder of meshes to write")
    hulls.set_defaults(run=write_hulls)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
