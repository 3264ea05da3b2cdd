"""The model parts of a 3MF file: objects, build items and resources."""

from dataclasses import dataclass, field
from xml.parsers.expat import XMLParserType

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.markup import local_name, parse_xml
from sdfkit.wording import counted

SPECIFICATIONS = "http://schemas.microsoft.com/3dmanufacturing/"
CORE, MATERIAL = SPECIFICATIONS + "core/2015/02", SPECIFICATIONS + "material/2015/02"
# Extensions that a file may require. Triangle sets only group triangles.
HONOURED = {
    CORE, MATERIAL, SPECIFICATIONS + "production/2015/06", SPECIFICATIONS + "trianglesets/2021/07",
}  # fmt: skip
# Settings of Cura for meshes that are no part of the shape.
SETTINGS = {"cura:anti_overhang_mesh", "cura:cutting_mesh", "cura:infill_mesh", "cura:support_mesh"}
# Elements of extensions that hold a shape, in an object that may have a mesh, too.
SHAPES = {"beam", "ball", "booleanshape", "displacementmesh", "levelset"}
GROUPS = {"basematerials", "colorgroup", "texture2dgroup", "compositematerials", "multiproperties"}
ENTRIES = {"base", "color", "tex2coord", "composite", "multi"}


@dataclass(frozen=True)
class Use:
    """An object as a component or as an item of the build.

    Attributes:
        part: The model part that holds the object. Empty for the part in which this is written.
        object: The id of the object there.
        matrix: 4x3 matrix that is multiplied by (x, y, z, 1) as a row, from the frame of the object.
    """

    part: str
    object: str
    matrix: Float[np.ndarray, "4 3"]


