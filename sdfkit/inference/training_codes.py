"""Pairs the latent codes or network weights of shapes with the features of their views, to train a denoiser."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import InputError, UsageError
from sdfkit.inference.prediction.predictors import cameras_of, condition_arrays
from sdfkit.io.models.reader import read_mlp, read_token_lengths, read_vectors
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.tables.joined import open_stores
from sdfkit.rows import choose_held_out, require_same_origins
from sdfkit.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from sdfkit.rows import Row

log = logging.getLogger(__name__)


class TrainingCodes(NamedTuple):
    """Shapes that have both a code and features, in the order of the features store.

    Attributes:
        rows: The shapes.
        codes: The latent code of each shape, or the weights of its network, (shape, dim).
        conditions: Features of the views of each shape, (shape, view, patch, feature).
        cameras: Camera-to-world matrices of the views, (shape, view, 4, 4); zeros where unknown.
        are_weights: Whether `codes` are the weights of one small network per shape.
        tokens: Number of equal pieces into which the denoiser divides a code, or the length of each piece; None for the
            number in the preset.
        attributes: Attributes for the store of the denoiser: the encoder of the features, the condition, and the
            decoder of the codes or the architecture of the networks.
        history: The commands that made the two stores, oldest first.
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
    features: Sequence[str],
    condition: str,
    tokens: str | None,
    views: int | None,
    *,
    manifest: Path | None,
) -> TrainingCodes:
    """Read codes or weights and the features of the same shapes.

    Args:
        codes: A deepsdf, codes, weights or autoencoder store.
        features: A features store, or several that are read as one.
        condition: "feature" for one vector per view, or "token" for the vectors of the patches of each view.
        tokens: The number of tokens into which a code is divided, as text; "layers" for one token per layer of the
            networks; "places" for one per block of places; None for the number in the preset.
        views: Minimum number of views of each shape; None for any number.
        manifest: Manifest whose labels replace those of the features store.

    Raises:
        InputError: A store is of another kind or lacks the array `condition`, the shapes have too few views, or fewer
            than two shapes are in both stores.
        UsageError: `tokens` is neither a positive number nor one of these words.
    """
    with open_store(codes, "deepsdf", "codes", "weights", "autoencoder", manifest=None) as store:
        known, vectors = read_vectors(store)
        history, are_weights = store.history, store.kind == "weights"
        # The architecture of the networks, or the digest of the decoder. A plain array or an older store has neither.
        name = "network" if are_weights else "decoder_sha256"
        origin = {name: store.attributes[name]} if name in store.attributes else {}
        pieces = _parse_tokens(tokens, store)
    with open_stores(features, "features", manifest=manifest) as store:
        name = store.name
        if condition == "token" and "token" not in store:
            raise InputError(f"{store.name}: has no patch vectors; embed with --tokens patch")
        rows, arrays = store.read_rows(*condition_arrays(store, condition))
        history, encoder = [*history, *store.history], store.attributes.get("encoder", {})
    row_of = {row.uid: index for index, row in enumerate(known)}
    both = [index for index, row in enumerate(rows) if row.uid in row_of]
    if not both:
        raise InputError(
            f"{codes}: has none of the shapes of {name}; the uids must be the same, but are {known[0].uid} … and "
            f"{rows[0].uid} …"
        )
    if len(both) == 1:
        raise InputError(
            f"{name}: has one shape with a code ({rows[both[0]].uid}), but training needs two or more"
        )
    require_same_origins(
        [(rows[index], known[row_of[rows[index].uid]]) for index in both],
        f"the features of {name}", f"the codes of {codes}",
    )  # fmt: skip
    if len(both) < len(rows):
        log.warning("left out %d of %s: no code", len(rows) - len(both), counted(len(rows), "shape"))
    conditions = arrays[condition][both]
    if condition == "feature":
        conditions = conditions[:, :, None]  # (shape, view, patch, feature)
    if views is not None and views > conditions.shape[1]:
        raise InputError(
            f"{name}: has {counted(conditions.shape[1], 'view')} per shape, but --views is {views}; choose "
            "a smaller number"
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


def hold_out(known: TrainingCodes, share: float, seed: int) -> tuple[TrainingCodes, TrainingCodes | None]:
    """Divide shapes into those to train on and held-out ones, by `rows.choose_held_out`.

    Returns:
        The training shapes, and the held-out shapes; None without any.

    Raises:
        InputError: Fewer than two shapes would remain.
    """
    import numpy as np

    held_out = choose_held_out([row.uid for row in known.rows], share, seed)
    if not held_out:
        return known, None
    rest = np.setdiff1d(np.arange(len(known.rows)), held_out).tolist()
    own, others = (
        known._replace(
            rows=[replace(known.rows[row], index=place) for place, row in enumerate(chosen)],
            codes=known.codes[chosen],
            conditions=known.conditions[chosen],
            cameras=known.cameras[chosen],
            attributes={**known.attributes, "held_out": [known.rows[row].uid for row in held_out]},
        )
        for chosen in (rest, held_out)
    )
    return own, others


def _parse_tokens(tokens: str | None, store: StoreReader) -> int | list[int] | None:
    """Convert the option --tokens to the number of pieces of a vector, or to the length of each piece."""
    from sdfkit.models.layers import layer_lengths

    if tokens is None:
        return None
    if tokens == "places":
        return read_token_lengths(store)
    if tokens == "layers":
        if store.kind != "weights":
            raise InputError(
                f"{store.name}: holds {store.kind}, which have no layers; give --tokens a number"
            )
        return layer_lengths(read_mlp(store))
    if not tokens.isdecimal() or int(tokens) < 1:
        raise UsageError(f"--tokens {tokens}: must be a number of at least 1, layers or places")
    return int(tokens)
