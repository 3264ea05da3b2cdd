"""The part of the baselines that uses the images: retrieval by features, masks for silhouettes, and kernel ridge."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.geometry.baselines import retrieve
from sdfkit.io.meshes.reader import MeshRow
from sdfkit.rows import Row, require_same_origins
from sdfkit.wording import counted

if TYPE_CHECKING:
    import trimesh

    from sdfkit.io.stores.store_reader import StoreReader

R = TypeVar("R", bound=Row)
log = logging.getLogger(__name__)
# Cells along a side of the grid on which the answers of kernel ridge are meshed.
CELLS = 128


@dataclass(frozen=True)
class Pictures:
    """The masks and cameras of the images that the model predicted from.

    Attributes:
        name: Name of their views store, for messages.
        rows: Index of a shape in the arrays, by its uid.
        known: Row of a shape in the store, by its uid.
        masks: Share of each pixel that the shape covers, from 0 to 255.
        camera_to_world: Cameras.
        yfov: Vertical fields of view in radians.
    """

    name: str
    rows: Mapping[str, int]
    masks: UInt8[np.ndarray, "shape view row column"] = field(repr=False)
    camera_to_world: Float[np.ndarray, "shape view 4 4"] = field(repr=False)
    yfov: Float[np.ndarray, "shape view"] = field(repr=False)
    known: Mapping[str, Row] = field(repr=False)

    def require(self, rows: Iterable[R]) -> Iterator[R]:
        """Yield the rows unchanged.

        Raises:
            InputError: The store has no images of a row, or images of another mesh file.
        """
        for row in rows:
            if row.uid not in self.rows:
                raise InputError(f"{self.name}: has no images of {row.uid}; render every true shape")
            require_same_origins(
                [(self.known[row.uid], row)], f"the images of {self.name}", "the true meshes"
            )
            yield row


def read_pictures(store: "StoreReader") -> Pictures:
    """Read masks and cameras from an open views store."""
    rows, arrays = store.read_rows("mask", "camera_to_world", "yfov")
    by_uid = {row.uid: row.index for row in rows if not row.error}
    known = {row.uid: row for row in rows}
    return Pictures(store.name, by_uid, arrays["mask"], arrays["camera_to_world"], arrays["yfov"], known)


@dataclass(frozen=True)
class Retrieval:
    """The training shape that the baseline retrieval returns for each true shape.

    Attributes:
        name: Name of the store with the features of the true shapes' images, for messages.
        choices: Index of the chosen training shape, by the uid of the true shape.
        known: Row of the true shape in the store, by its uid.
    """

    name: str
    choices: Mapping[str, int]
    known: Mapping[str, Row]

    def require(self, rows: Iterable[R]) -> Iterator[R]:
        """Yield the rows unchanged.

        Raises:
            InputError: Retrieval has chosen nothing for a row, because the store has no features of that shape, or
                features of another mesh file.
        """
        for row in rows:
            if row.uid not in self.choices:
                raise InputError(
                    f"{self.name}: has no features of {row.uid}; embed the images of every true shape"
                )
            require_same_origins(
                [(self.known[row.uid], row)], f"the features of {self.name}", "the true meshes"
            )
            yield row


def retrieve_by_features(query: "StoreReader", known: "StoreReader", rows: Sequence[MeshRow]) -> Retrieval:
    """Choose for each true shape the training shape whose images have the most similar features.

    Args:
        query: Features of the images of the true shapes, from which the model predicted.
        known: Features of the images of the training shapes.
        rows: The training shapes to choose from.

    Raises:
        InputError: The two stores were embedded by different encoders, or `known` lacks the features of a training
            shape, or has those of another mesh file.
    """
    encoders = [
        {
            **store.attributes.get("encoder", {}),
            "precision": None,  # features of all precisions can be compared
            "numbers": store.array("feature").shape[2],
        }
        for store in (query, known)
    ]
    if encoders[0] != encoders[1]:
        first, second = (f"{counted(one['numbers'], 'number')} from {one.get('model')}" for one in encoders)
        raise InputError(
            f"{query.name}: each feature has {first}, but in {known.name} {second}; "
            "embed both with the same model and options"
        )
    query_rows, query_arrays = query.read_rows("feature")
    known_rows, known_arrays = known.read_rows("feature")
    index_of = {row.uid: row.index for row in known_rows}
    missing = [row.uid for row in rows if row.uid not in index_of]
    if missing:
        raise InputError(
            f"{known.name}: has no features of {counted(len(missing), 'training shape')} ({missing[0]} …); "
            "embed all of them"
        )
    require_same_origins(
        [(known_rows[index_of[row.uid]], row) for row in rows],
        f"the features of {known.name}", "the training meshes",
    )  # fmt: skip
    training = known_arrays["feature"][[index_of[row.uid] for row in rows]]
    nearest = retrieve(query_arrays["feature"], training)
    return Retrieval(
        query.name,
        {row.uid: int(choice) for row, choice in zip(query_rows, nearest, strict=True)},
        {row.uid: row for row in query_rows},
    )


def predict_by_ridge(
    query: "StoreReader", known: "StoreReader", codes: "StoreReader", device: str
) -> "dict[str, trimesh.Trimesh | None]":
    """Predict the codes of shapes by kernel ridge regression on the mean features of their images, and mesh them.

    Args:
        query: Features of the images of the true shapes.
        known: Features of the images of the training shapes.
        codes: The deepsdf store with the codes of the training shapes and their decoder.
        device: Name of the torch device that evaluates the decoder.

    Returns:
        The mesh of each true shape by uid; None for a code without a surface.

    Raises:
        InputError: No shape of `codes` has features in `known`, or a shape has those of another mesh file.
    """
    import torch

    from sdfkit.analysis.kernel_ridge import KernelRidge
    from sdfkit.inference.meshing import MeshOptions, mesh_field
    from sdfkit.io.models.reader import read_fields

    rows, arrays = codes.read_rows("code")
    known_rows, known_arrays = known.read_rows("feature")
    index_of = {row.uid: row.index for row in known_rows}
    both = [row for row in rows if row.uid in index_of]
    if not both:
        raise InputError(
            f"{known.name}: has no features of the shapes of {codes.name}; embed the images of its training shapes"
        )
    require_same_origins(
        [(known_rows[index_of[row.uid]], row) for row in both],
        f"the features of {known.name}", f"the codes of {codes.name}",
    )  # fmt: skip
    training = known_arrays["feature"][[index_of[row.uid] for row in both]].mean(axis=1)
    ridge = KernelRidge(training, arrays["code"][[row.index for row in both]].astype(np.float64))
    log.info(
        "kernel ridge: leave-one-out error %.2f of the codes' variance (bandwidth %g, penalty %g)",
        ridge.error, ridge.bandwidth, ridge.penalty,
    )  # fmt: skip
    query_rows, query_arrays = query.read_rows("feature")
    predicted = ridge.predict(query_arrays["feature"].mean(axis=1)).astype(np.float32)
    fields = read_fields(codes, device)
    meshes: dict[str, trimesh.Trimesh | None] = {}
    for row, code in zip(query_rows, predicted, strict=True):
        try:
            field = fields.of(torch.from_numpy(code).to(device))
            meshes[row.uid] = mesh_field(field, device, MeshOptions(resolution=CELLS))[0]
        except GeometryError:
            meshes[row.uid] = None
    return meshes


class ImageBaselines(NamedTuple):
    """The baselines that answer from images; None for each that is left out."""

    retrieval: Retrieval | None = None
    """The training shapes that retrieval by features chooses."""
    pictures: Pictures | None = None
    """Masks and cameras, for the visual hull and retrieval by silhouettes."""
    ridge: "Mapping[str, trimesh.Trimesh | None] | None" = None
    """The meshes of kernel ridge by uid, see `predict_by_ridge`."""


def check_options(training: str | None, features: str | None, **needing_features: str | None) -> None:
    """Raise UsageError if an option of `sdfkit compare` is given without another that it needs."""
    if features is not None and training is None:
        raise UsageError("--features chooses one of the training shapes; add --training MESHES")
    for name, path in needing_features.items():
        if path is not None and features is None:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} needs --features, the features of the images given to the model")


def read_image_baselines(
    rows: Sequence[MeshRow],
    *,
    features: str | None,
    training_features: str | None,
    codes: str | None,
    views: str | None,
) -> ImageBaselines:
    """Read the stores from which the baselines answer; see the options of `sdfkit compare` with the same names.

    Args:
        rows: The training shapes.
        features: Path of the features of the images.
        training_features: Path of the features of the training shapes; None if they are in `features`.
        codes: Path of the store with the codes of the training shapes and their decoder.
        views: Path of the images.
    """
    from sdfkit.io.stores.reader import open_store

    retrieval, pictures, ridge = None, None, None
    with ExitStack() as stack:
        if features is not None:
            query = stack.enter_context(open_store(features, "features", manifest=None))
            known = stack.enter_context(open_store(training_features or features, "features", manifest=None))
            retrieval = retrieve_by_features(query, known, rows)
            if codes is not None:
                trained = stack.enter_context(open_store(codes, "deepsdf", manifest=None))
                ridge = predict_by_ridge(query, known, trained, "cpu")
        if views is not None:
            pictures = read_pictures(stack.enter_context(open_store(views, "views", manifest=None)))
    return ImageBaselines(retrieval, pictures, ridge)
