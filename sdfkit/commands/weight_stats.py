from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Json, Manifest, Overwrite, Seed

if TYPE_CHECKING:
    from sdfkit.analysis.statistics import Statistics
    from sdfkit.io.stores.vectors import Vectors

KINDS = ("weights", "codes", "deepsdf", "denoiser", "autoencoder", "flow", "features")


def weight_stats(
    vectors: Annotated[
        str, typer.Argument(metavar="STORE", help="Weights, codes or features, or .npy; - reads a pipe.")
    ] = STANDARD,
    *,
    compare: Annotated[
        str | None, typer.Option(metavar="STORE", help="Vectors of another set, to stand beside these.")
    ] = None,
    floor: Annotated[
        float, typer.Option(min=0, help="Standard deviation below which a dimension is floored.")
    ] = 1e-4,
    bins: Annotated[int, typer.Option(min=1, help="Bins of the histogram of cosines, at most.")] = 50,
    seed: Seed = 0,
    as_json: Json = False,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="PATH", help="Draw it as .png, or keep its arrays as .zarr."),
    ] = None,
    overwrite: Overwrite = False,
    manifest: Manifest = None,
) -> None:
    """Measure how a set of vectors lies: norms, cosines, variance, components, layers.

    Weights that share an anchor lie in a thin shell: nearly all of their length is common, cosines are near 1, and
    what tells shapes apart is a small part spread over thousands of dimensions. Codes lie about the origin.

    The mean cosine is exact. Least, greatest and histogram are of the pairs of evenly spaced rows where there are more
    than 20,000, or more than fit into 256 MB; the report says so. Components are exact up to 2,048 vectors or
    dimensions; beyond, the first 50 are followed by a randomised method, whose shares are lower bounds. Effective
    rank is (sum of variances)^2 / sum of their squares. Memory is flat: long sets are read five or six times.

    The standard deviation of a dimension is told by two routes: as norm and cosine imply it, norm * sqrt((1 - cosine) /
    dimensions), and as measured. They agree where norms do.

    \b
    Examples:
      sdfkit weight-stats weights.zarr
      sdfkit weight-stats anchored.zarr --compare independent.zarr -o geometry.png
      sdfkit weight-stats deepsdf.zarr --json | jq .effective_rank
    """
    import numpy as np

    from sdfkit.analysis.statistics import explain, measure_statistics
    from sdfkit.errors import UsageError
    from sdfkit.io.stores.vectors import open_vectors
    from sdfkit.report.tables import format_json

    if vectors == compare == STANDARD:
        raise UsageError("standard input can be read once; name a file for --compare")
    is_picture = output is not None and not output.rstrip("/").endswith((".zarr", ".zip", STANDARD))
    if output is not None and is_picture:
        from sdfkit.report.plots import check_picture

        check_picture(Path(output), overwrite)
    elif output is not None and compare is not None:
        raise UsageError("a store keeps the arrays of one set; leave --compare out, or draw both as .png")
    with ExitStack() as inputs:
        sets = [
            inputs.enter_context(open_vectors(path, *KINDS, manifest=manifest))
            for path in (vectors, compare)
            if path is not None
        ]
        parts = _check(sets)
        with _create(None if is_picture else output, sets[0], overwrite) as kept:
            found = [
                measure_statistics(
                    each.vectors, [row.uid for row in each.rows], each.name, parts, floor, bins,
                    np.random.default_rng(seed),
                )
                for each in sets
            ]  # fmt: skip
            facts = [_describe(each, one) for each, one in zip(sets, found, strict=True)]
            report = facts[0] | ({"compared": facts[1]} if compare is not None else {})
            typer.echo(
                format_json(report) if as_json else _tell(facts, floor, [explain(one) for one in found])
            )
            if kept is not None:
                _keep(kept, sets[0], found[0])
    if output is not None and is_picture:
        _draw(Path(output), [each.name for each in sets], found, overwrite)


