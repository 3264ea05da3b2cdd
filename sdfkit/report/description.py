"""The report of `info` on the content of stores, array files and meshes, as facts and as text."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError, InputError, MissingError
from sdfkit.io.stores.unfinished import describe_unfinished, refuse_unfinished
from sdfkit.io.streams import find_kind, name_of, open_input
from sdfkit.options import STANDARD
from sdfkit.report.plots import describe_progress, smooth
from sdfkit.report.tables import Facts, format_json, format_table
from sdfkit.rows import printable
from sdfkit.wording import agreeing, counted, size

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow
    from sdfkit.io.stores.store_reader import StoreReader

# Columns that all stores have. The text leaves them out.
COLUMNS = ("uid", "category", "licence", "source", "valid", "error", "origin", "input")


def describe_inputs(inputs: Sequence[str], manifest: Path | None) -> Iterator[Facts]:
    """Collect the facts about each store and array, and then about each mesh.

    The facts about a mesh have two entries that are not printed: `of`, the number of meshes, and `unreadable`, which is
    true for one of several mesh files if it cannot be read.

    Args:
        inputs: Paths of stores, meshes, folders of meshes and array files; `-` is standard input.
        manifest: A manifest whose labels replace those of the meshes.

    Raises:
        InputError: A store, an array file or the only mesh cannot be read. If one of several meshes cannot be read, its
            facts contain the error instead.
    """
    meshes = []
    for path in inputs:
        refuse_unfinished(path)
        match find_kind(path):
            case "store":
                yield from _describe_store(path)
            case "arrays":
                yield _describe_arrays(path)
            case _:
                meshes.append(path)
    if meshes:
        yield from _describe_meshes(meshes, manifest)


def _describe_store(path: str) -> Iterator[Facts]:
    from sdfkit.io.stores.reader import open_store

    with open_store(path, manifest=None, partial=True) as store:
        attributes = dict(store.attributes)
        facts = {
            "name": store.name,
            "kind": attributes.pop("kind", "unknown"),
            "format": attributes.pop("format", None),
            "complete": attributes.pop("complete", None),
            "unfinished": describe_unfinished(path),
            # On a pipe, the metadata of the arrays arrive before the rows, so they are read first.
            "arrays": store.describe_arrays(),
            "rows": _count_rows(store) if "uid" in store and "error" in store else None,
            "settings": attributes.pop("settings", {}),
            "history": attributes.pop("history", []),
        }
        facts["training"] = _describe_training(store, facts["arrays"], attributes.pop("progress", {}))
        facts["attributes"] = attributes
    yield facts


def _describe_training(store: "StoreReader", arrays: list[Facts], progress: Facts) -> Facts | None:
    """Return how far a training is, and its mean losses in up to ten intervals; None for other stores."""
    is_pipe = hasattr(store.group.store, "forget")
    found = [array for array in arrays if array["name"] == "loss" and array["axes"] == ("step",)]
    if is_pipe or not found or not found[0]["dtype"].startswith("float"):
        return None
    losses = store.read("loss")
    curve = smooth(losses, 10)
    means = [
        (step, loss if math.isfinite(loss) else None) for step, loss in zip(curve.x, curve.y, strict=True)
    ]
    return {"step": len(losses), **progress, "loss": means}


def _count_rows(store: "StoreReader") -> Facts:
    count = len(store)
    if hasattr(store.group.store, "forget"):
        # A pipe is read row by row, in constant memory, up to its end, so that a truncated stream is noticed.
        count, failed = 0, []
        for row in store.rows():
            count += 1
            failed += [{"uid": row.uid, "error": row.error}] if row.error else []
        return {"count": count, "valid": count - len(failed), "missing": 0, "failed": failed}
    rows = store.all_rows()
    failed = [{"uid": row.uid, "error": row.error} for row in rows if row.error]
    valid = int(store.read("valid", "shape").sum())
    return {"count": count, "valid": valid, "missing": count - valid - len(failed), "failed": failed}


def _describe_arrays(path: str) -> Facts:
    from sdfkit.io.stores.arrays import load_arrays

    stream = open_input(path)
    with nullcontext() if path == STANDARD else stream:
        arrays = load_arrays(stream, name_of(path))
    described = [
        {"name": name, "axes": None, "shape": array.shape, "dtype": array.dtype.name, "bytes": array.nbytes}
        for name, array in arrays.items()
    ]
    return {"name": name_of(path), "kind": "arrays", "arrays": described}


def _describe_meshes(paths: list[str], manifest: Path | None) -> Iterator[Facts]:
    from sdfkit.io.meshes.reader import open_meshes

    with open_meshes(paths, manifest=manifest) as meshes:
        for row in meshes:
            facts = {
                "name": name_of(STANDARD) if paths == [STANDARD] else row.path,
                "kind": "mesh",
                "of": len(meshes),
                **{name: getattr(row, name) for name in ("uid", "category", "licence", "source", "error")},
                "settings": dict(row.info.get("settings", {})),
                "history": row.history,
            }
            if row.path and not Path(row.path).exists():
                facts |= {"unreadable": True}
            elif not row.error:
                try:
                    facts |= _describe_mesh(row)
                except (InputError, MissingError) as error:
                    if len(meshes) == 1:
                        raise
                    facts |= {"error": str(error), "unreadable": True}
                except GeometryError as error:
                    facts |= {"error": str(error)}
            yield facts


def _describe_mesh(row: "MeshRow") -> Facts:
    from sdfkit.geometry.topology import join_vertices

    mesh = row.load()
    facts: Facts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    wrong = int((~np.isfinite(mesh.vertices).all(axis=1)).sum())
    if wrong:
        return facts | {
            "error": f"{wrong} of {counted(len(mesh.vertices), 'vertex')} {agreeing(wrong, 'is', 'are')} not finite"
        }
    if len(mesh.faces) == 0:
        return facts | {"error": "no faces"}
    mesh.remove_unreferenced_vertices()
    joined = join_vertices(mesh)
    return facts | {
        "watertight": bool(joined.is_watertight),
        "euler_number": int(joined.euler_number),
        "pieces": int(joined.body_count),
        "bounds": joined.bounds.tolist(),
    }


def format_store(facts: Facts) -> str:
    """Lay out the facts about a store or arrays as text."""
    state = {True: ", complete", False: ", not complete", None: ""}[facts.get("complete")]
    title = f"{printable(facts['name'])}: {printable(facts['kind'])}{state}"
    parts = [facts["unfinished"]] if facts.get("unfinished") else []
    if rows := facts.get("rows"):
        counts = {"missing": rows["missing"], "failed": len(rows["failed"])}
        title += f", {counted(rows['count'], 'shape')}"
        title += "".join(f", {count} of them {name}" for name, count in counts.items() if count)
        if rows["failed"]:
            parts.append(format_table(("failed", ""), [tuple(row.values()) for row in rows["failed"]]))
    if training := facts.get("training"):
        parts.append(
            format_table(
                ("step", "mean loss"), [(step, loss and f"{loss:.5g}") for step, loss in training["loss"]]
            )
        )
        if "steps" in training:
            parts.append(describe_progress(training))
    lines = [
        (name, " ".join(axes or ()), "×".join(map(str, shape)), dtype, None if count is None else size(count))
        for name, axes, shape, dtype, count in _group_arrays(facts["arrays"])
        if name not in COLUMNS
    ]
    parts.append(format_table(("array", "axes", "shape", "type", "size"), lines))
    return "\n\n".join([title, *parts, *_format_origin(facts)])


def _group_arrays(arrays: list[Facts]) -> Iterator[tuple[str, Any, Any, str, int | None]]:
    """Yield name, axes, shape, type and bytes of each array; the many arrays of one network become one entry."""
    groups: dict[str, list[Facts]] = {}
    for array in arrays:
        groups.setdefault(array["name"].partition("/")[0], []).append(array)
    for name, members in groups.items():
        first = members[0]
        if first["name"] == name:
            yield name or "(array)", first["axes"], first["shape"], first["dtype"], first["bytes"]
        else:
            types = " ".join(sorted({array["dtype"] for array in members}))
            total = sum(array["bytes"] or 0 for array in members)
            yield f"{name}/", (), (counted(len(members), "array"),), types, total


def _format_origin(facts: Facts) -> Iterator[str]:
    """Yield tables of the settings with which an input was made, of its attributes and of its history."""
    for name in ("settings", "attributes"):
        if facts.get(name):
            lines = [
                (key, value if isinstance(value, str) else format_json(value))
                for key, value in facts[name].items()
            ]
            yield format_table((name, ""), lines)
    if facts.get("history"):
        steps = [
            (
                step.get("version", "?"),
                str(step.get("command", "?")),
                f"seed {step['seed']}" if "seed" in step else "",
            )
            for step in facts["history"]
        ]
        yield format_table(("history", "", ""), steps)


def format_mesh(facts: Facts) -> str:
    """Lay out the facts about one mesh as text."""
    lines = [
        (name.replace("euler_", "Euler "), _format_fact(facts.get(name, 0)))
        for name in ("uid", "category", "licence", "source", "error", "vertices", "faces", "watertight",
                     "euler_number", "pieces", "bounds")
        if facts.get(name) not in (None, "") or name == "faces"
    ]  # fmt: skip
    return "\n\n".join(
        [f"{printable(facts['name'])}: mesh\n\n{format_table((), lines)}", *_format_origin(facts)]
    )


def format_meshes(meshes: Sequence[Facts]) -> str:
    """Lay out the facts about several meshes as a table, followed by the settings and history of the first one."""
    names = ("vertices", "faces", "watertight", "euler_number", "pieces")
    header = (
        "uid", "vertices", "faces", "closed", "Euler", "pieces", "extent", "category", "licence", "error",
    )  # fmt: skip
    lines = [
        (
            facts["uid"],
            *(facts.get(name) if name != "watertight" else _format_fact(facts.get(name)) for name in names),
            _format_extent(facts.get("bounds")),
            *(facts[name] for name in ("category", "licence", "error")),
        )
        for facts in meshes
    ]
    return "\n\n".join([format_table(header, lines), *_format_origin(meshes[0])])


def _format_fact(fact: Any) -> str:
    if fact is None or isinstance(fact, bool):
        return {None: "-", True: "yes", False: "no"}[fact]
    if isinstance(fact, list):
        return " to ".join(" ".join(f"{number:.5g}" for number in corner) for corner in fact)
    return str(fact)


def _format_extent(bounds: Any) -> str:
    if bounds is None:
        return ""
    return " ".join(f"{high - low:.4g}" for low, high in zip(*bounds, strict=True))
