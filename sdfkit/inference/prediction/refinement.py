"""Refines latent codes of shapes, until their decoded silhouettes agree with posed images of the shapes."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.images.rendering.cameras import check_outside
from sdfkit.images.silhouettes import binarise_masks, mask_distances
from sdfkit.inference.prediction.denoiser import Denoiser
from sdfkit.inference.prediction.flow import FlowModel
from sdfkit.inference.prediction.predictors import Predictor
from sdfkit.inference.prediction.sampling import seed_generator
from sdfkit.io.models.reader import check_same_decoder, load_decoder
from sdfkit.rows import Row
from sdfkit.wording import counted

if TYPE_CHECKING:
    import torch

    from sdfkit.io.stores.store_writer import StoreWriter
    from sdfkit.training.flow.pictures import Pictures
    from sdfkit.training.refinement.refiner import CodeRefiner

log = logging.getLogger(__name__)
Draw: TypeAlias = "Callable[[Mapping[str, np.ndarray], torch.Generator], list[dict[str, np.ndarray]]]"
# Number of codes that a model samples as initial codes of a shape.
SAMPLES = 4
# Number of shapes that are refined at once.
BATCH = 8


def load_refiner(
    predictor: Predictor, decoder: str | None, device: str, settings: Mapping[str, Any]
) -> "CodeRefiner":
    """Load what refines the codes that a model predicts.

    Args:
        predictor: The model.
        decoder: Store of train-deepsdf with the decoder of the codes; None for a flow, which has its own.
        device: Name of the torch device to compute on.
        settings: Return value of `sampling.choose_settings`.

    Raises:
        UsageError: The model predicts no codes, or the decoder is missing, or is given for a flow; or several samples
            or a trajectory are asked for.
        InputError: The decoder is another one than that of the model's training codes.
    """
    import torch

    from sdfkit.training.refinement.refiner import SETTINGS, CodeRefiner

    if settings["samples"] > 1 or settings.get("trajectory"):
        option = "--samples" if settings["samples"] > 1 else "--trajectory"
        raise UsageError(f"--refine writes the one code that fits the images best; leave {option} out")
    if not isinstance(predictor, FlowModel | Denoiser) or predictor.kind != "codes":
        raise UsageError(
            f"{predictor.name}: predicts {predictor.kind}, but --refine moves latent codes; leave it out"
        )
    if isinstance(predictor, FlowModel):
        if decoder is not None:
            raise UsageError(f"{predictor.name}: is a flow, which has its own decoder; leave out --decoder")
        network, codes = predictor.network, predictor.codes
        return CodeRefiner(network.decode, torch.from_numpy(codes).to(device), SETTINGS, network.prepare)
    if decoder is None:
        raise UsageError("--refine compares decoded shapes with the images; add --decoder STORE")
    trained = load_decoder(decoder, device)
    check_same_decoder(f"{predictor.name}: its", predictor.decoder, trained)
    (dim,) = predictor.array[1]
    if trained.codes.shape[1] != dim:
        raise InputError(
            f"{predictor.name}: its codes have {counted(dim, 'number')} each, but the decoder of "
            f"{trained.name} needs {trained.codes.shape[1]}"
        )
    network, codes = trained.network, trained.codes
    return CodeRefiner(network.decode, torch.from_numpy(codes).to(device), SETTINGS, network.prepare)


def draw_starts(predictor: Predictor, settings: Mapping[str, Any]) -> Draw:
    """Return the function by which a model samples several initial codes of a shape.

    Args:
        predictor: The model.
        settings: Return value of `sampling.choose_settings`.
    """
    # A flow of stage encoder predicts one code, without sampling.
    samples = SAMPLES if "steps" in settings else 1
    return partial(predictor.draw, **{name: settings[name] for name in predictor.settings}, samples=samples)


class RefiningWriter:
    """A writer that receives the images of shapes, and writes refined codes. It refines several shapes at once.

    Args:
        writer: Store with the arrays `code` and `silhouette_iou`.
        refiner: Refines the codes.
        seed: Seed of all random numbers.
        draw: Function that returns sampled codes, given the arrays of a row and a generator; None for no samples.
        advance: Called with the number of rows that are written, for a progress bar.
    """

    def __init__(
        self,
        writer: "StoreWriter",
        refiner: "CodeRefiner",
        seed: int,
        draw: "Draw | None" = None,
        advance: Callable[[int], Any] = lambda rows: None,
    ) -> None:
        self._writer, self._refiner, self._seed, self._draw, self._advance = (
            writer,
            refiner,
            seed,
            draw,
            advance,
        )
        self._waiting: list[_Waiting] = []
        self.failed: set[int] = set()
        self.overlaps: dict[str, float] = {}

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **arrays: Any) -> None:
        """Take the arrays `mask`, `camera_to_world` and `yfov` of one shape, and those that `draw` needs."""
        outlines, samples, generator = None, None, seed_generator(self._seed, row.uid)
        if not row.error:
            try:
                outlines = read_outlines(arrays)
            except GeometryError as error:
                log.warning("%s: %s", row.uid, error)
                row = replace(row, error=str(error))
        if row.error:
            self.failed.add(row.index)
        elif self._draw is not None:
            samples = np.stack([drawn["code"] for drawn in self._draw(arrays, generator)])
        self._waiting.append(_Waiting(row, outlines, samples, generator))
        if sum(one.outlines is not None for one in self._waiting) == BATCH:
            self.finish()

    def finish(self) -> None:
        """Refine and write the rows that are waiting for others."""
        import torch

        usable = [one for one in self._waiting if one.outlines is not None]
        found: list[dict[str, Any]] = []
        if usable:
            pictures = join_pictures([one.outlines for one in usable if one.outlines is not None])
            samples = [torch.from_numpy(one.samples) for one in usable if one.samples is not None]
            codes, overlaps = self._refiner.refine(
                pictures, torch.stack(samples) if samples else None, [one.generator for one in usable]
            )
            found = [
                {"code": code, "silhouette_iou": overlap}
                for code, overlap in zip(codes.cpu().numpy(), overlaps.cpu().numpy(), strict=True)
            ]
        values = {one.row.index: arrays for one, arrays in zip(usable, found, strict=True)}
        for row, *_ in self._waiting:
            arrays = values.get(row.index, {})
            self._writer.write(row, **arrays)
            if arrays:
                self.overlaps[row.uid] = float(arrays["silhouette_iou"])
        self._advance(len(self._waiting))
        self._waiting.clear()


class _Waiting(NamedTuple):
    row: Row
    outlines: "Pictures | None"
    samples: np.ndarray | None
    generator: "torch.Generator"


def read_outlines(images: Mapping[str, np.ndarray]) -> "Pictures":
    """Return the masks and cameras of one shape in the form of training views, of which other arrays are empty.

    Args:
        images: The arrays `mask`, `camera_to_world` and `yfov` of a views store for this shape.

    Raises:
        GeometryError: A mask is empty or full, or a camera is inside the unit sphere.
    """
    import torch

    from sdfkit.training.flow.pictures import Pictures

    check_outside(images["camera_to_world"])
    mask = binarise_masks(images["mask"])
    known = (mask, mask_distances(mask), images["camera_to_world"], images["yfov"])
    masks, distances, cameras, yfov = (torch.from_numpy(array)[None] for array in known)
    rgb = torch.zeros(1, len(mask), 1, 1, 3, dtype=torch.uint8)
    return Pictures(rgb, masks.byte(), masks, distances, cameras, yfov, None)


def join_pictures(parts: Sequence["Pictures"]) -> "Pictures":
    """Join views of several shapes."""
    import torch

    from sdfkit.training.flow.pictures import Pictures

    rgb, grey, mask, distances, cameras, yfov = (
        torch.cat(part) for part in list(zip(*parts, strict=True))[:6]
    )
    return Pictures(rgb, grey, mask, distances, cameras, yfov, None)