def _check(sets: list["Vectors"]) -> list[tuple[str, int]]:
    """The layers that the vectors are made of, after refusing sets that do not go together."""
    from sdfkit.analysis.vectors import name_layers
    from sdfkit.errors import InputError

    for each in sets:
        if len(each.rows) < 2:
            raise InputError(f"{each.name}: one row; how a set lies takes two or more")
    networks = [each.attributes.get("network") for each in sets]
    if sets[0].dim != sets[-1].dim:
        raise InputError(
            f"{sets[-1].name}: rows of {sets[-1].dim} numbers, but {sets[0].name} has {sets[0].dim}; "
            "compare weights of one architecture, or codes of one length"
        )
    if None not in networks and networks[0] != networks[-1]:
        raise InputError(
            f"{sets[-1].name}: weights of another architecture than {sets[0].name} ({networks[-1]}, {networks[0]})"
        )
    network = next((network for network in networks if network), None)
    if network is None:
        return []
    parts = name_layers(network["bands"], network["hidden"], network["layers"])
    total = sum(length for _, length in parts)
    if total != sets[0].dim:
        raise InputError(
            f"{sets[0].name}: rows of {sets[0].dim} numbers, but its network has {total}; make the store again"
        )
    return parts


def _create(output: str | None, each: "Vectors", overwrite: bool) -> Any:
    if output is None:
        return nullcontext()
    from sdfkit.io.stores.writer import create_store

    rows = [replace(row, index=index) for index, row in enumerate(each.rows)]
    return create_store(
        output, "stats", rows=rows, history=each.history, settings={"vectors": each.name}, overwrite=overwrite
    )


def _describe(each: "Vectors", found: "Statistics") -> dict[str, Any]:
    import numpy as np

    from sdfkit.analysis.statistics import COMPONENTS, explain

    moments, spectrum = found.moments, found.spectrum
    central = np.argsort(-found.to_mean, kind="stable")
    return {
        "name": each.name,
        "rows": len(each.rows),
        "dim": each.dim,
        "norm": {"mean": moments.norm.mean(), "std": moments.norm.std()},
        "cosine": {
            "mean": moments.mean_cosine,
            "min": found.pairs.min,
            "max": found.pairs.max,
            "rows_paired": found.pairs.rows,
            "counts": found.pairs.counts,
            "edges": found.pairs.edges,
        },
        "shared": 1 - moments.own_share,
        "to_mean": {
            "mean": found.to_mean.mean(),
            "min": found.to_mean.min(),
            "max": found.to_mean.max(),
            "most": [{"uid": each.rows[row].uid, "cosine": found.to_mean[row]} for row in central[:5]],
            "least": [{"uid": each.rows[row].uid, "cosine": found.to_mean[row]} for row in central[:-6:-1]],
        },
        "std": {
            "implied": found.implied_std,
            "measured": np.sqrt(moments.variance.mean()),
            "median": np.median(found.std),
        },
        "floored": found.floored,
        "variance_in_dims": dict(zip(found.counts.tolist(), found.captured.tolist(), strict=True)),
        "variance_in_components": {
            count: share
            for count in COMPONENTS
            if count < min(len(each.rows), each.dim) and (share := spectrum.capture(count)) is not None
        },
        "components_exact": spectrum.is_exact,
        "effective_rank": spectrum.effective_rank,
        "parts": [asdict(part) for part in found.parts],
        "meaning": explain(found),
    }