@dataclass
class Object:
    """An object: a mesh or components.

    Attributes:
        id: The id in its model part.
        kind: What the mesh is for: model, surface, support, solidsupport or other, or a setting of `SETTINGS`.
        group: The id of the default property group of the triangles. Empty if there is none.
        entry: The default property in it.
        vertices: Positions of the vertices.
        faces: The vertices of the triangles.
        properties: For triangles with properties of their own: triangle, property group, and the properties of the
            three corners.
        components: Other objects that it consists of.
        shapes: Names of elements of `SHAPES` that it holds, with their number.
    """

    id: str
    kind: str
    group: str
    entry: int
    vertices: Float[np.ndarray, "vertex 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    faces: Int[np.ndarray, "face 3"] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    properties: list[tuple[int, str, int, int, int]] = field(default_factory=list)
    components: list[Use] = field(default_factory=list)
    shapes: dict[str, int] = field(default_factory=dict)


@dataclass
class Resource:
    """A property group or a texture.

    Attributes:
        kind: Name of the element.
        attributes: Its attributes.
        entries: The attributes of its entries.
    """

    kind: str
    attributes: dict[str, str]
    entries: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Model:
    """A model part.

    Attributes:
        objects: Objects by id.
        resources: Property groups and textures by id.
        build: The items to be built.
    """

    objects: dict[str, Object] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    build: list[Use] = field(default_factory=list)


def read_model(content: bytes, name: str, *, colour: bool) -> Model:
    """Parse a model part.

    Args:
        content: The part.
        name: Names of the file and the part in messages.
        colour: Whether properties and textures are wanted.

    Raises:
        InputError: The part is damaged, or requires an extension that is not supported.
    """
    reader = _ModelReader(name, colour)
    try:
        parse_xml(content, name, reader.connect)
        reader.finish_object()
    except (LookupError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: has an incomplete element ({error}); is it damaged?") from error
    return reader.model


class _ModelReader:
    """Collects a model from the starts of its elements. Their ends are not needed, and calls for them take time."""

    def __init__(self, name: str, colour: bool) -> None:
        self.name, self.colour = name, colour
        self.model = Model()
        self.prefixes: dict[str, str] = {}
        # The namespace of the core elements, followed by a space, is that of the outermost element.
        self.core, self.vertex, self.triangle = "", "", ""
        self.object: Object | None = None
        self.coordinates, self.corners = list[str](), list[str]()
        self.resource: Resource | None = None

    def connect(self, parser: XMLParserType) -> None:
        """Set the handlers of a parser."""
        self.parser = parser
        parser.StartElementHandler = self.start
        parser.StartNamespaceDeclHandler = self.declare

    def declare(self, prefix: str | None, namespace: str) -> None:
        self.prefixes.setdefault(prefix or "", namespace)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        # Nearly all elements are triangles or vertices, so these come first.
        if tag == self.triangle:
            self.corners.extend((attributes["v1"], attributes["v2"], attributes["v3"]))
            if self.colour and "p1" in attributes and self.object is not None:
                first = attributes["p1"]
                self.object.properties.append((
                    len(self.corners) // 3 - 1, attributes.get("pid", self.object.group),
                    int(first), int(attributes.get("p2", first)), int(attributes.get("p3", first)),
                ))  # fmt: skip
        elif tag == self.vertex:
            self.coordinates.extend((attributes["x"], attributes["y"], attributes["z"]))
        else:
            self._start_other(tag, local_name(tag), attributes)

    def finish_object(self) -> None:
        """Convert the vertices and triangles of the current object."""
        if self.object is not None:
            self.object.vertices = np.array(self.coordinates, dtype=np.float64).reshape(-1, 3)
            self.object.faces = np.array(self.corners, dtype=np.int64).reshape(-1, 3)
        self.coordinates.clear()
        self.corners.clear()

    def _start_other(self, tag: str, name: str, attributes: dict[str, str]) -> None:
        self.parser.CharacterDataHandler = None
        if not self.triangle:
            self._check_root(name, attributes)
            self.core = tag.removesuffix(name)
            self.vertex, self.triangle = f"{self.core}vertex", f"{self.core}triangle"
        elif tag == f"{self.core}object":
            self.finish_object()
            identifier = attributes["id"]
            if identifier in self.model.objects:
                raise InputError(f"{self.name}: has two objects with the id {identifier}; is it damaged?")
            kind, group = attributes.get("type", "model"), attributes.get("pid", "")
            self.resource, self.object = (
                None,
                Object(identifier, kind, group, int(attributes.get("pindex", 0))),
            )
            self.model.objects[identifier] = self.object
        elif tag == f"{self.core}component" and self.object is not None:
            self.object.components.append(_read_use(attributes))
        elif tag == f"{self.core}item":
            self.model.build.append(_read_use(attributes))
        elif self.object is not None and attributes.get("name") in SETTINGS:
            thing, setting = self.object, attributes["name"]

            def read_setting(text: str) -> None:
                thing.kind = setting if text.strip().lower() == "true" else thing.kind

            self.parser.CharacterDataHandler = read_setting
        elif name in SHAPES and self.object is not None:
            self.object.shapes[name] = self.object.shapes.get(name, 0) + 1
        elif self.colour and (name in GROUPS or name == "texture2d"):
            self.resource = self.model.resources[attributes["id"]] = Resource(name, attributes)
        elif self.resource is not None and name in ENTRIES:
            self.resource.entries.append(attributes)

    def _check_root(self, name: str, attributes: dict[str, str]) -> None:
        """Check that the outermost element is a model without required extensions that are not supported."""
        if name != "model":
            raise InputError(f"{self.name}: is not a 3MF model; its outermost element is {name}")
        for prefix in attributes.get("requiredextensions", "").split():
            namespace = self.prefixes.get(prefix, prefix)
            if namespace not in HONOURED:
                extension = namespace.rpartition("3dmanufacturing/")[2]
                raise InputError(
                    f"{self.name}: needs the 3MF extension {extension}, which is not supported; export a plain mesh"
                )


def _read_use(attributes: dict[str, str]) -> Use:
    path = next((value for key, value in attributes.items() if key.endswith(" path")), "")
    numbers = [float(number) for number in attributes.get("transform", "1 0 0 0 1 0 0 0 1 0 0 0").split()]
    if len(numbers) != 12:
        raise ValueError(f"a transform of {counted(len(numbers), 'number')} in place of 12")
    return Use(path, attributes["objectid"], np.reshape(numbers, (4, 3)))
