from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Json, Manifest

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow
    from sdfkit.io.stores.reader import StoreReader

Facts = dict[str, Any]
# Every table has these; people need not be told.
COLUMNS = ("uid", "category", "licence", "source", "valid", "error")


def info(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE|MESH", help="Stores, meshes, folders of meshes, .npy or .npz; - reads a pipe."
        ),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    as_json: Json = False,
    manifest: Manifest = None,
) -> None:
    """Tell what a store or mesh is, whether it is whole, and how it was made.

    Of a store: its kind, rows, failed shapes with their reasons, arrays, settings and history. A store whose
    making was interrupted is described as far as it goes. Of a mesh: vertices, faces, whether it is closed,
    Euler number, pieces, bounds, labels and history. Where the faces of a file do not close, vertices in one
    place count as one, since many formats repeat them. --json prints one object a line.

    \b
    Examples:
      sdfkit info samples.zarr
      sdfkit info closed/ --json | jq -r 'select(.watertight | not).uid'
      sdfkit render chair.glb | sdfkit info
    """
    from sdfkit.errors import InputError
    from sdfkit.report.tables import format_json

    several: list[Facts] = []
    unreadable = 0
    for facts in _describe(inputs, manifest):
        unreadable += facts.get("unreadable", False)
        if as_json:
            typer.echo(
                format_json({name: fact for name, fact in facts.items() if name not in ("of", "unreadable")})
            )
        elif facts["kind"] == "mesh" and facts["of"] > 1:
            several.append(facts)
        else:
            typer.echo(_tell_mesh(facts) if facts["kind"] == "mesh" else _tell_store(facts))
    if several:
        typer.echo(_tell_meshes(several))
    if unreadable:
        raise InputError(f"{unreadable} of the meshes cannot be read, for the reasons above; make them again")


def _describe(inputs: list[str], manifest: Path | None) -> Iterator[Facts]:
    """One set of facts for each store, and then for each mesh."""
    from sdfkit.io.streams import find_kind

    meshes = []
    for path in inputs:
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
            # The arrays first: on a pipe, what comes before the rows.
            "arrays": store.describe_arrays(),
            "rows": _describe_rows(store) if "uid" in store and "error" in store else None,
            "settings": attributes.pop("settings", {}),
            "history": attributes.pop("history", []),
            "attributes": attributes,
        }
    yield facts


def _describe_rows(store: "StoreReader") -> Facts:
    count = len(store)
    if hasattr(store.group.store, "forget"):
        # Through a pipe row by row, in flat memory; all that are announced have to come.
        failed = [{"uid": row.uid, "error": row.error} for row in store.rows() if row.error]
        return {"count": count, "valid": count - len(failed), "missing": 0, "failed": failed}
    rows = store.all_rows()
    failed = [{"uid": row.uid, "error": row.error} for row in rows if row.error]
    valid = int(store.read("valid", "shape").sum())
    return {"count": count, "valid": valid, "missing": count - valid - len(failed), "failed": failed}


def _describe_arrays(path: str) -> Facts:
    from contextlib import nullcontext

    from sdfkit.io.stores.arrays import load_arrays
    from sdfkit.io.streams import name_of, open_input

    stream = open_input(path)
    with nullcontext() if path == STANDARD else stream:
        arrays = load_arrays(stream, name_of(path))
    described = [
        {"name": name, "axes": None, "shape": array.shape, "dtype": array.dtype.name, "bytes": array.nbytes}
        for name, array in arrays.items()
    ]
    return {"name": name_of(path), "kind": "arrays", "arrays": described}


def _describe_meshes(paths: list[str], manifest: Path | None) -> Iterator[Facts]:
    from sdfkit.errors import InputError
    from sdfkit.io.meshes.reader import open_meshes

    with open_meshes(paths, manifest=manifest) as meshes:
        for row in meshes:
            facts = {
                "name": row.path if paths != [STANDARD] else "standard input",
                "kind": "mesh",
                "of": len(meshes),
                **{name: getattr(row, name) for name in ("uid", "category", "licence", "source", "error")},
                "settings": dict(row.info.get("settings", {})),
                "history": row.history,
            }
            if not row.error:
                try:
                    facts |= _describe_mesh(row)
                except InputError as error:
                    if len(meshes) == 1:
                        raise
                    facts |= {"error": str(error), "unreadable": True}
            yield facts