def _tell(facts: list[dict[str, Any]], floor: float, meanings: list[str]) -> str:
    from sdfkit.report.tables import format_table

    def short(value: Any) -> str:
        return f"{value:.4g}"

    lines: list[tuple[str, Any]] = [
        ("vectors", lambda fact: str(fact["rows"])),
        ("numbers in each", lambda fact: str(fact["dim"])),
        ("norm", lambda fact: f"{fact['norm']['mean']:.4g} ± {fact['norm']['std']:.2g}"),
        ("pairwise cosine", lambda fact: f"{fact['cosine']['mean']:.4f}"),
        ("  least, greatest", lambda fact: f"{fact['cosine']['min']:.4f}, {fact['cosine']['max']:.4f}"),
        ("cosine to the mean", lambda fact: f"{fact['to_mean']['mean']:.4f}"),
        ("  least, greatest", lambda fact: f"{fact['to_mean']['min']:.4f}, {fact['to_mean']['max']:.4f}"),
        ("squared length shared", lambda fact: f"{fact['shared']:.1%}"),
        ("std of a dimension, implied", lambda fact: short(fact["std"]["implied"])),
        ("  measured, rms", lambda fact: short(fact["std"]["measured"])),
        ("  measured, median", lambda fact: short(fact["std"]["median"])),
        (f"dimensions with std < {floor:g}", lambda fact: str(fact["floored"])),
        *(
            (
                f"variance in top {count} dims",
                lambda fact, count=count: f"{fact['variance_in_dims'][count]:.1%}",
            )
            for count in facts[0]["variance_in_dims"]
        ),
        *(
            (f"variance in top {count} components", lambda fact, count=count: _share(fact, count))
            for count in sorted({count for fact in facts for count in fact["variance_in_components"]})
        ),
        ("effective rank", lambda fact: short(fact["effective_rank"])),
    ]
    table = format_table(
        ("", *(fact["name"] for fact in facts)), [(name, *map(tell, facts)) for name, tell in lines]
    )
    texts = [table]
    for fact, meaning in zip(facts, meanings, strict=True):
        title = f"{fact['name']}: " if len(facts) > 1 else ""
        ends = [
            f"{title}{which} central: "
            + ", ".join(f"{near['uid']} {near['cosine']:.4f}" for near in fact["to_mean"][which])
            for which in ("most", "least")
        ]
        texts.append("\n".join(ends))
        if fact["parts"]:
            header = ("part", "numbers", "norm", "shared", "of the variance", "std")
            texts.append(
                title + "\n" * bool(title) + format_table(header, [[*p.values()] for p in fact["parts"]])
            )
        if fact["cosine"]["rows_paired"] < fact["rows"]:
            count = fact["cosine"]["rows_paired"]
            texts.append(f"{title}least and greatest cosine are of the pairs of {count} evenly spaced rows")
        texts.append(f"{title}{meaning}")
    return "\n\n".join(texts)


def _share(fact: dict[str, Any], count: int) -> str:
    share = fact["variance_in_components"].get(count)
    return "-" if share is None else f"{share:.1%}" if fact["components_exact"] else f"at least {share:.1%}"


def _keep(kept: Any, each: "Vectors", found: "Statistics") -> None:
    import numpy as np

    kept.create_array("norm", data=found.moments.norm.astype(np.float32), axes=("shape",))
    kept.create_array("cosine_to_mean", data=found.to_mean.astype(np.float32), axes=("shape",))
    kept.create_array("mean", data=found.moments.mean.astype(np.float32), axes=("dim",))
    kept.create_array("std", data=found.std.astype(np.float32), axes=("dim",))
    kept.create_array("component_variance", data=found.spectrum.variance, axes=("component",))
    kept.create_array("cosine_count", data=found.pairs.counts, axes=("bin",))
    kept.create_array("cosine_edge", data=found.pairs.edges, axes=("edge",))
    for index, row in enumerate(each.rows):
        kept.write(replace(row, index=index))


def _draw(output: Path, names: list[str], found: list["Statistics"], overwrite: bool) -> None:
    import numpy as np

    from sdfkit.analysis.vectors import capture_by_dims
    from sdfkit.report.plots import Curve, Panel, draw_panels

    cosines, norms, variances = {}, {}, {}
    for name, one in zip(names, found, strict=True):
        middle = (one.pairs.edges[1:] + one.pairs.edges[:-1]) / 2
        cosines[name] = Curve(middle.tolist(), (one.pairs.counts / one.pairs.counts.sum()).tolist())
        norms[name] = Curve(range(1, len(one.to_mean) + 1), np.sort(one.to_mean)[::-1].tolist())
        counts = np.unique(np.geomspace(1, len(one.moments.mean), 60).astype(int)).tolist()
        variances[f"{name}: dimensions"] = Curve(
            counts, capture_by_dims(one.moments.variance, counts).tolist()
        )
        shares = np.cumsum(one.spectrum.variance) / one.spectrum.total if one.spectrum.total else np.ones(1)
        variances[f"{name}: components"] = Curve(range(1, len(shares) + 1), shares.tolist())
    panels = [
        Panel("Cosines of pairs", "cosine", "share of the pairs", cosines, ""),
        Panel("Cosine to the mean", "shapes, the most central first", "cosine", norms, ""),
        Panel("Variance", "how many, the greatest first", "share of the variance", variances, "x"),
    ]
    draw_panels(output, panels, overwrite=overwrite)
