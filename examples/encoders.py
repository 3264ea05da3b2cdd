#!/usr/bin/env python3
"""Tell what an encoder's features are worth on real objects, beside chance and raw pixels.

    sdfkit render closed/ --views 24 -o views.zarr
    sdfkit embed views.zarr --model efficientnet-lite0 -o features.zarr
    python encoders.py features.zarr views.zarr

Prints a table in Markdown, in per cent, by nearest neighbour (cosine), for one and more views averaged:

same object: other views of every object are searched for each object; the nearest are its own.
same type: each object is left out and searched for among all others; the nearest has its type. Only types of some
objects are asked for; the others stay among those that can be found. Types are the manifest's categories.

Views are drawn for each object anew, so no two objects need be seen from the same side. "Centred" features have
the mean feature of all objects taken off. In brackets: the 95 % interval of a bootstrap over objects.
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
    """The type of each object, and its vectors (object, view, dim) by name: pixels, and features."""
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
        raise InputError(f"{views}: has no views of {len(missing)} of the objects, first {min(missing)}")
    return [row.category for row in rows], {f"{SIDE}×{SIDE} pixels": pixels, name: feature}


def shrink(rgb: np.ndarray, count: int, name: str) -> np.ndarray:
    """Pictures (view, row, column, channel) as means over a grid, one vector each."""
    if len(rgb) != count or rgb.shape[1] % SIDE or rgb.shape[2] % SIDE:
        raise InputError(
            f"{name}: {' × '.join(map(str, rgb.shape))}; needed are {count} views, as the features have, "
            f"of sides that {SIDE} divides"
        )
    blocks = rgb.reshape(count, SIDE, rgb.shape[1] // SIDE, SIDE, rgb.shape[2] // SIDE, 3)
    means: np.ndarray = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)
    return means


def average(vectors: np.ndarray, chosen: np.ndarray, centred: bool) -> np.ndarray:
    """Each object's mean over its chosen views."""
    means: np.ndarray = np.take_along_axis(vectors, chosen[:, :, None], axis=1).mean(axis=1)
    return means - means.mean(axis=0) if centred else means


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-30) for rows in (first, second)
    )
    product: np.ndarray = first @ second.T
    return product


def find_object(queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Where the nearest of the other views are the object's own."""
    return np.arange(len(queries)) == cosines(queries, others).argmax(axis=1)


def find_type(vectors: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Where the nearest other object has the object's type."""
    likeness = cosines(vectors, vectors)
    np.fill_diagonal(likeness, -np.inf)
    hits: np.ndarray = types[likeness.argmax(axis=1)] == types
    return hits


def measure(
    vectors: np.ndarray, types: np.ndarray, asked: np.ndarray, *, centred: bool, draws: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each of `COUNTS` the share of draws in which each object, and each asked object's type, was found."""
    objects, kinds = [], []
    for count in COUNTS:
        rng = np.random.default_rng(seed)  # the same views for everything that is compared
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
    """How often a random other object has the type of the one that is asked for."""
    share = (types[:, None] == types).sum(axis=1) - 1
    return float(share[asked].mean() / (len(types) - 1))


def cell(shares: np.ndarray, rng: np.random.Generator) -> str:
    low, high = bootstrap_interval(shares, rng)
    return f"{100 * shares.mean():.1f} ({100 * low:.0f} to {100 * high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("features", help="store of sdfkit embed")
    parser.add_argument("views", help="store of sdfkit render that it was made from")
    parser.add_argument("--manifest", type=Path, help="types to prefer over those in the store")
    parser.add_argument("--least", type=int, default=5, help="objects of a type that is asked for")
    parser.add_argument("--draws", type=int, default=5, help="draws of views")
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
            f"encoders: {needed} views are needed, there are {view_count}; and a type of {options.least} objects"
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
