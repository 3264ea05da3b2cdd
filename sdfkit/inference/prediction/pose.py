"""Estimates the cameras of images, by training shapes whose silhouettes are similar."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError
from sdfkit.images.photos import crop_square
from sdfkit.images.rendering.defaults import DEFAULT_DISTANCE, DEFAULT_SIZE, DEFAULT_YFOV
from sdfkit.io.stores.contents.posed_views import create_posed_arrays

if TYPE_CHECKING:
    import torch

    from sdfkit.io.object_images import ObjectImage
    from sdfkit.io.stores.store_writer import StoreWriter
    from sdfkit.models.recon.camera_search import CameraSearch, Estimate

log = logging.getLogger(__name__)


def load_search(model: str, *, lowest: float, highest: float) -> "CameraSearch":
    """Prepare the search for cameras with the training shapes of a reconstruction network.

    Args:
        model: Store that `train-recon` wrote.
        lowest: Lowest elevation of a camera.
        highest: Highest elevation.

    Raises:
        InputError: The store is of another kind, or the grid of a training shape is not finite.
        GeometryError: No training shape has a silhouette.
    """
    import torch

    from sdfkit.inference.prediction.reconstruction import read_training_grids
    from sdfkit.io.stores.reader import open_store
    from sdfkit.models.recon.camera_search import CameraSearch, Lens

    with open_store(model, "recon", manifest=None) as store:
        _, grids = read_training_grids(store)
        lens = Lens(DEFAULT_DISTANCE, DEFAULT_YFOV)
        search = CameraSearch(torch.from_numpy(grids), lens, lowest=lowest, highest=highest)
        if search.is_empty:
            raise GeometryError(f"{store.name}: no training shape has a silhouette; train the network again")
        return search


def create_pose_arrays(store: "StoreWriter", count: int, views: int) -> None:
    """Create the arrays of a views store with estimated cameras."""
    create_posed_arrays(store, count, views, DEFAULT_SIZE)
    for name in ("pose_overlap", "pose_error"):
        store.create_array(name, shape=(count, views), dtype="f4", axes=("shape", "view"))


def estimate_cameras(
    images: Sequence["ObjectImage"], search: "CameraSearch", uid: str
) -> dict[str, np.ndarray]:
    """Estimate the cameras of all images of one object, and crop the images as these cameras see the object.

    Args:
        images: The images.
        search: The training shapes.
        uid: Name of the object in warnings.

    Returns:
        The arrays of its row in the views store.

    Raises:
        GeometryError: An image shows no object, or one that fills it.
    """
    import torch

    squares = [find_square(image, f"view {view}") for view, image in enumerate(images)]
    if any(_is_cut_off(image) for image in images):
        log.warning(
            "%s: the object touches the edge of an image; the camera is wrong if part of it is missing", uid
        )
    masks = torch.stack(
        [normalise_mask(image, square) for image, square in zip(images, squares, strict=True)]
    )
    found = search.search(masks)
    crops = [crop_image(*args) for args in zip(images, squares, found, strict=True)]
    pictures = np.stack(crops)
    return {
        "camera_to_world": np.stack([estimate.camera_to_world.numpy() for estimate in found]),
        "yfov": np.full(len(found), DEFAULT_YFOV, np.float32),
        "rgb": np.ascontiguousarray(pictures[..., :3]),
        "mask": np.ascontiguousarray(pictures[..., 3]),
        "pose_overlap": np.array([estimate.overlap for estimate in found], np.float32),
        "pose_error": np.array([math.degrees(estimate.error) for estimate in found], np.float32),
    }


def find_square(image: "ObjectImage", name: str) -> tuple[float, float, float]:
    """Return the centre (column, row) and half side, in pixels, of the square of an object's normalised silhouette.

    Raises:
        GeometryError: The image shows no object, or one that fills it.
    """
    from sdfkit.models.recon.camera_search import FILLED

    inside = image.cover > 127.5
    if not inside.any() or inside.all():
        state = "fills the image" if inside.any() else "is not there, or thinner than a pixel"
        raise GeometryError(
            f"{name}: the object {state}; give an image of a whole object before a background"
        )
    rows, columns = np.nonzero(inside)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    half = max(right - left, bottom - top) / (2 * FILLED)
    return float(left + right) / 2, float(top + bottom) / 2, float(half)


def _is_cut_off(image: "ObjectImage") -> bool:
    inside = image.cover > 127.5
    return bool(inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any())


def normalise_mask(image: "ObjectImage", square: tuple[float, float, float]) -> "torch.Tensor":
    """Return the normalised silhouette of an object, as `CameraSearch.search` takes it."""
    import torch

    from sdfkit.models.recon.camera_search import SIDE

    x, y, half = square
    small = crop_square(image.cover[..., None], (x - half, y - half, x + half, y + half), SIDE)
    return torch.from_numpy(small.astype(np.float32) / 255).flatten()


def crop_image(
    image: "ObjectImage", square: tuple[float, float, float], estimate: "Estimate"
) -> Float[np.ndarray, "row column 4"]:
    """Crop an image so that the object is where the estimated camera sees the most similar shape.

    Returns:
        Red, green, blue and the share that the object covers, from 0 to 255.
    """
    (x, y, half), (column, row, extent) = square, estimate.box
    scale = half / extent  # pixels of the photo for each unit of the camera's image, which runs from -1 to 1
    left, top = x - (1 + column) * scale, y - (1 + row) * scale
    whole = np.concatenate([image.color, image.cover[..., None]], axis=-1)
    return crop_square(whole, (left, top, left + 2 * scale, top + 2 * scale), DEFAULT_SIZE)
