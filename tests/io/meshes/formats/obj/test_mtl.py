"""Materials of OBJ files: colours, textures and their options."""

import pytest

from sdfkit.io.meshes.formats.obj.mtl import Definition, read_mtl

HALF = ((128 / 255 + 0.055) / 1.055) ** 2.4  # linear light of the sRGB byte 128


def read(line):
    return read_mtl(f"newmtl a\n{line}\n".encode())["a"]


@pytest.mark.parametrize(
    ("line", "base"),
    [
        ("Kd 1 0 0.50196", (1, 0, HALF)),
        ("kd\t1  0\t0.50196 # red", (1, 0, HALF)),
        ("Kd 0.50196", (HALF, HALF, HALF)),
        ("Kd 0.0 1.0", (0, 1, 0)),
        ("Kd 2 -1 nan", (1, 0, 0)),
        ("Kd 1 0 0 1", (1, 0, 0)),
        ("Ka 1 0 0\nKs 1 1 1\nd 0.5\nTr 0.5\nillum 2", None),
        ("Kd", None),
        ("Kd spectral red.rfl 1", None),
        ("Kd xyz 0.2 0.3 0.4", None),
        ("Kd 1 0 0\nKd 0 0 1", (0, 0, 1)),
    ],
)
def test_diffuse_colours_are_srgb(line, base):
    found = read(line).base
    assert found == (base if base is None else pytest.approx(base))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {}),
        ("-clamp on ", {"wrap": "clamp"}),
        ("-clamp off ", {}),
        ("-s 2 ", {"scale": (2, 1)}),
        ("-s 2 3 4 -o 0.5 -.25 0 ", {"scale": (2, 3), "offset": (0.5, -0.25)}),
        ("-o -1e-1 .5 ", {"offset": (-0.1, 0.5)}),
        ("-blendu off -blendv on -cc off -mm 0 1 -texres 512 -t 1 1 1 -bm 2 -boost 1 -imfchan l ", {}),
        ("-colorspace sRGB -CLAMP ON ", {"wrap": "clamp"}),
    ],
)
@pytest.mark.parametrize(
    "name",
    ["a.png", "two words.png", "../maps/a.png", r"C:\my maps\a.png", "-a.png", "1.png", "ä.png"],
)
def test_options_are_told_apart_from_the_name_of_the_file(options, expected, name):
    assert read(f"map_Kd {options}{name}") == Definition(picture=name, **expected)


def test_names_in_quotes_lose_the_quotes():
    assert read('map_Kd "a b.png"').picture == "a b.png"


def test_names_of_materials_may_contain_spaces_and_number_signs():
    table = read_mtl(b"newmtl Map  #2\t x \nKd 1 0 0\nnewmtl\nKd 0 1 0\n")
    assert {name: material.base for name, material in table.items()} == {"Map #2 x": (1, 0, 0), "": (0, 1, 0)}


def test_the_last_definition_of_a_material_holds():
    assert read_mtl(b"newmtl a\nKd 1 0 0\nmap_Kd a.png\nnewmtl a\nKd 0 1 0\n") == {"a": Definition((0, 1, 0))}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_newlines_give_the_same_materials(encoding, newline):
    text = newline.join(["# MTL", "newmtl Größe", "\tKd 0 1 0", "map_Kd Öl.png"])
    assert read_mtl(text.encode(encoding)) == {"Größe": Definition((0, 1, 0), "Öl.png")}


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\0\0", b"Kd 1 0 0\nmap_Kd a.png", b"<html>"])
def test_files_without_materials_give_none(content):
    assert read_mtl(content) == {}
