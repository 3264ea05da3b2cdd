import io
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sdfkit.errors import InputError
from sdfkit.images.photos import SILHOUETTE_RADIUS, fit_background, frame_photo

FRAME = {"size": 224, "distance": 2.5, "yfov": math.radians(60)}
# The disc of the unit sphere in a picture of 224 pixels.
SPHERE = 112 * math.tan(math.asin(1 / 2.5)) / math.tan(math.radians(30))


@pytest.fixture(scope="module")
def render():
    """An image and mask of a stool on black, antialiased and shaded from above."""
    mask = Image.new("L", (896, 896))
    draw = ImageDraw.Draw(mask)
    for left in (270, 400, 560):
        draw.rectangle((left, 380, left + 45, 720), fill=255)
    draw.ellipse((220, 240, 660, 480), fill=255)
    opacity = np.asarray(mask.reduce(4))
    shade = np.linspace(1, 0.4, 224)[:, None, None] * np.array([130, 145, 170])
    return (shade * opacity[..., None] / 255).astype(np.uint8), opacity


def white(rows, columns):
    return np.full((rows, columns, 3), 255.0)


def gradient(rows, columns):
    y, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    return np.stack([250 - 60 * y - 20 * x, 245 - 60 * y * y, 235 - 40 * y - 30 * x], axis=-1)


def grainy(rows, columns):
    return gradient(rows, columns) + np.random.default_rng(0).normal(0, 5, (rows, columns, 1))


def photograph(render, background, *, side=380, at=(150, 290), quality=85):
    """Place a rendered image on a background at another scale and position, as JPEG or with opacity."""
    rgb, mask = render
    picture, opacity = (
        np.asarray(Image.fromarray(array).resize((side, side), Image.Resampling.LANCZOS), float)
        for array in (rgb, mask)
    )
    canvas = background(600, 800)
    place = canvas[at[0] : at[0] + side, at[1] : at[1] + side]
    # Colours on black are already multiplied by the opacity.
    place[:] = picture + place * (1 - opacity[..., None] / 255)
    file = io.BytesIO()
    Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGBA"))


def circle(picture):
    """Return the centre of the bounding box of the pixels that are not black, and their largest distance from it."""
    y, x = np.nonzero(picture.max(axis=-1) > 40)
    middle = np.array([x.min() + x.max() + 1, y.min() + y.max() + 1]) / 2
    return middle, np.hypot(x + 0.5 - middle[0], y + 0.5 - middle[1]).max()


@pytest.mark.parametrize("background", [white, gradient, grainy])
@pytest.mark.parametrize("matte", ["auto", "plain"])
def test_a_plain_background_is_removed_and_the_object_is_framed(render, background, matte):
    framed, found = frame_photo(photograph(render, background), matte=matte, **FRAME)
    assert (framed.shape, framed.dtype, found) == ((224, 224, 3), np.uint8, "plain")
    middle, reach = circle(framed)
    assert np.allclose(middle, 112, atol=1.5)
    assert reach == pytest.approx(SILHOUETTE_RADIUS * SPHERE, abs=2)
    corner = framed.copy()
    y, x = np.mgrid[:224, :224]
    corner[np.hypot(x - 111.5, y - 111.5) < SILHOUETTE_RADIUS * SPHERE + 3] = 0
    assert corner.max() <= 3, "black around it"


@pytest.mark.parametrize("background", [white, gradient])
def test_no_light_fringe_remains(render, background):
    rgb, mask = render
    pure = np.where(mask[..., None] > 0, rgb / np.maximum(mask[..., None] / 255, 1e-3), 0).clip(0, 255)
    opaque = np.dstack([pure.astype(np.uint8), mask])
    # The expected result is the object cut out by its true opacity from a lossless image.
    truth, found = frame_photo(opaque, matte="alpha", **FRAME)
    assert found == "alpha"
    framed, _ = frame_photo(photograph(render, background, quality=95), matte="plain", **FRAME)
    assert np.abs(framed.astype(int) - truth).mean() < 2.5
    assert np.percentile(framed.max(axis=-1), 99.9) <= truth.max() + 12


@pytest.mark.parametrize(("inside", "size", "kept"), [(255, 40, False), (250, 40, True), (255, 4, True)])
def test_enclosed_regions_are_removed_only_if_they_have_the_background_colour_and_are_large(
    inside, size, kept
):
    photo = np.full((200, 200, 4), 255, np.uint8)
    photo[50:150, 50:150, :3] = 80
    region = slice(100 - size // 2, 100 + size // 2)
    photo[region, region, :3] = inside
    framed, _ = frame_photo(photo, matte="plain", **FRAME)
    middle = framed[112, 112]
    assert (middle > 150).all() if kept else (middle == 0).all()


def test_small_specks_are_not_taken_for_the_object():
    photo = np.full((200, 200, 4), 255, np.uint8)
    photo[60:140, 60:140, :3] = 80
    clean, _ = frame_photo(photo, matte="plain", **FRAME)
    photo[10:12, 180:182, :3] = 0
    assert np.array_equal(frame_photo(photo, matte="plain", **FRAME)[0], clean)


def test_an_object_at_the_border_does_not_change_the_estimated_background():
    color = gradient(120, 160).astype(np.float32)
    expected = color.copy()
    color[40:, 60:100] = 30
    background = fit_background(color)
    assert np.abs(background - expected).max() < 3


def test_without_matting_the_whole_image_is_kept(render):
    rgb, _ = render
    opaque = np.dstack([rgb, np.full((224, 224), 255, np.uint8)])
    same, found = frame_photo(opaque, matte="none", **FRAME)
    assert found == "none"
    assert np.array_equal(same, rgb), "a saved render comes back to the byte"
    wide = np.full((100, 300, 4), 200, np.uint8)
    wide[..., 3] = 128
    framed, _ = frame_photo(wide, matte="none", **FRAME)
    assert (framed[:70] == 0).all() and (framed[-70:] == 0).all(), "black above and below"
    assert (framed[110:114] == 100).all(), "on black where it is transparent"


def test_auto_keeps_the_image_if_the_object_cannot_be_cut_out():
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 4), dtype=np.uint8)
    noise[..., 3] = 255
    framed, found = frame_photo(noise, matte="auto", **FRAME)
    assert found == "none"
    assert np.array_equal(framed, frame_photo(noise, matte="none", **FRAME)[0])


def test_photos_that_cannot_be_cut_out_are_refused_with_a_reason():
    plain = np.full((90, 120, 4), 255, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 4), dtype=np.uint8)
    noise[..., 3] = 255
    for photo, matte, told in (
        (plain, "alpha", "less than 1 % of the image is transparent; use --matte plain"),
        (noise, "plain", r"the background is not of one colour; cut the object out \(--matte alpha\)"),
        (plain, "plain", "no object differs from the background"),
        (plain, "auto", "no object differs from the background"),
        (plain * np.uint8(0), "alpha", "all pixels are transparent"),
    ):
        with pytest.raises(InputError, match=told):
            frame_photo(photo, matte=matte, **FRAME)
