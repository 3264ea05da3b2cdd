"""Reads 3MF files, as CAD programs and slicers write them.

The standard library unpacks the zip and parses the XML. lib3mf would add wheels that do not exist for Linux on ARM or
with musl; trimesh's reader needs lxml and networkx, finds the model by a fixed name, and confuses objects of different
parts that have the same id.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.rendering.appearance import Part
from sdfkit.io.meshes.formats.markup import check_repeats
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.threemf.model import SETTINGS, Model, Object, Use, read_model
from sdfkit.io.meshes.formats.threemf.package import Package
from sdfkit.io.meshes.formats.threemf.properties import paint
from sdfkit.io.meshes.formats.threemf.slicers import read_volumes
from sdfkit.wording import omitted

DEEPEST = 200
# Largest number of objects, with all repetitions, in fewer bytes of XML.
MOST_OBJECTS = 100_000
# Objects of these kinds are no part of the shape.
AUXILIARY = {"support", "solidsupport", "other", *SETTINGS}


def read_3mf(content: bytes, source: Source) -> list[Part]:
    """Read what a 3MF file builds.

    Args:
        content: The file.
        source: Where it comes from.

    Returns:
        The parts, at least one for each object of the build, in the frame of the file (+Z up, by the specification), in
        its unit. Supports, modifiers of slicers and objects that are not built are left out and noted.

    Raises:
        InputError: The file is damaged or encrypted, or requires an extension that is not supported.
        GeometryError: It builds no faces.

    Reference: 3MF Core 1.4, Production 1.1.2, Materials and Properties 1.2.1, 3MF Consortium.
    """
    with np.errstate(all="ignore"):  # Numbers that are not finite are refused later, by name.
        parts = list(_Reader(content, source).read())
    if not parts:
        others = f" ({'; '.join(source.left_out)})" if source.left_out else ""
        raise GeometryError(f"{source.name}: has no faces{others}; sdfkit needs a surface")
    return parts


@dataclass(frozen=True)
class _Instance:
    """A mesh in the build: its model part, the object, and its matrix for row vectors."""

    part: str
    thing: Object
    matrix: Float[np.ndarray, "4 3"]


class _Reader:
    """Follows the build of a 3MF file to the meshes of its model parts."""

    def __init__(self, content: bytes, source: Source) -> None:
        self.source, self.name = source, source.name
        self.package = Package(content, source.name)
        self.models: dict[str, Model] = {}
        self.left_out = Counter[tuple[str, str]]()  # a noun and the words after it
        self.built = set[tuple[str, str]]()
        self.visits, self.faces, self.size = 0, 0, 0

    def read(self) -> Iterator[Part]:
        """Yield the parts of the build."""
        target, is_named = self.package.find_root()
        root = self.package.find(target) or target
        if not is_named:
            self.source.left_out.append(f"no relationship names the model, so {target} is read")
        build = self.load(root).build or self.list_objects()
        self.volumes = read_volumes(self.package)
        for use in build:
            for instance in self.expand(root, use, np.eye(4), (), ""):
                yield from self.place(instance)
        self.note_left_out()

    def load(self, part: str) -> Model:
        """Return a model part, which is parsed once."""
        if part not in self.models:
            content = self.package.read(part)
            self.size += len(content)
            name = f"{self.name}, part {part}" if self.models else self.name
            self.models[part] = read_model(content, name, colour=self.source.colour)
        return self.models[part]

    def list_objects(self) -> list[Use]:
        """Return a use of each object that is no component of another one, for files that build nothing."""
        for part in self.package.parts:
            if part.endswith(".model"):
                self.load(part)
        uses = [
            Use(part, thing.id, np.eye(4, 3))
            for part, model in self.models.items()
            for thing in model.objects.values()
        ]
        components = {
            (self.locate(use, part), use.object)
            for part, model in self.models.items() for thing in model.objects.values() for use in thing.components
        }  # fmt: skip
        self.source.left_out.append("the build is empty, so all objects are read")
        return [use for use in uses if (use.part, use.object) not in components]

    def locate(self, use: Use, part: str) -> str:
        """Return the name of the model part that holds an object, which may be the one that uses it."""
        return (self.package.find(use.part) or use.part) if use.part else part

    def expand(
        self,
        part: str,
        use: Use,
        above: Float[np.ndarray, "4 4"],
        path: tuple[tuple[str, str], ...],
        parent: str,
    ) -> Iterator[_Instance]:
        """Yield the meshes of an object and of its components.

        Args:
            part: The model part that uses the object.
            use: The component or item.
            above: The matrix of the object that uses it, for row vectors.
            path: The objects above it.
            parent: The id of the object that uses it.
        """
        part = self.locate(use, part)
        thing, key = self.load(part).objects.get(use.object), (part, use.object)
        if thing is None:
            raise InputError(f"{self.name}: refers to object {use.object} of {part}, which does not exist")
        self.visits += 1
        if key in path:
            raise InputError(f"{self.name}: object {thing.id} contains itself; is it damaged?")
        most = max(MOST_OBJECTS, self.size)
        if len(path) >= DEEPEST or self.visits > most:
            raise InputError(
                f"{self.name}: its objects are nested more than {DEEPEST} deep, or used more than {most} times; "
                "it is not read"
            )
        self.built.add(key)
        matrix = np.column_stack([use.matrix, [0, 0, 0, 1]]) @ above
        for component in thing.components:
            yield from self.expand(part, component, matrix, (*path, key), thing.id)
        if set(thing.shapes) - {"beam", "ball"}:
            raise InputError(
                f"{self.name}: object {thing.id} is a {min(thing.shapes)}, which is not supported"
            )
        for name, count in thing.shapes.items():
            self.left_out["element", name] += count
        kind = thing.kind if thing.kind in AUXILIARY else self.volumes.components.get((parent, thing.id))
        if not len(thing.faces):
            self.left_out["object", "without triangles"] += not thing.components
        elif kind is not None:
            self.left_out["object", f"of type {kind}"] += 1
        elif not matrix[:3, :3].any():
            self.left_out["object", "scaled to a point"] += 1
        else:
            yield _Instance(part, thing, matrix[:, :3])

    def place(self, instance: _Instance) -> Iterator[Part]:
        """Yield the parts of a mesh in the frame of the file."""
        thing, matrix = instance.thing, instance.matrix
        faces, count = thing.faces, len(thing.vertices)
        if faces.min() < 0 or faces.max() >= count:
            raise InputError(
                f"{self.name}: a triangle of object {thing.id} refers to a vertex that does not exist (vertex "
                f"{faces.max()} of {count}, counted from 0); is the file damaged?"
            )
        self.faces += len(faces)
        check_repeats(self.faces, self.size, self.name)
        shown = np.ones(len(faces), dtype=bool)
        for first, last, name in self.volumes.ranges.get(thing.id, ()):
            shown[first : last + 1] = False
            self.left_out["volume", f"of type {name}"] += 1
        vertices, kept = thing.vertices @ matrix[:3] + matrix[3], np.flatnonzero(shown)
        if not len(kept):
            return
        parts = [Part(vertices, faces[kept])]
        if self.source.colour:
            resources = self.models[instance.part].resources
            parts = list(paint(thing, vertices, faces[kept], kept, resources, self.find, self.name))
        is_mirrored = np.linalg.det(matrix[:3]) < 0
        yield from (replace(part, faces=part.faces[:, ::-1]) if is_mirrored else part for part in parts)

    def find(self, part: str) -> bytes | None:
        """Return the content of a part of the package. None if there is no such part, which is noted as missing."""
        if self.package.find(part) is None:
            self.source.missing.append(part)
            return None
        return self.package.read(part)

    def note_left_out(self) -> None:
        """Note in the source what was left out."""
        objects = sum(len(model.objects) for model in self.models.values())
        if len(self.built) < objects:
            self.left_out["object", "outside the build"] = objects - len(self.built)
        unread = sum(part.endswith(".model") and part not in self.models for part in self.package.parts)
        if unread:
            self.left_out["model part", "to which nothing refers"] = unread
        self.source.left_out.extend(omitted(count, *kind) for kind, count in self.left_out.items() if count)
