"""Colours and textures of the triangles of a 3MF object."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import InputError
from sdfkit.images.rendering.appearance import Material, Part, Texture, Wrap
from sdfkit.io.meshes.formats.threemf.model import Object, Resource
from sdfkit.io.meshes.formats.values import decode_colours

WRAPS: dict[str, Wrap] = {"mirror": "mirror", "clamp": "clamp", "none": "clamp"}


def paint(
    thing: Object,
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    kept: Int[np.ndarray, " face"],
    resources: dict[str, Resource],
    find: Callable[[str], bytes | None],
    name: str,
) -> Iterator[Part]:
    """Yield the triangles of an object by property group.

    Groups that are unknown or that mix others give no colour.

    Args:
        thing: The object.
        vertices: Its vertices in the frame of the file.
        faces: Its triangles.
        kept: For each of them, its number in the object.
        resources: The resources of its model part.
        find: Returns the content of a part of the package, or None if it is missing.
        name: Name of the file in messages.

    Raises:
        InputError: A triangle refers to a property that does not exist, or a colour is damaged.
    """
    names = [thing.group]
    try:
        group, entries = (
            np.zeros(len(thing.faces), np.int64),
            np.full((len(thing.faces), 3), thing.entry, np.int64),
        )
        if thing.properties:
            triangles, groups, *corners = zip(*thing.properties, strict=True)
            names = sorted({thing.group, *groups})
            codes = np.searchsorted(names, [thing.group, *groups])
            group[:] = codes[0]
            group[list(triangles)] = codes[1:]
            entries[list(triangles)] = np.array(corners, dtype=np.int64).T
    except OverflowError as error:
        raise InputError(f"{name}: a triangle refers to a property that does not exist ({error})") from error
    group, entries = group[kept], entries[kept]
    for code, identifier in enumerate(names):
        chosen = group == code
        if not chosen.any():
            continue
        resource = resources.get(identifier)
        count = len(resource.entries) if resource is not None else 0
        rows = entries[chosen]
        if resource is not None and (rows.min() < 0 or rows.max() >= count):
            raise InputError(
                f"{name}: a triangle refers to entry {rows.max()} of property group {identifier}, which has {count}"
            )
        if resource is not None and resource.kind == "texture2dgroup":
            yield _map_texture(vertices, faces[chosen], rows, resource, resources, find, name)
            continue
        colours = None if resource is None else _read_colours(resource, resources, name)
        if colours is None:
            yield Part(vertices, faces[chosen])
        elif (rows == rows[0, 0]).all():
            red, green, blue = colours[rows[0, 0]].tolist()
            yield Part(vertices, faces[chosen], Material((red, green, blue)))
        elif (rows == rows[:, :1]).all():
            yield Part(vertices, faces[chosen], face_tint=colours[rows[:, 0]])
        else:
            yield Part(*_split(vertices, faces[chosen]), tint=colours[rows.reshape(-1)])


def _split(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> tuple[Float[np.ndarray, "corner 3"], Int[np.ndarray, "face 3"]]:
    """Give each corner of each face a vertex of its own."""
    return vertices[faces.reshape(-1)], np.arange(faces.size).reshape(-1, 3)


def _read_colours(
    resource: Resource, resources: dict[str, Resource], name: str
) -> Float[np.ndarray, "entry 3"] | None:
    """Return the colours of a property group as linear light. None if it has none."""
    key = {"basematerials": "displaycolor", "colorgroup": "color"}.get(resource.kind)
    try:
        if key is not None:
            digits = [entry.get(key, "#FFFFFF").strip()[1:7] for entry in resource.entries]
            return decode_colours(
                np.array([list(bytes.fromhex(text)) for text in digits]).reshape(-1, 3), 255
            )
        if resource.kind != "compositematerials":
            return None
        base = resources.get(resource.attributes["matid"])
        colours = None if base is None else _read_colours(base, {}, name)
        if colours is None:
            return None
        mixed = colours[[int(index) for index in resource.attributes["matindices"].split()]]
        shares = np.zeros((len(resource.entries), len(mixed)))
        for share, entry in zip(shares, resource.entries, strict=True):
            values = [float(value) for value in entry["values"].split()][: len(mixed)]
            share[: len(values)] = values
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{name}: a colour of {resource.kind} is damaged ({error})") from error
    shares[shares.sum(axis=1) <= 0] = 1
    light: np.ndarray = shares / shares.sum(axis=1, keepdims=True) @ mixed
    return light


def _map_texture(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    rows: Int[np.ndarray, "face 3"],
    group: Resource,
    resources: dict[str, Resource],
    find: Callable[[str], bytes | None],
    name: str,
) -> Part:
    """Return triangles with a texture."""
    try:
        coordinates = np.array([(float(entry["u"]), float(entry["v"])) for entry in group.entries])
    except (KeyError, ValueError) as error:
        raise InputError(f"{name}: a texture coordinate is damaged ({error})") from error
    texture = resources.get(group.attributes.get("texid", ""))
    attributes = {} if texture is None else texture.attributes
    path = attributes.get("path", "")
    wrap = (
        WRAPS.get(attributes.get("tilestyleu", ""), "repeat"),
        WRAPS.get(attributes.get("tilestylev", ""), "repeat"),
    )
    material = Material(texture=Texture(path, find(path) or b"", wrap))
    return Part(*_split(vertices, faces), material, uv=coordinates[rows.reshape(-1)])
