"""Reads views for training a flow: images scaled to its input size, masks, distances to outlines, and cameras."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.io.stores.contents.posed_views import require_masks
from sdfkit.io.stores.reader import open_store
from sdfkit.io.tables.joined import open_stores
from sdfkit.rows import Row, require_same_origins
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.io.stores.store_reader import ArrayRow, StoreReader
    from sdfkit.training.flow.pictures import Pictures
    from sdfkit.training.flow.recipes import FlowSettings

log = logging.getLogger(__name__)
# Number of shapes whose first view is used to measure the ideal loss; masks of full size take time.
JUDGED = 32


class TrainingViews(NamedTuple):
    """Views of shapes for training, and the features on which the flow is conditioned, if there are any."""

    rows: "list[Row]"
    pictures: "Pictures"
    history: list[dict[str, Any]]
    condition: str
    """Input of the conditioner: "picture" (images), "feature" (one vector per view) or "token" (vectors of patches)."""
    encoder: dict[str, Any]
    """Description of the encoder that computed the features; empty if the flow is conditioned on images."""
    ideal_loss: float
    """Silhouette loss that exact distance fields of the shapes would have, measured on masks of full size."""


def read_training_views(
    views: Sequence[str],
    features: str | None,
    held_out: str | None,
    recipe: "FlowSettings",
    *,
    most: int | None,
    parts: bool,
    manifest: Path | None,
) -> tuple[TrainingViews, TrainingViews | None]:
    """Read the views of the training shapes, and all views of the held-out shapes; see `read_pictures`.

    Args:
        views: A views store, or several that are read as one.
        features: A features store of the training shapes, or None.
        held_out: A views store of the held-out shapes, or None.
        recipe: Settings of the training: size of the images, temperature of silhouettes.
        most: Number of views to use of each training shape; None for all.
        parts: Use the features of patches of the training shapes.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        UsageError: Both `features` and `held_out` are given.
    """
    if held_out is not None and features is not None:
        raise UsageError(
            "--held-out: cannot be combined with --features, which do not cover held-out shapes; omit one of them"
        )
    read = partial(read_pictures, size=recipe.size, temperature=recipe.temperature, manifest=manifest)
    known = read(views, features, most=most, parts=parts)
    return known, None if held_out is None else read([held_out], None, most=None, parts=False)


def read_pictures(
    views: Sequence[str],
    features: str | None,
    *,
    most: int | None,
    parts: bool,
    size: int,
    temperature: float,
    manifest: Path | None,
) -> TrainingViews:
    """Read views for training, and scale down the views of each shape as soon as they are read.

    Args:
        views: A views store, or several that are read as one.
        features: A features store of the same shapes, on which to condition the flow instead of on the images.
        most: Number of views to use of each shape, evenly spaced, from a different first view for each shape. None to
            use all.
        parts: Use the features of patches if the store has them, instead of one feature per image.
        size: Pixels per side of the masks and grey images that the flow is trained on.
        temperature: Temperature of the soft silhouette for the ideal loss.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        InputError: There are no masks, too few views, or fewer than two usable shapes.
    """
    import torch

    from sdfkit.training.flow.pictures import Pictures

    with open_stores(views, "views", manifest=manifest) as store:
        _check_sizes(store, most)
        rows, shapes, first = [], [], ""
        ideal: list[float] = []
        for row in store.rows("rgb", "mask", "camera_to_world", "yfov"):
            try:
                shapes.append(_shrink(row, most, size))
                if len(ideal) < JUDGED:
                    ideal.append(_measure_ideal_loss(row, temperature))
            except GeometryError as error:
                log.warning("%s: is left out: %s", row.uid, error)
                first = first or f"{row.uid}: {error}"
                continue
            rows.append(row)
        history, name = store.history, store.name
    known: dict[str, tuple[Row, np.ndarray]] | None = None
    condition = "picture"
    encoder: dict[str, Any] = {}
    if features is not None:
        condition, encoder, known, steps = _read_features(features, parts)
        history = [*history, *steps]
        both = [index for index, row in enumerate(rows) if row.uid in known]
        if not both:
            raise InputError(
                f"{features}: has none of the shapes of {name}; the same uids are needed in both"
            )
        require_same_origins(
            [(rows[index], known[rows[index].uid][0]) for index in both],
            f"the views of {name}", f"the features of {features}",
        )  # fmt: skip
        if len(both) < len(rows):
            log.warning("left out %d of %s: no features", len(rows) - len(both), counted(len(rows), "shape"))
        rows, shapes = [rows[index] for index in both], [shapes[index] for index in both]
    if len(rows) < 2:
        reason = f" ({first})" if first else ""
        raise InputError(
            f"{name}: has {counted(len(rows), 'usable shape')}, but training needs two or more{reason}"
        )
    rgb, grey, mask, distances, cameras, yfov = (
        torch.from_numpy(np.stack(part)) for part in zip(*shapes, strict=True)
    )
    if rgb.shape[1] == 1:
        log.warning(
            "each shape has one view only: depth is unconstrained, and wrong shapes match the silhouettes"
        )
    own = None if known is None else torch.from_numpy(np.stack([known[row.uid][1] for row in rows]))
    return TrainingViews(
        [row.columns(index) for index, row in enumerate(rows)],
        Pictures(rgb, grey, mask, distances, cameras, yfov, own), history, condition, encoder, float(np.mean(ideal)),
    )  # fmt: skip


def _check_sizes(store: "StoreReader", most: int | None) -> None:
    """Raise InputError for views without masks, not square, or too few, before any of them is read."""
    require_masks(store)
    views = store.array("rgb").shape[1]
    if most is not None and most > views:
        raise InputError(
            f"{store.name}: has {counted(views, 'view')} per shape, but --views-per-shape is {most}; "
            "choose a smaller number"
        )


def _shrink(row: "ArrayRow", most: int | None, size: int) -> tuple[np.ndarray, ...]:
    from sdfkit.images.rendering.cameras import check_outside
    from sdfkit.images.silhouettes import mask_distances, shrink_masks, shrink_pictures
    from sdfkit.models.flow import SIZE

    if row.error:
        raise GeometryError(row.error)
    rgb, mask, cameras, yfov = (row.arrays[name] for name in ("rgb", "mask", "camera_to_world", "yfov"))
    if most is not None:
        # The evenly spaced views start at a different view for each shape, so that views of similar shapes together
        # show all sides.
        chosen = (row.index + np.arange(most) * len(rgb) // most) % len(rgb)
        rgb, mask, cameras, yfov = (part[chosen] for part in (rgb, mask, cameras, yfov))
    check_outside(cameras)
    masks = shrink_masks(mask, size)
    grey = np.rint(shrink_pictures(rgb, size).mean(axis=-1)).astype(np.uint8)
    distances = mask_distances(masks).astype(np.float16)
    return shrink_pictures(rgb, SIZE), grey, masks, distances, cameras, yfov


def _measure_ideal_loss(row: "ArrayRow", temperature: float) -> float:
    import torch

    from sdfkit.images.silhouettes import mask_distances
    from sdfkit.models.rendering.outlines import ideal_loss, pixel_lengths

    masks = row.arrays["mask"][:1] >= 128
    cameras, yfov = (torch.from_numpy(row.arrays[name][:1]) for name in ("camera_to_world", "yfov"))
    lengths = pixel_lengths(cameras, yfov, *masks.shape[1:])
    return ideal_loss(torch.from_numpy(mask_distances(masks)), lengths, temperature).item()


def _read_features(
    path: str, parts: bool
) -> tuple[str, dict[str, Any], dict[str, tuple[Row, np.ndarray]], list[dict[str, Any]]]:
    with open_store(path, "features", manifest=None) as store:
        condition = "token" if parts and "token" in store else "feature"
        rows, arrays = store.read_rows(condition)
        vectors = arrays[condition]
        if condition == "feature":
            vectors = vectors[:, :, None]  # (shape, view, patch, feature)
        named = {row.uid: (row, vector) for row, vector in zip(rows, vectors, strict=True)}
        return condition, store.attributes.get("encoder", {}), named, store.history
