"""The report of `weight-stats` on one or two sets of vectors, as facts, as text and as plots.

A vector holds the weights of one small network per shape, or a latent code or feature.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from sdfkit.analysis.statistics import COMPONENTS, Statistics, explain
from sdfkit.analysis.vectors import capture_by_dims, random_cosine_density
from sdfkit.errors import InputError
from sdfkit.io.models.reader import parse_mlp
from sdfkit.models.layers import name_layers
from sdfkit.report.plots import Curve, Panel
from sdfkit.report.tables import Facts, format_table
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.io.stores.contents.vectors import Vectors


def find_parts(sets: Sequence["Vectors"]) -> list[tuple[str, int]]:
    """Check that one or two sets of vectors can be measured and compared, and find the parts of their vectors.

    Returns:
        Name and length of each weight matrix and bias in a vector; empty for vectors that are not network weights.

    Raises:
        InputError: A set has one vector only, or the sets differ in the length of vectors or in architecture.
    """
    for vectors in sets:
        if len(vectors.rows) < 2:
            raise InputError(
                f"{vectors.name}: has one vector, but statistics need two or more; give a set of vectors"
            )
    first, last = sets[0], sets[-1]
    networks = [vectors.attributes.get("network") for vectors in sets]
    if first.dim != last.dim:
        raise InputError(
            f"{last.name}: its vectors have {counted(last.dim, 'number')}, but those of {first.name} have {first.dim}; "
            "compare weights of one architecture, or codes of one length"
        )
    if None not in networks and networks[0] != networks[-1]:
        raise InputError(
            f"{last.name}: has weights of another architecture than {first.name} ({networks[-1]}, {networks[0]}); "
            "compare weights of one architecture"
        )
    described = next((vectors for vectors in sets if vectors.attributes.get("network")), None)
    if described is None:
        return []
    parts = name_layers(parse_mlp(described.attributes, described.name))
    total = sum(length for _, length in parts)
    if total != first.dim:
        raise InputError(
            f"{first.name}: its vectors have {counted(first.dim, 'number')}, but its network has {total}; make "
            "the store again"
        )
    return parts


def describe_statistics(vectors: "Vectors", statistics: Statistics) -> Facts:
    """Collect the statistics of a set of vectors as the facts that --json prints."""
    moments, spectrum, cosines = statistics.moments, statistics.spectrum, statistics.cosines
    to_mean = statistics.to_mean
    central = np.argsort(-to_mean, kind="stable")

    def list_rows(rows: np.ndarray) -> list[Facts]:
        return [{"uid": vectors.rows[row].uid, "cosine": to_mean[row]} for row in rows]

    return {
        "name": vectors.name,
        "rows": len(vectors.rows),
        "dim": vectors.dim,
        "norm": {"mean": moments.norm.mean(), "std": moments.norm.std()},
        "cosine": {
            "mean": moments.mean_cosine,
            "min": cosines.min,
            "max": cosines.max,
            "rows_paired": cosines.rows,
            "counts": cosines.counts,
            "edges": cosines.edges,
        },
        "shared": 1 - moments.variance_share,
        "to_mean": {
            "mean": to_mean.mean(),
            "min": to_mean.min(),
            "max": to_mean.max(),
            "most": list_rows(central[:5]),
            "least": list_rows(central[:-6:-1]),
        },
        "std": {
            "implied": statistics.implied_std,
            "measured": np.sqrt(moments.variance.mean()),
            "median": np.median(statistics.std),
        },
        "floored": statistics.floored,
        "variance_in_dims": dict(zip(statistics.counts.tolist(), statistics.captured.tolist(), strict=True)),
        "variance_in_components": {
            count: share
            for count in COMPONENTS
            if count < min(len(vectors.rows), vectors.dim) and (share := spectrum.capture(count)) is not None
        },
        "components_exact": spectrum.is_exact,
        "effective_rank": spectrum.effective_rank,
        "parts": [asdict(part) for part in statistics.parts],
        "meaning": explain(statistics),
    }


def format_statistics(sets: Sequence[Facts], floor: float) -> str:
    """Lay out the facts of one or two sets as text. The first table has a column for each set.

    Args:
        sets: The facts of each set; see `describe_statistics`.
        floor: The report counts the dimensions whose standard deviation is below this value.
    """
    components = sorted({count for facts in sets for count in facts["variance_in_components"]})
    columns = [_list_figures(facts, floor, components) for facts in sets]
    figures = [(label, *(column[label] for column in columns)) for label in columns[0]]
    texts = [format_table(("", *(facts["name"] for facts in sets)), figures)]
    for facts in sets:
        title = f"{facts['name']}: " if len(sets) > 1 else ""
        ends = {
            which: ", ".join(f"{row['uid']} {row['cosine']:.4f}" for row in facts["to_mean"][which])
            for which in ("most", "least")
        }
        texts.append(
            f"{title}highest cosine to the mean: {ends['most']}\n{title}lowest cosine to the mean: {ends['least']}"
        )
        if facts["parts"]:
            header = ("part", "dimensions", "norm", "shared", "share of variance", "std")
            table = format_table(header, [[*part.values()] for part in facts["parts"]])
            texts.append(f"{title.strip()}\n{table}" if title else table)
        if (paired := facts["cosine"]["rows_paired"]) < facts["rows"]:
            texts.append(f"{title}the range of pairwise cosines was measured on {paired} evenly spaced rows")
        texts.append(f"{title}{facts['meaning']}")
    return "\n\n".join(texts)


def _list_figures(facts: Facts, floor: float, components: Sequence[int]) -> dict[str, str]:
    """Format the figures of one set, by label. The shares of variance are listed for these numbers of `components`."""
    norm, cosine, to_mean, std = (facts[name] for name in ("norm", "cosine", "to_mean", "std"))
    return {
        "vectors": str(facts["rows"]),
        "dimensions": str(facts["dim"]),
        "norm": f"{norm['mean']:.4g} ± {norm['std']:.2g}",
        "pairwise cosine, mean": f"{cosine['mean']:.4f}",
        "pairwise cosine, range": f"{cosine['min']:.4f} to {cosine['max']:.4f}",
        "cosine to the mean, mean": f"{to_mean['mean']:.4f}",
        "cosine to the mean, range": f"{to_mean['min']:.4f} to {to_mean['max']:.4f}",
        "share of squared length in the mean": f"{facts['shared']:.1%}",
        "std per dimension, implied": f"{std['implied']:.4g}",
        "std per dimension, rms": f"{std['measured']:.4g}",
        "std per dimension, median": f"{std['median']:.4g}",
        f"dimensions with std < {floor:g}": str(facts["floored"]),
        **{
            f"variance in top {counted(count, 'dimension')}": f"{share:.1%}"
            for count, share in facts["variance_in_dims"].items()
        },
        **{
            f"variance in top {counted(count, 'component')}": _format_share(facts, count)
            for count in components
        },
        "effective rank": f"{facts['effective_rank']:.4g}",
    }


def _format_share(facts: Facts, components: int) -> str:
    share = facts["variance_in_components"].get(components)
    if share is None:
        return "-"
    return f"{share:.1%}" if facts["components_exact"] else f"at least {share:.1%}"


def plot_statistics(names: Sequence[str], sets: Sequence[Statistics]) -> list[Panel]:
    """Plot one or two sets: cosines of pairs of vectors, cosines of vectors to the mean, and cumulative variance.

    The baselines are vectors of random directions, and a variance that is equal in all dimensions.

    Args:
        names: The name of each set.
        sets: The statistics of each set.
    """
    cosines, to_mean, variances = {}, {}, {}
    random_to_mean: dict[str, Curve | float] = {}
    dim = len(sets[0].moments.variance)
    for name, statistics in zip(names, sets, strict=True):
        edges, counts = statistics.cosines.edges, statistics.cosines.counts
        density = counts / counts.sum() / np.diff(edges)
        cosines[name] = Curve(((edges[1:] + edges[:-1]) / 2).tolist(), density.tolist())
        sorted_cosines = np.sort(statistics.to_mean)[::-1]
        to_mean[name] = Curve(range(1, len(sorted_cosines) + 1), sorted_cosines.tolist())
        count = len(sorted_cosines)
        random_to_mean[f"{count} vectors of random directions"] = count**-0.5
        variance, spectrum = statistics.moments.variance, statistics.spectrum
        numbers = np.unique(np.geomspace(1, dim, 60).astype(int)).tolist()
        variances[f"{name}: dimensions"] = Curve(numbers, capture_by_dims(variance, numbers).tolist())
        shares = np.cumsum(spectrum.variance) / spectrum.total if spectrum.total else np.ones(1)
        variances[f"{name}: components"] = Curve(range(1, len(shares) + 1), shares.tolist())
    equal = {"equal variance of all dimensions": Curve(numbers, [number / dim for number in numbers])}
    random = {}
    if dim > 2:
        places = np.linspace(-1, 1, 201) * min(4 * dim**-0.5, 0.999)
        random["random directions"] = Curve(places.tolist(), random_cosine_density(places, dim).tolist())
    return [
        Panel(
            "Cosines of pairs of vectors", "cosine, from -1 to 1", "density of the pairs per unit of cosine", cosines,
            "", random,
        ),
        Panel(
            "Cosines of vectors with the mean of their set", "rank of the vector, by falling cosine",
            "cosine, from -1 to 1", to_mean, "", random_to_mean,
        ),
        Panel(
            "Cumulative variance", "number of dimensions or components, by falling variance",
            "share of the variance, from 0 to 1", variances, "x", equal,
        ),
    ]  # fmt: skip
