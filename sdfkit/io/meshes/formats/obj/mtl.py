"""Reads MTL files, the materials of OBJ files."""

import re
from dataclasses import dataclass, replace

import numpy as np

from sdfkit.images.rendering.appearance import Wrap
from sdfkit.io.meshes.formats.obj.lines import decode_name, to_lines
from sdfkit.io.meshes.formats.values import decode_colours

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?=\s)"
# Options between map_Kd and the file name. A file name may contain spaces, so all options must be known.
OPTION = re.compile(
    rf"-(?:(?P<shift>[ost])(?P<numbers>(?:\s+{NUMBER}){{1,3}})|mm(?:\s+{NUMBER}){{1,2}}"
    r"|(?P<switch>blendu|blendv|cc|clamp)\s+(?P<state>on|off)|(?:bm|boost|colorspace|imfchan|texres|type)\s+\S+)\s+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Definition:
    """A material of an MTL.

    Attributes:
        base: Diffuse colour (Kd), linear light from 0 to 1. None if the MTL gives none as red, green and blue.
        picture: Name of the file of the texture (map_Kd) as written in the MTL. Empty without a texture.
        wrap: How the texture continues at texture coordinates outside 0 to 1.
        scale: Factors of u and v.
        offset: Added to u and v after scaling.
    """

    base: tuple[float, float, float] | None = None
    picture: str = ""
    wrap: Wrap = "repeat"
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


def read_mtl(content: bytes) -> dict[str, Definition]:
    """Read the colours and the names of the textures of materials. All other properties are ignored.

    Lines that cannot be read are ignored. If a material is defined twice, the last definition holds.

    Args:
        content: Content of the MTL.

    Returns:
        The materials by name, with single spaces in place of white space.

    Reference: Alias|Wavefront, File Formats 4.2, section 5 (1995). It defines the options -s and -o in words only; here
        they are the factor and the offset of texture coordinates, as in Blender and three.js.
    """
    table: dict[str, Definition] = {}
    name = None
    for line in to_lines(content).split(b"\n"):
        keyword, _, rest = decode_name(line).partition(" ")
        match keyword.lower():
            case "newmtl":
                name = " ".join(rest.split())
                table[name] = Definition()
            case "kd" if name is not None:
                table[name] = replace(table[name], base=_read_colour(rest))
            case "map_kd" if name is not None:
                table[name] = _read_map(rest, table[name])
    return table


def _read_colour(text: str) -> tuple[float, float, float] | None:
    """Read red, green and blue from 0 to 1, sRGB. Green and blue are optional; spectral curves and XYZ are not read."""
    values = []
    for word in text.split()[:3]:
        try:
            values.append(float(word))
        except ValueError:
            break
    if not values:
        return None
    red, green, blue = decode_colours(np.array([values + values[:1] * (3 - len(values))]), 1.0)[0].tolist()
    return red, green, blue


def _read_map(text: str, definition: Definition) -> Definition:
    """Add a texture with its options to a material."""
    shifts = {"s": [1.0, 1.0], "o": [0.0, 0.0], "t": [0.0, 0.0]}
    wrap: Wrap = "repeat"
    rest = text.strip()
    while option := OPTION.match(rest):
        rest = rest[option.end() :]
        if option["shift"]:
            shift = shifts[option["shift"].lower()]
            numbers = [float(number) for number in option["numbers"].split()][:2]
            shift[: len(numbers)] = numbers
        elif option["switch"] and option["switch"].lower() == "clamp":
            wrap = "clamp" if option["state"].lower() == "on" else "repeat"
    (u_scale, v_scale), (u, v) = shifts["s"], shifts["o"]
    picture = rest.strip("\"'")
    return replace(definition, picture=picture, wrap=wrap, scale=(u_scale, v_scale), offset=(u, v))
