"""The preprocessing that the image processor of an encoder does, for a whole batch on any device."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from sdfkit.errors import InputError

if TYPE_CHECKING:
    import torch

# Filters of Pillow by number: name, and radius in pixels of the smaller image.
FILTERS = {1: ("lanczos", 3.0), 2: ("bilinear", 1.0), 3: ("bicubic", 2.0)}

# Pillow rounds filter weights to multiples of 2 ** -22.
FIXED_POINT = 1 << 22


@dataclass(frozen=True)
class Preprocessing:
    """Parameters of preprocessing: resize, crop the centre, then `(byte * scale - mean) / std`. Stores record them."""

    shortest_edge: int | None
    """Resize so that the shorter side has this length. None if `size` is given, or for no resizing."""
    size: tuple[int, int] | None
    """Resize to this height and width."""
    resample: str
    crop: tuple[int, int] | None
    """Height and width of the centre crop."""
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of an image after resizing."""
        if self.size is not None:
            return self.size
        if self.shortest_edge is None:
            return height, width
        short = min(height, width)
        return int(self.shortest_edge * height / short), int(self.shortest_edge * width / short)

    def kept(self, width: int, height: int) -> tuple[float, float]:
        """Return the shares of the width and height that the crop keeps, for `cameras.silhouette_share`."""
        if self.crop is None:
            return 1.0, 1.0
        rows, columns = self.resized(height, width)
        return min(1.0, self.crop[1] / columns), min(1.0, self.crop[0] / rows)


def read_preprocessing(processor: Any, name: str) -> Preprocessing:
    """Read the preprocessing parameters of an image processor of the transformers library.

    Args:
        processor: The image processor.
        name: Name of the model, for messages.

    Raises:
        InputError: The processor does something other than resize, crop and normalise.
    """
    settings = processor.to_dict()
    size = settings.get("size") or {}
    crop = settings.get("crop_size") or {}
    resizes, crops = settings.get("do_resize"), settings.get("do_center_crop")
    shortest_edge = size.get("shortest_edge") if resizes else None
    fixed = (size["height"], size["width"]) if resizes and size.get("height") else None
    resample = settings.get("resample")
    if (resizes and shortest_edge is None and fixed is None) or (resizes and resample not in FILTERS):
        raise InputError(
            f"{name}: its image processor resizes in a way that is not supported (size {size}, filter {resample}); "
            "use another model"
        )
    normalizes = settings.get("do_normalize")
    preprocessing = Preprocessing(
        shortest_edge=shortest_edge if fixed is None else None,
        size=fixed,
        resample=FILTERS[resample][0] if resizes else "none",
        crop=(crop["height"], crop["width"]) if crops else None,
        scale=float(settings["rescale_factor"]) if settings.get("do_rescale") else 1.0,
        mean=tuple(map(float, settings["image_mean"])) if normalizes else (0.0, 0.0, 0.0),
        std=tuple(map(float, settings["image_std"])) if normalizes else (1.0, 1.0, 1.0),
    )
    _check(preprocessing, processor, name)
    return preprocessing


def _check(preprocessing: Preprocessing, processor: Any, name: str) -> None:
    """Check that the result equals that of the image processor on an image of noise, so that no step is overlooked."""
    import torch

    noise = np.random.default_rng(0).integers(0, 256, (300, 340, 3), dtype=np.uint8)
    theirs = processor(images=[noise], return_tensors="pt")["pixel_values"]
    ours = preprocess(noise[None], preprocessing, "cpu")
    same = theirs.shape == ours.shape
    if same:
        byte = torch.tensor(preprocessing.scale) / torch.tensor(preprocessing.std)[:, None, None]
        same = bool(((theirs - ours).abs() / byte).max() < 1.5)
    if not same:
        raise InputError(
            f"{name}: its image processor does more than resize, crop and normalise; use another model"
        )


