"""Pairs the codes or weights of shapes with the features of their views, to train a denoiser."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import InputError, UsageError
from sdfkit.inference.predictors import cameras_of, condition_arrays
from sdfkit.io.models import read_mlp, read_vectors
from sdfkit.io.stores.reader import StoreReader, open_store

if TYPE_CHECKING:
    import numpy as np

    from sdfkit.rows import Row

log = logging.getLogger(__name__)


class TrainingCodes(NamedTuple):
    """Shapes that have both a code and features, in the order of the features.

    Attributes:
        rows: The shapes.
        codes: The code, or the weights, of each shape, (shape, dim).
        conditions: Features of the views of each shape, (shape, view, patch, feature).
        cameras: Camera-to-world matrices of the views, (shape, view, 4, 4); zeros where unknown.
        are_weights: Whether the codes are weights of per-shape networks.
        tokens: Number of equal pieces that a code is divided into, or the length of each piece; None for the preset's.
        attributes: Attributes of the denoiser's store: the encoder of the features, the condition, and the network that
            reads the codes.
        history: History of both stores.
    """

    rows: "list[Row]"
    codes: "np.ndarray"
    conditions: "np.ndarray"
    cameras: "np.ndarray"
    are_weights: bool
    tokens: int | list[int] | None
    attributes: dict[str, Any]
    history: list[dict[str, Any]]


def read_training_codes(
    codes: str,
    features: str,
    condition: str,
    tokens: str | None,
    views: int | None,
    *,
    manifest: Path | None,
) -> TrainingCodes:
    """Read codes or weights and the features of the same shapes.

    Args:
        codes: A deepsdf, codes, weights or autoencoder store.
        features: A features store.
        condition: `feature`, the vector of each view, or `token`, the vectors of its patches.
        tokens: The number of tokens per code, or `layers` for one token per layer of a network; None for the preset's.
        views: Number of views that each shape must have at least; None for any.
        manifest: Manifest whose labels replace those of the features store.

    Raises:
        InputError: A store is of another kind or lacks the condition, shapes have too few views, or fewer than two
            shapes are in both stores.
        UsageError: `tokens` is neither a number nor `layers`.
    """
    with open_store(codes, "deepsdf", "codes", "weights", "autoencoder", manifest=None) as store:
        known, vectors = read_vectors(store)
        history, are_weights = store.history, store.kind == "weights"
        # The networks that weights belong to, or the decoder of codes. Codes from a plain array or an older store do
        # not identify it.
        name = "network" if are_weights else "decoder_sha256"
        origin = {name: store.attributes[name]} if name in store.attributes else {}
        pieces = _parse_tokens(tokens, store)
    with open_store(features, "features", manifest=manifest) as store:
        if condition == "token" and "token" not in store:
            raise InputError(f"{store.name}: has no patch vectors; embed with --tokens patch")
        rows, arrays = store.read_rows(*condition_arrays(store, condition))
        history, encoder = [*history, *store.history], store.attributes.get("encoder", {})
    row_of = {row.uid: index for index, row in enumerate(known)}
    both = [index for index, row in enumerate(rows) if row.uid in row_of]
    if not both:
        raise InputError(
            f"{codes}: has no shape of {features}; their uids must be the same ({known[0].uid}, {rows[0].uid})"
        )
    if len(both) == 1:
        raise InputError(
            f"{features}: one shape with a code ({rows[both[0]].uid}), but training needs two or more"
        )
    if len(both) < len(rows):
        log.warning("%d of %d shapes have no code and are left out", len(rows) - len(both), len(rows))
    conditions = arrays[condition][both]
    if condition == "feature":
        conditions = conditions[:, :, None]  # (shape, view, patch, feature)
    if views is not None and views > conditions.shape[1]:
        raise InputError(
            f"{features}: {conditions.shape[1]} views of a shape, but --views {views} are asked for"
        )
    return TrainingCodes(
        [replace(rows[index], index=place) for place, index in enumerate(both)],
        vectors[[row_of[rows[index].uid] for index in both]],
        conditions,
        cameras_of(arrays, condition, 2)[both],
        are_weights,
        pieces,
        {"encoder": encoder, "condition": condition, **origin},
        history,
    )


def _parse_tokens(tokens: str | None, store: StoreReader) -> int | list[int] | None:
    """Convert the option --tokens to the number of pieces of a vector, or to the length of each piece."""
    from sdfkit.models.layers import layer_lengths

    if tokens is None:
        return None
    if tokens == "layers":
        if store.kind != "weights":
            raise InputError(f"{store.name}: {store.kind} have no layers; give --tokens a number")
        return layer_lengths(read_mlp(store))
    if not tokens.isdecimal() or int(tokens) < 1:
        raise UsageError(f"--tokens {tokens}: must be a number of at least 1, or layers")
    return int(tokens)
