"""What a page shows of photos is what `embed` is given."""

import numpy as np
import pytest
from PIL import Image

from sdfkit.images.encoding.preprocess import Preprocessing
from sdfkit.io.views import find_views
from sdfkit.report.table_pages.photos import METHODS, OUTCOMES, WHOLE, examine_photo


def make_photo(kind):
    """Return a red disc on grey, on noise or on nothing, or grey alone, as (row, column, RGBA)."""
    photo = np.full((80, 120, 4), (120, 122, 121, 255), np.uint8)
    row, column = np.mgrid[:80, :120]
    disc = np.hypot(row - 40, column - 70) < 25
    if kind == "noise":
        photo[..., :3] = np.random.default_rng(0).integers(0, 256, (80, 120, 3))
    if kind != "empty":
        photo[disc, :3] = (200, 30, 30)
    if kind == "transparent":
        photo[..., 3] = 255 * disc
    return photo, disc


@pytest.mark.parametrize(("kind", "found"), [("grey", "plain"), ("noise", "none"), ("transparent", "alpha")])
def test_the_shown_input_is_that_of_embed(kind, found, tmp_path):
    photo, disc = make_photo(kind)
    Image.fromarray(photo).save(tmp_path / "x.png")
    shown = examine_photo("x", photo, ("auto", *METHODS), None, 1000)
    assert shown.outcome == OUTCOMES[found] and np.array_equal(shown.picture, photo)
    for method, result in zip(("auto", *METHODS), shown.results, strict=True):
        source = find_views([str(tmp_path / "x.png")], ["rgb"], matte=method, manifest=None)
        if isinstance(result.input, str):
            with pytest.raises(Exception, match=result.mask[:20]):
                source.load(source.known[0])
            continue
        assert np.array_equal(source.load(source.known[0])["views"][0][0], result.input)
    auto = shown.results[0]
    if found == "none":
        assert auto.mask == WHOLE
    else:
        assert ((auto.mask > 127) == disc).mean() > 0.99


def test_a_photo_that_embed_refuses_has_its_reason():
    shown = examine_photo("x", make_photo("empty")[0], METHODS, None, 64)
    assert shown.outcome.startswith("embed refuses the photo: no object differs from the background")
    alpha, plain, none = shown.results
    assert alpha.mask.startswith("less than 1 % of the image is transparent") and alpha.input == "not made"
    assert plain.mask.startswith("no object differs") and none.input.shape == (64, 64, 3)


def test_the_crop_of_an_encoder_is_shown():
    crop = Preprocessing(None, None, "none", (100, 100), 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    photo = make_photo("grey")[0]
    whole, cut = (examine_photo("x", photo, ("none",), each, 500).results[0].input for each in (None, crop))
    assert whole.shape == (224, 224, 3) and np.array_equal(cut, whole[62:162, 62:162])
