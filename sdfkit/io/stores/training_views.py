"""The door to pictures for training: views at the size that a flow looks at, with outlines and cameras."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.stores.reader import open_store

if TYPE_CHECKING:
    from sdfkit.io.stores.reader import ArrayRow, StoreReader
    from sdfkit.rows import Row
    from sdfkit.training.flow.pictures import Pictures

log = logging.getLogger(__name__)
# Shapes whose first views tell what an exact field loses: outlines of full size take time.
JUDGED = 32


class Seen(NamedTuple):
    """Shapes that can be seen, and how."""

    rows: "list[Row]"
    pictures: "Pictures"
    history: list[dict[str, Any]]
    condition: str
    """What a conditioner looks at: picture, feature or token."""
    encoder: dict[str, Any]
    """What made the features, if those are what it looks at."""
    exact: float
    """What the silhouettes of an exact field would lose, by masks of full size."""


def read_pictures(
    views: str,
    features: str | None,
    *,
    most: int | None,
    parts: bool,
    size: int,
    temperature: float,
    manifest: Path | None,
) -> Seen:
    """Read views for training, shape by shape, each made small at once.

    Args:
        views: A views store.
        features: Features of the same shapes, to look at in place of the pictures.
        most: Use so many views of each shape, of each from elsewhere.
        parts: Take the features of patches where there are any, not those of whole pictures.
        size: Pixels a side of the masks and shades that teach.
        temperature: Of the soft silhouette that an exact field is judged at.
        manifest: Labels to prefer.

    Raises:
        InputError: No masks, too few views, or fewer than two shapes that can be learned from.
    """
    import torch

    from sdfkit.training.flow.pictures import Pictures

    with open_store(views, "views", manifest=manifest) as store:
        _check_sizes(store, most)
        rows, shapes, first = [], [], ""
        exact: list[float] = []
        for row in store.rows("rgb", "mask", "camera_to_world", "yfov"):
            try:
                shapes.append(_shrink(row, most, size))
                if len(exact) < JUDGED:
                    exact.append(_score_exact(row, temperature))
            except GeometryError as error:
                log.warning("%s: left out: %s", row.uid, error)
                first = first or f"{row.uid}: {error}"
                continue
            rows.append(row)
        history, name = store.history, store.name
    known: dict[str, np.ndarray] | None = None
    condition = "picture"
    encoder: dict[str, Any] = {}
    if features is not None:
        condition, encoder, known, steps = _read_features(features, parts)
        history = [*history, *steps]
        both = [index for index, row in enumerate(rows) if row.uid in known]
        if not both:
            raise InputError(f"{features}: has no shape of {name}; their uids must be the same")
        if len(both) < len(rows):
            log.warning("%d of %d shapes have no features and are left out", len(rows) - len(both), len(rows))
        rows, shapes = [rows[index] for index in both], [shapes[index] for index in both]
    if len(rows) < 2:
        reason = f" ({first})" if first else ""
        raise InputError(f"{name}: {len(rows)} shapes to learn from, where two or more are needed{reason}")
    rgb, grey, mask, distances, cameras, yfov = (
        torch.from_numpy(np.stack(part)) for part in zip(*shapes, strict=True)
    )
    if rgb.shape[1] == 1:
        log.warning("one view a shape: depth is free, and silhouettes are met by wrong shapes")
    own = None if known is None else torch.from_numpy(np.stack([known[row.uid] for row in rows]))
    return Seen(
        [replace(row, index=index) for index, row in enumerate(_plain(rows))],
        Pictures(rgb, grey, mask, distances, cameras, yfov, own), history, condition, encoder, float(np.mean(exact)),
    )  # fmt: skip


def _plain(rows: "list[ArrayRow]") -> "list[Row]":
    from sdfkit.rows import Row

    names = Row.__dataclass_fields__
    return [Row(**{name: getattr(row, name) for name in names}) for row in rows]


def _check_sizes(store: "StoreReader", most: int | None) -> None:
    """Refuse views that cannot teach, before any of them is read."""
    if "mask" not in store:
        raise InputError(
            f"{store.name}: views without masks, which are all that a flow learns from; render again"
        )
    _, views, height, width, _ = store.array("rgb").shape
    if height != width or store.array("mask").shape[2:] != (height, width):
        sizes = f"{height}×{width} and masks of {'×'.join(map(str, store.array('mask').shape[2:]))}"
        raise InputError(f"{store.name}: pictures of {sizes}: both must be square, and of one size")
    if most is not None and most > views:
        raise InputError(f"{store.name}: {views} views of a shape, but --views-per-shape {most}")


def _shrink(row: "ArrayRow", most: int | None, size: int) -> tuple[np.ndarray, ...]:
    from sdfkit.images.rendering.cameras import check_outside
    from sdfkit.images.silhouettes import mask_distances, shrink_masks, shrink_pictures
    from sdfkit.models.flow import SIZE

    if row.error:
        raise GeometryError(row.error)
    rgb, mask, cameras, yfov = (row.arrays[name] for name in ("rgb", "mask", "camera_to_world", "yfov"))
    if most is not None:
        # Evenly spread, and each shape from elsewhere: what one view leaves open, those of its kind may tell.
        chosen = (row.index + np.arange(most) * len(rgb) // most) % len(rgb)
        rgb, mask, cameras, yfov = (part[chosen] for part in (rgb, mask, cameras, yfov))
    check_outside(cameras)
    masks = shrink_masks(mask, size)
    grey = np.rint(shrink_pictures(rgb, size).mean(axis=-1)).astype(np.uint8)
    distances = mask_distances(masks).astype(np.float16)
    return shrink_pictures(rgb, SIZE), grey, masks, distances, cameras, yfov


def _score_exact(row: "ArrayRow", temperature: float) -> float:
    import torch

    from sdfkit.images.silhouettes import mask_distances
    from sdfkit.models.rendering.outlines import ideal_loss, pixel_lengths

    masks = row.arrays["mask"][:1] >= 128
    cameras, yfov = (torch.from_numpy(row.arrays[name][:1]) for name in ("camera_to_world", "yfov"))
    lengths = pixel_lengths(cameras, yfov, *masks.shape[1:])
    return ideal_loss(torch.from_numpy(mask_distances(masks)), lengths, temperature).item()


def _read_features(
    path: str, parts: bool
) -> tuple[str, dict[str, Any], dict[str, np.ndarray], list[dict[str, Any]]]:
    with open_store(path, "features", manifest=None) as store:
        condition = "token" if parts and "token" in store else "feature"
        rows, arrays = store.read_rows(condition)
        vectors = arrays[condition]
        if condition == "feature":
            vectors = vectors[:, :, None]  # (shape, view, patch, feature)
        named = {row.uid: vector for row, vector in zip(rows, vectors, strict=True)}
        return condition, store.attributes.get("encoder", {}), named, store.history
