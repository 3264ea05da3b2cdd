#!/usr/bin/env python3
"""Measure how well an image encoder's features identify real objects, compared with raw pixels and chance.

    sdfkit render closed/ --views 24 -o views.zarr
    sdfkit embed views.zarr --model efficientnet-lite0 -o features.zarr
    python encoders.py features.zarr views.zarr

Prints a table in Markdown: the percentage of objects for which the nearest neighbour, by cosine, is right. The vectors
of 1, 2, 4 or 8 views of an object are averaged first. There are two tests:

object: the query is some views of an object; the candidates are other views of every object. The nearest candidate
must be the same object.
type: the query is one object; the candidates are all other objects. The nearest candidate must have the same type.
Types are the categories in the manifest. Types with fewer than `--least` objects are candidates, but not queries.

The views of each object are chosen at random, so two objects need not be seen from the same direction. "Centred" means
that the mean vector of all objects is subtracted. In brackets: the 95 % interval of a bootstrap over objects.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from sdfkit.errors import InputError, SdfkitError
from sdfkit.geometry.metrics import bootstrap_interval
from sdfkit.io.stores.reader import open_store

COUNTS = (1, 2, 4, 8)
SIDE = 16


def read_vectors(features: str, views: str, manifest: Path | None) -> tuple[list[str], dict[str, np.ndarray]]:
    """The type of each object, and arrays (object, view, dim) by name: pixels, then features."""
    with open_store(features, "features", manifest=manifest) as store:
        rows, arrays = store.read_rows("feature")
        name = store.attributes.get("encoder", {}).get("model", "features")
    place = {row.uid: index for index, row in enumerate(rows)}
    feature = arrays["feature"]
    pixels = np.zeros((*feature.shape[:2], 3 * SIDE * SIDE), np.float32)
    missing = set(place)
    with open_store(views, "views", manifest=None) as store:
        for row in store.rows("rgb"):
            if row.uid in missing and not row.error:
                missing.remove(row.uid)
                pixels[place[row.uid]] = shrink(row.arrays["rgb"], feature.shape[1], views)
    if missing:
        raise InputError(
            f"{views}: has no views of {len(missing)} of the objects; the first of these is {min(missing)}"
        )
    return [row.category for row in rows], {f"{SIDE}×{SIDE} pixels": pixels, name: feature}


def shrink(rgb: np.ndarray, count: int, name: str) -> np.ndarray:
    """Reduce each image of (view, row, column, channel) to a vector of its means over a grid."""
    if len(rgb) != count or rgb.shape[1] % SIDE or rgb.shape[2] % SIDE:
        raise InputError(
            f"{name}: the images of an object have shape {' × '.join(map(str, rgb.shape))}; {count} views are needed, "
            f"as many as the features have, with width and height divisible by {SIDE}"
        )
    blocks = rgb.reshape(count, SIDE, rgb.shape[1] // SIDE, SIDE, rgb.shape[2] // SIDE, 3)
    means: np.ndarray = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)
    return means


def average(vectors: np.ndarray, chosen: np.ndarray, centred: bool) -> np.ndarray:
    """The mean vector of each object over its chosen views; centred: less the mean of all objects."""
    means: np.ndarray = np.take_along_axis(vectors, chosen[:, :, None], axis=1).mean(axis=1)
    return means - means.mean(axis=0) if centred else means


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-30) for rows in (first, second)
    )
    product: np.ndarray = first @ second.T
    return product


def find_object(queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether the nearest vector in `others` belongs to the same object, for each query."""
    return np.arange(len(queries)) == cosines(queries, others).argmax(axis=1)


def find_type(vectors: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Whether the nearest other object has the same type, for each object."""
    likeness = cosines(vectors, vectors)
    np.fill_diagonal(likeness, -np.inf)
    hits: np.ndarray = types[likeness.argmax(axis=1)] == types
    return hits


def measure(
    vectors: np.ndarray, types: np.ndarray, asked: np.ndarray, *, centred: bool, draws: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each number of views in `COUNTS`: the share of draws in which each object was found, and the share in which
    its type was, for the objects in `asked`.
    """
    objects, kinds = [], []
    for count in COUNTS:
        rng = np.random.default_rng(seed)  # every kind of vector is compared on the same views
        found = []
        for _ in range(draws):
            views = rng.permuted(np.tile(np.arange(vectors.shape[1]), (len(vectors), 1)), axis=1)
            first, second = (average(vectors, views[:, at : at + count], centred) for at in (0, count))
            found.append((find_object(first, second), find_type(first, types)))
        shares = np.mean(found, axis=0)
        objects.append(shares[0])
        kinds.append(shares[1][asked])
    return objects, kinds


def chance(types: np.ndarray, asked: np.ndarray) -> float:
    """The probability that another object, chosen at random, has the same type as the query."""
    share = (types[:, None] == types).sum(axis=1) - 1
    return float(share[asked].mean() / (len(types) - 1))


def cell(shares: np.ndarray, rng: np.random.Generator) -> str:
    low, high = bootstrap_interval(shares, rng)
    return f"{100 * shares.mean():.1f} ({100 * low:.0f} to {100 * high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("features", help="store written by sdfkit embed")
    parser.add_argument("views", help="store written by sdfkit render, from which the features were computed")
    parser.add_argument("--manifest", type=Path, help="manifest whose categories replace those in the store")
    parser.add_argument(
        "--least", type=int, default=5, help="fewest objects of a type for which its objects are queries"
    )
    parser.add_argument(
        "--draws", type=int, default=5, help="number of random choices of views to average over"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        names, methods = read_vectors(options.features, options.views, options.manifest)
    except SdfkitError as error:
        sys.exit(f"encoders: {error}")
    many = Counter(name for name in names if name)
    asked = np.array([many[name] >= options.least for name in names])
    types = np.array(names)
    view_count = next(iter(methods.values())).shape[1]
    needed = 2 * max(COUNTS)
    if not asked.any() or view_count < needed:
        sys.exit(
            f"encoders: {needed} views of each object are needed, there are {view_count}; "
            f"and a type with at least {options.least} objects is needed"
        )

    rng = np.random.default_rng(options.seed)
    heads = [f"{what}, {count} view{'s'[: count - 1]}" for what in ("object", "type") for count in COUNTS]
    print(f"| {len(names)} objects; {asked.sum()} of {len(set(types[asked]))} types | {' | '.join(heads)} |")
    print("|---" * (1 + len(heads)) + "|")
    luck = [100 / len(names)] * len(COUNTS) + [100 * chance(types, asked)] * len(COUNTS)
    print(f"| chance | {' | '.join(f'{share:.1f}' for share in luck)} |")
    for name, vectors in methods.items():
        for centred in (False, True):
            found = measure(vectors, types, asked, centred=centred, draws=options.draws, seed=options.seed)
            cells = [cell(shares, rng) for group in found for shares in group]
            print(f"| {name}{', centred' * centred} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
