"""Functions on codes and trained models; see `sdfkit.api`."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.api.stores import open_store
from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.inference.defaults import MESH_RESOLUTION, SPECK_AREA

if TYPE_CHECKING:
    import torch

    from sdfkit.io.stores.contents.vectors import Vectors


def mesh(
    codes: str | Path | Float[np.ndarray, "..."],
    decoder: str | Path | None = None,
    *,
    resolution: int = MESH_RESOLUTION,
    largest: bool = False,
    speck_area: float = SPECK_AREA,
    simplify: int | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> list[trimesh.Trimesh]:
    """Turn codes, weights or grids of distances into meshes, as `sdfkit mesh` does.

    Args:
        codes: Latent codes as an array (shape, dim), or (dim,) for one shape; or the path of a store: of codes,
            weights or grids, or of train-deepsdf, train-ae or train-flow.
        decoder: Store with the decoder of the codes: of train-deepsdf, train-flow or train-ae.
        resolution: Grid cells along a side of the cube from -1 to 1.
        largest: Keep only the largest connected piece.
        speck_area: Leave out connected pieces with less than this share of the area; 0 keeps all.
        simplify: Maximum number of faces; None to keep all.
        device: Device to compute on; auto is the GPU if there is one.

    Returns:
        One mesh per row, in the unit frame.

    Raises:
        GeometryError: A row failed in an earlier step, or a shape has no surface.
        InputError: The codes belong to another decoder, or have another length.
    """
    from sdfkit.inference.meshing import Mesher, MeshOptions, make_mesher
    from sdfkit.io.models.reader import load_code_decoder
    from sdfkit.io.stores.store_reader import ArrayRow
    from sdfkit.runtime.device import choose_device

    place = choose_device(device)
    options = MeshOptions(resolution, largest=largest, speck_area=speck_area, simplify=simplify)
    trained = None if decoder is None else load_code_decoder(str(decoder), place)
    with ExitStack() as stack:
        if isinstance(codes, np.ndarray):
            if trained is None:
                raise UsageError("an array of codes needs their decoder; give the path of its store")
            vectors = np.atleast_2d(codes).astype(np.float32)
            if vectors.ndim > 2 or vectors.shape[1] != trained.fields.width:
                raise InputError(
                    f"the codes have the shape {codes.shape}, but the decoder of {trained.name} needs (shape, "
                    f"{trained.fields.width})"
                )
            mesher = Mesher("code", trained.fields, place, options, trained.history)
            rows: Iterator[ArrayRow] = (
                ArrayRow(index, f"row_{index}", arrays={"code": code}) for index, code in enumerate(vectors)
            )
        else:
            kinds = ("codes", "deepsdf", "weights", "grids", "autoencoder", "flow")
            store = stack.enter_context(open_store(codes, *kinds))
            mesher = make_mesher(store, trained, place, options)
            rows = mesher.rows(store)
        return [_named(row, mesher) for row in rows]


def _named(row: Any, mesher: Any) -> trimesh.Trimesh:
    try:
        surface: trimesh.Trimesh = mesher.mesh(row)["mesh"]
    except GeometryError as error:
        raise GeometryError(f"{row.uid}: {error}") from error
    surface.metadata["uid"] = row.uid
    return surface


def rank(
    predicted: str | Path | Float[np.ndarray, "prediction dim"],
    known: str | Path | Float[np.ndarray, "shape dim"] | None = None,
    truth: str | Path | Float[np.ndarray, "shape dim"] | None = None,
    *,
    top: int = 5,
) -> dict[str, Any]:
    """Classify predictions of codes or weights as recall, generalisation, noise or collapse, as `sdfkit rank` does.

    Args:
        predicted: The predictions: an array, or the path of a store or .npy file.
        known: The vectors of all training shapes. None: those of the model that a store of predictions names; without
            one, the predictions are compared only with each other.
        truth: True vectors of other shapes. Stores are matched by uid; rows of two arrays are not matched.
        top: Number of nearest training shapes to list for each prediction.

    Returns:
        The facts that `sdfkit rank --json` prints; `facts["verdict"]["name"]` is the verdict.

    Raises:
        InputError: There is nothing to compare the predictions with, or the vectors have different lengths.
    """
    from sdfkit.io.stores.contents.vectors import VECTOR_KINDS, open_training_vectors
    from sdfkit.report.diagnostics.ranking import assess
    from sdfkit.report.tables import format_json

    with ExitStack() as stack:
        guesses = stack.enter_context(_open_vectors(predicted, "the predictions"))
        training = stack.enter_context(
            open_training_vectors(guesses, None, *VECTOR_KINDS, manifest=None)
            if known is None
            else _open_vectors(known, "the training vectors")
        )
        right = None if truth is None else stack.enter_context(_open_vectors(truth, "the truths"))
        facts, _ = assess(guesses, training, right, top=top)
    result: dict[str, Any] = json.loads(format_json(facts))
    return result


def _open_vectors(vectors: str | Path | np.ndarray, name: str) -> "AbstractContextManager[Vectors]":
    from sdfkit.io.stores.contents.vectors import VECTOR_KINDS, open_vectors, plain_vectors

    if isinstance(vectors, np.ndarray):
        if vectors.ndim != 2:
            raise InputError(
                f"{name} have the shape {vectors.shape}, but a matrix with one row each is needed"
            )
        return nullcontext(plain_vectors(name, vectors.astype(np.float32)))
    return open_vectors(str(vectors), *VECTOR_KINDS, manifest=None)


def load_model(path: str | Path, *, device: Literal["auto", "cpu", "gpu"] = "auto") -> "torch.nn.Module":
    """Load the network of a trained model, in evaluation mode and without gradients of its parameters.

    Args:
        path: A store of train-deepsdf, train-ae, train-dit, train-flow or train-recon.
        device: Device to load the network on; auto is the GPU if there is one.

    Returns:
        For train-deepsdf, and for train-flow, the decoder: `decoder(codes, points)` are the signed distances (shape,
        point) of points (shape, point, 3), for codes (shape, dim). For train-ae, the autoencoder; for train-dit, the
        denoiser; for train-recon, the reconstruction network. The arguments are documented at their classes in
        `sdfkit.models`.

    Raises:
        InputError: The store holds no model, or some of its parameters are missing.
    """
    from sdfkit.inference.prediction.loading import PREDICTORS
    from sdfkit.io.models.reader import read_autoencoder, read_decoder
    from sdfkit.runtime.device import choose_device

    place = choose_device(device)
    with open_store(path, "deepsdf", "autoencoder", *PREDICTORS) as store:
        if store.kind == "deepsdf":
            return read_decoder(store, place)
        if store.kind == "autoencoder":
            return read_autoencoder(store, place)
        network: torch.nn.Module = PREDICTORS[store.kind](store, place).network
        return network