def _describe_mesh(row: "MeshRow") -> Facts:
    import numpy as np

    mesh = row.load()
    facts: Facts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    wrong = int((~np.isfinite(mesh.vertices).all(axis=1)).sum())
    if wrong:
        return facts | {"error": f"{wrong} of {len(mesh.vertices)} vertices are not finite"}
    if len(mesh.faces) == 0:
        return facts | {"error": "no faces"}
    mesh.remove_unreferenced_vertices()
    if not mesh.is_watertight:
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
    return facts | {
        "watertight": bool(mesh.is_watertight),
        "euler_number": int(mesh.euler_number),
        "pieces": int(mesh.body_count),
        "bounds": mesh.bounds.tolist(),
    }


def _tell_store(facts: Facts) -> str:
    from sdfkit.report.tables import format_table

    state = {True: ", complete", False: ", not complete", None: ""}[facts.get("complete")]
    title = f"{facts['name']}: {facts['kind']}{state}"
    parts = []
    if rows := facts.get("rows"):
        counts = {"missing": rows["missing"], "failed": len(rows["failed"])}
        title += f", {rows['count']} shape{'s'[: rows['count'] - 1]}"
        title += "".join(f", {count} of them {name}" for name, count in counts.items() if count)
        if rows["failed"]:
            parts.append(format_table(("failed", ""), [tuple(row.values()) for row in rows["failed"]]))
    lines = [
        (name, " ".join(axes or ()), "×".join(map(str, shape)), dtype, None if size is None else _size(size))
        for name, axes, shape, dtype, size in _grouped(facts["arrays"])
        if name not in COLUMNS
    ]
    parts.append(format_table(("array", "axes", "shape", "type", "size"), lines))
    return "\n\n".join([title, *parts, *_tell_making(facts)])


def _grouped(arrays: list[Facts]) -> Iterator[tuple[str, Any, Any, str, int | None]]:
    """Arrays as lines of a table; those of a network, which are many, in one line."""
    groups: dict[str, list[Facts]] = {}
    for array in arrays:
        groups.setdefault(array["name"].partition("/")[0], []).append(array)
    for name, members in groups.items():
        first = members[0]
        if first["name"] == name:
            yield name or "(one)", first["axes"], first["shape"], first["dtype"], first["bytes"]
        else:
            types = " ".join(sorted({array["dtype"] for array in members}))
            size = sum(array["bytes"] or 0 for array in members)
            yield f"{name}/", (), (f"{len(members)} arrays",), types, size


def _tell_making(facts: Facts) -> Iterator[str]:
    from sdfkit.report.tables import format_json, format_table

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


def _tell_mesh(facts: Facts) -> str:
    from sdfkit.report.tables import format_table

    lines = [
        (name.replace("euler_", "Euler "), _word(facts[name]))
        for name in ("uid", "category", "licence", "source", "error", "vertices", "faces", "watertight",
                     "euler_number", "pieces", "bounds")
        if facts.get(name) not in (None, "") or name == "faces"
    ]  # fmt: skip
    return "\n\n".join([f"{facts['name']}: mesh\n\n{format_table((), lines)}", *_tell_making(facts)])


def _tell_meshes(meshes: list[Facts]) -> str:
    from sdfkit.report.tables import format_table

    names = ("vertices", "faces", "watertight", "euler_number", "pieces")
    header = (
        "uid",
        "vertices",
        "faces",
        "closed",
        "Euler",
        "pieces",
        "extent",
        "category",
        "licence",
        "error",
    )
    lines = [
        (
            facts["uid"],
            *(facts.get(name) if name != "watertight" else _word(facts.get(name)) for name in names),
            _extent(facts.get("bounds")),
            *(facts[name] for name in ("category", "licence", "error")),
        )
        for facts in meshes
    ]
    return "\n\n".join([format_table(header, lines), *_tell_making(meshes[0])])


def _word(fact: Any) -> str:
    if fact is None or isinstance(fact, bool):
        return {None: "-", True: "yes", False: "no"}[fact]
    if isinstance(fact, list):
        return " to ".join(" ".join(f"{number:.5g}" for number in corner) for corner in fact)
    return str(fact)


def _extent(bounds: Any) -> str:
    if bounds is None:
        return ""
    return " ".join(f"{high - low:.4g}" for low, high in zip(*bounds, strict=True))


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.4g} GB"