def preprocess(
    images: UInt8[np.ndarray, "image row column 3"], preprocessing: Preprocessing, device: str
) -> "torch.Tensor":
    """Convert images to an encoder's input (image, 3, height, width) f4, on `device`.

    All images are resized at once, by multiplication with one matrix for rows and one for columns. The matrices contain
    only the rows and columns that the crop keeps. Weights, and rounding to bytes between the two products, are those
    of Pillow. Sums in float64 are exact, so the bytes
    equal those of Pillow, with one exception: for an image much taller than wide, Pillow 13 resizes the columns
    first, while here, as in earlier versions, the rows always come first.

    Raises:
        InputError: The crop is larger than the resized image.
    """
    import torch

    _, height, width, _ = images.shape
    rows, columns = preprocessing.resized(height, width)
    keep_rows, keep_columns = preprocessing.crop or (rows, columns)
    if keep_rows > rows or keep_columns > columns:
        raise InputError(
            f"images of {width} x {height} pixels become {columns} x {rows}, which is too small for the "
            f"encoder's crop of {keep_columns} x {keep_rows}; render them larger"
        )
    top, left = (rows - keep_rows) // 2, (columns - keep_columns) // 2
    # GPUs of Apple have no float64, so bytes may be rounded differently there.
    dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).to(dtype)  # (image, 3, row, column)
    if columns == width:
        pixels = pixels[..., left : left + keep_columns]
    else:
        matrix = torch.from_numpy(resize_matrix(width, columns, preprocessing.resample))
        pixels = pixels @ matrix[left : left + keep_columns].to(pixels).T
        pixels = pixels.add_(0.5).floor_().clamp_(0, 255)
    if rows == height:
        pixels = pixels[..., top : top + keep_rows, :]
    else:
        matrix = torch.from_numpy(resize_matrix(height, rows, preprocessing.resample))
        pixels = matrix[top : top + keep_rows].to(pixels) @ pixels
        pixels = pixels.add_(0.5).floor_().clamp_(0, 255)
    mean = torch.tensor(preprocessing.mean, device=device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=device)[:, None, None]
    return (pixels.float() * preprocessing.scale - mean) / std


def show_input(
    images: UInt8[np.ndarray, "image row column 3"], preprocessing: Preprocessing
) -> UInt8[np.ndarray, "image height width 3"]:
    """Return the input that `preprocess` makes of images, before it is normalised, as images."""
    import torch

    std, mean = (torch.tensor(value)[:, None, None] for value in (preprocessing.std, preprocessing.mean))
    pixels = (preprocess(images, preprocessing, "cpu") * std + mean) / preprocessing.scale
    shown: np.ndarray = pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return shown


@lru_cache(maxsize=64)
def resize_matrix(before: int, after: int, resample: str) -> Float[np.ndarray, "after before"]:
    """Return the weights with which Pillow resizes a row from `before` to `after` pixels."""
    scale = before / after
    radius = next(radius for name, radius in FILTERS.values() if name == resample)
    stretch = max(scale, 1.0)  # Filters widen when shrinking an image, against aliasing.
    weights = np.zeros((after, before))
    for index in range(after):
        centre = (index + 0.5) * scale
        first = max(int(centre - radius * stretch + 0.5), 0)
        last = min(int(centre + radius * stretch + 0.5), before)
        offsets = (np.arange(first, last) + 0.5 - centre) / stretch
        kernel = _kernel(offsets, resample)
        weights[index, first:last] = kernel / kernel.sum()
    return np.round(weights * FIXED_POINT) / FIXED_POINT


def _kernel(x: Float[np.ndarray, " tap"], resample: str) -> Float[np.ndarray, " tap"]:
    distance: Float[np.ndarray, " tap"] = np.abs(x)
    if resample == "bilinear":
        return np.where(distance < 1, 1 - distance, 0)
    if resample == "bicubic":  # Keys (1981) with a = -1/2
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        return np.where(distance < 1, near, np.where(distance < 2, far, 0))
    return np.where(distance < 3, np.sinc(x) * np.sinc(x / 3), 0)
