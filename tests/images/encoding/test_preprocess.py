import math

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    EfficientNetImageProcessorPil,
    SiglipImageProcessorPil,
    ViTImageProcessorPil,
)

from sdfkit.errors import InputError
from sdfkit.images.encoding.preprocess import preprocess, read_preprocessing, resize_matrix, show_input
from sdfkit.images.rendering.cameras import silhouette_share

DINOV2 = BitImageProcessorPil(
    size={"shortest_edge": 256}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
)
PROCESSORS = {
    "dinov2": DINOV2,
    "clip": CLIPImageProcessorPil(),
    "siglip": SiglipImageProcessorPil(),
    "vit": ViTImageProcessorPil(),
    "lanczos": ViTImageProcessorPil(resample=1),
    "raw": CLIPImageProcessorPil(do_resize=False, do_center_crop=False, do_rescale=False, do_normalize=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("shape", [(224, 224), (256, 256), (100, 120), (480, 640)])
def test_pixels_equal_those_of_the_models_processor(name, shape):
    pictures = np.random.default_rng(1).integers(0, 256, (3, *shape, 3), dtype=np.uint8)
    preprocessing = read_preprocessing(PROCESSORS[name], name)
    expected = PROCESSORS[name](images=list(pictures), return_tensors="pt")["pixel_values"]
    pixels = preprocess(pictures, preprocessing, "cpu")
    assert pixels.shape == expected.shape
    assert pixels.dtype == torch.float32
    levels = (pixels - expected).abs() * torch.tensor(preprocessing.std)[:, None, None] / preprocessing.scale
    assert levels.max() < 1e-3


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("before", "after"), [(224, 256), (640, 224), (7, 7), (5, 64)])
def test_resizing_preserves_constants_and_symmetry(resample, before, after):
    matrix = resize_matrix(before, after, resample)
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(matrix, matrix[::-1, ::-1], atol=1e-6)


def test_resizing_along_one_axis_equals_pillow():
    picture = np.random.default_rng(2).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(picture).resize((90, 50), Image.Resampling.BICUBIC))
    row = resize_matrix(60, 90, "bicubic") @ picture[7].astype(np.float64)
    assert np.array_equal(np.clip(np.floor(row + 0.5), 0, 255), wide[7])


def test_the_kept_share_of_the_crop_and_of_the_unit_sphere_is_correct():
    dinov2 = read_preprocessing(DINOV2, "dinov2")
    assert dinov2.kept(224, 224) == (0.875, 0.875)
    assert dinov2.kept(448, 224) == (224 / 512, 0.875)
    assert silhouette_share(2.5, math.radians(53.2), 224, 224, dinov2.kept(224, 224)) == 1
    assert silhouette_share(2.5, math.radians(50), 224, 224, dinov2.kept(224, 224)) < 1
    assert read_preprocessing(PROCESSORS["siglip"], "siglip").kept(100, 300) == (1, 1)


def test_a_processor_with_unsupported_steps_is_refused():
    with pytest.raises(InputError, match="efficientnet: its image processor does more than resize, crop"):
        read_preprocessing(EfficientNetImageProcessorPil(include_top=True), "efficientnet")
    with pytest.raises(
        InputError, match=r"box: its image processor resizes in a way that is not .* filter 4"
    ):
        read_preprocessing(ViTImageProcessorPil(resample=4), "box")


def test_images_smaller_than_the_crop_are_refused():
    raw = CLIPImageProcessorPil(do_resize=False)
    with pytest.raises(
        InputError, match=r"images of 100 x 90 pixels become 100 x 90, .* too small for .* 224 x 224"
    ):
        preprocess(np.zeros((1, 90, 100, 3), np.uint8), read_preprocessing(raw, "raw"), "cpu")


@pytest.mark.parametrize("name", ["dinov2", "siglip", "raw"])
def test_the_input_of_an_encoder_is_shown_before_it_is_normalised(name):
    pictures = np.random.default_rng(1).integers(0, 256, (1, 90, 120, 3), dtype=np.uint8)
    plain = PROCESSORS[name].to_dict() | {"do_normalize": False, "do_rescale": False}
    expected = type(PROCESSORS[name])(**plain)(images=list(pictures), return_tensors="np")["pixel_values"]
    shown = show_input(pictures, read_preprocessing(PROCESSORS[name], name))
    assert shown.dtype == np.uint8
    assert np.abs(shown.astype(int) - np.moveaxis(expected, 1, -1)).max() <= 1
