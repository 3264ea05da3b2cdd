"""Image files from common sources, and hostile ones."""

import base64
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdfkit.errors import InputError, UsageError
from sdfkit.io.image_files import ImageRow, find_images, holds_images

COLORS = np.zeros((40, 60, 3), np.uint8)
COLORS[:, :30] = 200, 60, 20
COLORS[20:, 30:] = 20, 90, 220


def save(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def load(path):
    (picture,) = ImageRow(0, "x", paths=[str(path)]).load()
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 4)
    return picture


@pytest.mark.parametrize(
    "name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.gif", "a.webp", "a.jp2", "a.pnm", "a.J2K"]
)
def test_lossless_formats_preserve_every_byte(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    picture = load(save(tmp_path, Image.fromarray(COLORS), name, **options))
    assert np.array_equal(picture[..., :3], COLORS)
    assert (picture[..., 3] == 255).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.avif"])
def test_lossy_formats_preserve_colours_approximately(tmp_path, name):
    picture = load(save(tmp_path, Image.fromarray(COLORS), name, quality=95))
    assert np.abs(picture[10, 10, :3].astype(int) - COLORS[10, 10]).max() < 12


def test_the_format_is_detected_from_the_content(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "really.jpg", "PNG")
    assert np.array_equal(load(tmp_path / "really.jpg")[..., :3], COLORS)


def test_image_modes_are_converted_to_8_bit_colour(tmp_path):
    grey = np.linspace(0, 255, 60, dtype=np.uint8)[None].repeat(40, axis=0)
    assert np.array_equal(load(save(tmp_path, Image.fromarray(grey), "l.png"))[..., 1], grey)
    deep = grey.astype(np.uint16) * 257
    for name in ("i16.png", "i16.tif"):
        assert np.array_equal(load(save(tmp_path, Image.fromarray(deep), name))[..., 2], grey), "not clipped"
    black = load(save(tmp_path, Image.fromarray(grey > 100), "1.png"))
    assert set(np.unique(black[..., :3])) == {0, 255}


def png(path, header, lines):
    """Write a PNG that Pillow would not write."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )
    return path


def test_16_bit_colour_is_scaled(tmp_path):
    deep = (COLORS.astype(np.uint16) * 257).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in deep)
    path = png(tmp_path / "deep.png", struct.pack(">2I5B", 60, 40, 16, 2, 0, 0, 0), lines)
    assert np.array_equal(load(path)[..., :3], COLORS)


def test_cmyk_is_converted(tmp_path):
    path = save(tmp_path, Image.fromarray(COLORS).convert("CMYK"), "print.jpg", quality=95)
    assert np.abs(load(path)[10, 10, :3].astype(int) - COLORS[10, 10]).max() < 12


def test_transparency_of_palette_and_rgb_images_is_read(tmp_path):
    palette = Image.fromarray(COLORS).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    index = palette.getpixel((50, 5))
    clear = load(save(tmp_path, palette, "p.png", transparency=index))
    assert clear[5, 50, 3] == 0 and clear[10, 10].tolist() == [200, 60, 20, 255]
    keyed = load(save(tmp_path, Image.fromarray(COLORS), "key.png", transparency=(0, 0, 0)))
    assert clear[..., 3].tolist() == keyed[..., 3].tolist()
    both = np.dstack([COLORS[..., 0], np.full((40, 60), 128, np.uint8)])
    assert (load(save(tmp_path, Image.fromarray(both, "LA"), "la.png"))[..., 3] == 128).all()


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the image must be rotated clockwise
    picture = load(save(tmp_path, Image.fromarray(COLORS), "phone.png", exif=exif))
    assert np.array_equal(picture[..., :3], np.rot90(COLORS, -1))


def test_a_large_photo_is_reduced_while_decoding(tmp_path):
    large = Image.fromarray(COLORS).resize((3000, 1500), Image.Resampling.NEAREST)
    for name in ("large.png", "large.jpg"):
        rows, columns, _ = load(save(tmp_path, large, name)).shape
        assert max(rows, columns) <= 2048
        assert columns / rows == pytest.approx(2, rel=0.01)


def test_of_a_file_with_several_images_the_first_is_read(tmp_path):
    first, second = Image.fromarray(COLORS), Image.fromarray(COLORS[::-1].copy())
    path = save(tmp_path, first, "camera.mpo", save_all=True, append_images=[second], quality=95)
    assert np.abs(load(path)[10, 10, :3].astype(int) - COLORS[10, 10]).max() < 12


def bad_files(tmp_path):
    image = Image.fromarray(COLORS)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8))
    frames = {"save_all": True, "append_images": [Image.fromarray(COLORS[::-1].copy())]}
    for name in ("cut.png", "cut.jpg", "cut.webp", "cut.tif", "cut.bmp"):
        whole = save(tmp_path, noise, name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        yield name, r"cannot be decoded \(|is not an image in a supported format"
    save(tmp_path, image, "moves.gif", **frames)
    yield "moves.gif", r"holds 2 images \(an animation or pages\); save the one to use"
    save(tmp_path, image, "moves.png", **frames)
    yield "moves.png", "holds 2 images"
    save(tmp_path, image, "pages.tif", **frames)
    yield "pages.tif", "holds 2 images"
    for name, content, told in (
        ("empty.png", b"", "is an empty file; was it copied completely"),
        (
            "text.png",
            b"not a picture at all\n",
            "is not an image in a supported format; convert it to PNG, JPEG, ",
        ),
        ("drawing.svg", b'<?xml version="1.0"?><svg/>', "SVG files are not supported; convert it"),
        ("photo.NEF", b"II*\0" + bytes(60), "camera raw files are not supported; convert it"),
        ("paper.pdf", b"%PDF-1.7\n", "PDF files are not supported"),
        (
            "program.eps",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "is not an image in a supported format",
        ),
    ):
        (tmp_path / name).write_bytes(content)
        yield name, told
    save(tmp_path, Image.fromarray(np.ones((4, 4), np.float32)), "float.tif")
    yield "float.tif", "has 32-bit pixel values, whose white level is unknown"
    # 20,000 x 20,000 pixels in a few bytes.
    png(tmp_path / "bomb.png", struct.pack(">2I5B", 20_000, 20_000, 8, 2, 0, 0, 0), bytes(100))
    yield "bomb.png", "has more than 89 million pixels; scale it down"
    # Up to twice the limit Pillow only warns.
    save(tmp_path, Image.new("1", (10_000, 9_500)), "large.png")
    yield "large.png", "more than 89 million pixels"


def test_every_bad_file_gives_one_line(tmp_path):
    for name, told in bad_files(tmp_path):
        with pytest.raises(InputError, match=told) as error:
            load(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name))
        assert "\n" not in str(error.value)


# 32 x 16 pixels: the left half is (200, 60, 20), the right half (20, 90, 220).
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERA"
    "AAEAAQAAAAABoAABAAAAAAAAAKkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAA"
    "AHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq"
    "rprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAIAAAAAEAAAAQ"
    "AAAAAf///+AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAsW1kYXQAAAClKAGvCchnraI5I1d//8N8"
    "v/9x4aH7Xp4rf+5Cz7+J0r/+93j+U6/0yaouwifRuQLdDM7oAu6zTcsYq4E2sozKQy1l+zZhZFbWZZU2GL6nkyTjjTORIMs4XLc5PEhjE/pmXlOc/ESX"
    "cX6On2fq6ftfoE1mlzA1iStaI1RkzPWIng7+FWbk8+2sUBtxAFaMOLwGbXSiOWM/dlRGTeiRSebNK0E6JBfA"
)


def test_heic_photos_are_read_with_the_package_pi_heif(tmp_path):
    pytest.importorskip("pi_heif")
    (tmp_path / "phone.HEIC").write_bytes(HEIC)
    picture = load(tmp_path / "phone.HEIC")
    assert picture.shape == (16, 32, 4)
    for column, colour in ((8, (200, 60, 20)), (24, (20, 90, 220))):
        assert np.abs(picture[8, column, :3].astype(int) - colour).max() <= 3
    for length in (30, 400, 500):
        (tmp_path / "cut.heic").write_bytes(HEIC[:length])
        with pytest.raises(InputError, match="cut.heic: cannot be decoded .*is it truncated or damaged"):
            load(tmp_path / "cut.heic")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "phone.heic",
            HEIC,
            r"HEIC files are not supported; convert it to PNG.*, or pip install 'sdfkit\[photos\]'",
        ),
        (
            "a.jxl",
            b"\xff\x0a" + bytes(30),
            "JPEG XL files are not supported; .*, or pip install pillow-jxl-plugin",
        ),
        ("a.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "JPEG XL files are not supported"),
    ],
)
def test_formats_whose_package_is_not_installed_are_refused_with_the_remedy(
    tmp_path, monkeypatch, name, content, message
):
    for package in ("pi_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)
    # A file that is read fails in its own row; the others are not lost.
    save(tmp_path, Image.fromarray(COLORS), "other.png")
    assert {row.uid for row in find_images([str(tmp_path)], manifest=None)} == {"other", Path(name).stem}


def test_avif_is_not_taken_for_heic(tmp_path):
    content = save(tmp_path, Image.fromarray(COLORS), "a.avif").read_bytes()
    (tmp_path / "b.avif").write_bytes(content.replace(b"ftypavif", b"ftypmif1", 1))
    assert load(tmp_path / "b.avif").shape == (40, 60, 4)


def test_pictures_of_formats_that_are_not_read_are_counted(tmp_path, caplog):
    for name in ("a.png", "b.JPG", "c.NEF", "d.nef", "e.psd", "notes.txt", ".DS_Store", "._a.jpg", ".f.nef"):
        (tmp_path / name).write_bytes(b"")
    rows = find_images([str(tmp_path)], manifest=None)
    assert [row.uid for row in rows] == ["a", "b"]
    assert caplog.messages == [
        f"{tmp_path}: 2 .nef, 1 .psd are skipped; convert pictures to PNG or JPEG, and give deeper folders one by one"
    ]
    for name in ("a.png", "b.JPG"):
        (tmp_path / name).unlink()
    with pytest.raises(
        InputError, match=r"is a folder without images \(.*\) but with 2 \.nef, 1 \.psd; give image"
    ):
        find_images([str(tmp_path)], manifest=None)


def test_pictures_that_lie_too_deep_are_counted(tmp_path, caplog):
    for name in ("a/1.png", "b/2.png", "b/more/3.png", "b/more/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [row.uid for row in find_images([str(tmp_path)], manifest=None)] == ["a", "b"]
    assert "2 pictures in folders of folders are skipped" in caplog.messages[0]


def test_a_folder_tells_pictures_of_one_name_apart(tmp_path):
    for name in ("chair/1.png", "chair/2.png", "lamp/1.png", "lamp/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    folders = [str(tmp_path / name) for name in ("chair", "lamp")]
    rows = find_images(folders, manifest=None)
    assert [row.uid for row in rows] == ["chair_1", "2", "lamp_1", "3"]
    assert [row.uid for row in find_images([rows[2].paths[0]], manifest=None)] == ["lamp_1"]


def test_image_files_are_grouped_into_shapes_by_folder(tmp_path):
    for name in (
        "b.png",
        "a/2.jpg",
        "a/1.png",
        ".hidden.png",
        "c/x.png",
        "c/y.webp",
        "notes.txt",
        "c/notes.txt",
    ):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    folder = tmp_path / "folder"
    rows = find_images([str(folder)], manifest=None)
    assert [(row.uid, len(row.paths)) for row in rows] == [("a", 2), ("b", 1), ("c", 2)]
    (folder / "b.png").unlink()
    rows = find_images([str(folder)], manifest=None)
    assert [(row.index, row.uid, row.paths) for row in rows] == [
        (0, "a", [str(folder / "a/1.png"), str(folder / "a/2.jpg")]),
        (1, "c", [str(folder / "c/x.png"), str(folder / "c/y.webp")]),
    ]
    rows = find_images([str(folder / "a/1.png"), str(folder / "c"), str(folder / "a/1.png")], manifest=None)
    assert [row.uid for row in rows] == ["1", "x", "y", "1_2"]
    assert all(len(row.paths) == 1 for row in rows)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none: is a folder without images \(\.apng, \.avif"):
        find_images([str(tmp_path / "none")], manifest=None)
    with pytest.raises(FileNotFoundError):
        find_images([str(tmp_path / "missing.png")], manifest=None)


def test_images_are_distinguished_from_stores_and_meshes_by_their_first_bytes(tmp_path):
    picture = save(tmp_path, Image.fromarray(COLORS), "a.png")
    assert holds_images([str(picture), str(tmp_path)])
    archive = tmp_path / "a.png.zip"
    archive.write_bytes(b"PK\x03\x04" + bytes(60))
    assert not holds_images([str(archive)])
    assert not holds_images(["s3://bucket/views.zarr"])
    with pytest.raises(
        UsageError, match=r"is a store among other inputs; give only stores, or only image files"
    ):
        holds_images([str(picture), str(archive)])
    assert not holds_images([str(archive), "s3://bucket/views.zarr"])
    for name, content in (
        ("chair.glb", b"glTF" + bytes(20)),
        ("chair", b"ply\n"),
        ("chair.obj", b"v 0 0 0\n"),
    ):
        mesh = tmp_path / name
        mesh.write_bytes(content)
        with pytest.raises(InputError, match=f"render the mesh first: sdfkit render .*{name}"):
            holds_images([str(mesh)])


def test_the_digest_depends_only_on_the_content(tmp_path):
    a, b = (save(tmp_path, Image.fromarray(COLORS), name) for name in ("a.png", "b.png"))
    assert ImageRow(0, "a", paths=[str(a)]).identity == ImageRow(1, "b", paths=[str(b)]).identity
    b.write_bytes(b"other")
    assert ImageRow(0, "a", paths=[str(a)]).identity != ImageRow(1, "b", paths=[str(b)]).identity
    stream = io.BytesIO()
    Image.fromarray(COLORS).save(stream, "PNG")
    assert len(ImageRow(0, "picture", content=stream.getvalue()).load()) == 1
