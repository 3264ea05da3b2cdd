"""The scene of a COLLADA document: where its nodes place geometries."""

from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.collada.document import Document

# The frame of the document, as seen from the front, in the frame of sdfkit: right, up and towards the viewer.
# Reference: COLLADA 1.4.1, up_axis.
UP_AXES = {
    "X_UP": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    "Y_UP": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "Z_UP": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
}
DEEPEST = 200
# Largest number of nodes, with all instances, in a file with fewer bytes. (No node is shorter than 13 bytes.)
MOST_NODES = 100_000
SIZES = {"matrix": 16, "translate": 3, "rotate": 4, "scale": 3, "skew": 7, "lookat": 9}


@dataclass
class Scene:
    """What the scene shows.

    Attributes:
        instances: Instances of geometries and controllers, each with the transformation of its node.
        worlds: The transformation of each node to the frame of the document.
        local: The transformation of each node to the frame of the node above it.
        visits: Number of nodes, counting those that are instanced again.
    """

    instances: list[tuple[Element, Float[np.ndarray, "4 4"]]] = field(default_factory=list)
    worlds: dict[Element, Float[np.ndarray, "4 4"]] = field(default_factory=dict)
    local: dict[Element, Float[np.ndarray, "4 4"]] = field(default_factory=dict)
    visits: int = 0


def read_up_axis(document: Document) -> Float[np.ndarray, "3 3"]:
    """Return the rotation of the document's frame to +Y up.

    Raises:
        InputError: The axis has an unknown name.
    """
    asset = document.root.find("asset")
    axis = ("" if asset is None else asset.findtext("up_axis", "")).strip() or "Y_UP"
    if axis not in UP_AXES:
        raise InputError(f"{document.name}: up_axis {axis[:40]!r} is unknown; it must be X_UP, Y_UP or Z_UP")
    own = {node for node in document.root.iter("asset") if node.findtext("up_axis", axis).strip() != axis}
    if own:
        document.left_out["change", "of the up axis within the document"] += len(own)
    return np.array(UP_AXES[axis], dtype=np.float64)


def read_scene(document: Document) -> Scene:
    """Find the instances of geometries in the scene.

    Without a scene, the first visual scene is taken, and without one, each geometry of the library once.

    Raises:
        InputError: A reference leads nowhere or round in a circle, or a transformation is damaged.
    """
    scene = Scene()
    instance = document.root.find("scene/instance_visual_scene")
    shown = document.root.find("library_visual_scenes/visual_scene")
    if instance is not None:
        shown = document.find(instance.get("url"), "visual_scene")
    elif shown is not None:
        document.source.left_out.append("no scene is selected, so the first one is read")
    else:
        geometries = document.root.findall("library_geometries/geometry")
        scene.instances.extend((geometry, np.eye(4)) for geometry in geometries)
        document.source.left_out.append("there is no scene, so all geometries are read, where they are")
    for node in () if shown is None else shown.findall("node"):
        _visit(document, scene, node, np.eye(4), ())
    return scene


def _visit(
    document: Document,
    scene: Scene,
    node: Element,
    above: Float[np.ndarray, "4 4"],
    path: tuple[Element, ...],
) -> None:
    """Add the instances of a node, and of the nodes below it, to the scene."""
    if node in path:
        raise InputError(f"{document.name}: node {node.get('id')} contains itself; is it damaged?")
    scene.visits += 1
    most = max(MOST_NODES, document.size)
    if len(path) >= DEEPEST or scene.visits > most:
        raise InputError(
            f"{document.name}: its nodes are nested more than {DEEPEST} deep, or more than {most} with their "
            "instances; it is not read"
        )
    if node not in scene.local:
        scene.local[node] = read_transformation(document, node)
    world = above @ scene.local[node]
    scene.worlds.setdefault(node, world)
    path = (*path, node)
    for child in node:
        if child.tag == "node":
            _visit(document, scene, child, world, path)
        elif child.tag == "instance_node":
            target = document.find(child.get("url"), "node")
            if target is not None:
                _visit(document, scene, target, world, path)
        elif child.tag in ("instance_geometry", "instance_controller"):
            scene.instances.append((child, world))


def read_transformation(document: Document, node: Element) -> Float[np.ndarray, "4 4"]:
    """Return the transformation of a node: the product of its elements in order.

    Raises:
        InputError: A transformation has the wrong number of numbers, or is a perspective.
    """
    matrix = np.eye(4)
    for element in node:
        if element.tag in SIZES:
            matrix = matrix @ TRANSFORMATIONS[element.tag](document.numbers(element, SIZES[element.tag]))
    if not np.allclose(matrix[3], [0, 0, 0, 1]) and np.isfinite(matrix).all():
        raise InputError(
            f"{document.name}: the matrix of node {node.get('id')} ends with {matrix[3]} in place of 0 0 0 1; "
            "is it in column-major order?"
        )
    return matrix


def _affine(linear: Float[np.ndarray, "3 3"], offset: Float[np.ndarray, " 3"] | None = None) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    if offset is not None:
        matrix[:3, 3] = offset
    return matrix


def _unit(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _skew(numbers: Float[np.ndarray, " 7"]) -> np.ndarray:
    """Shear along the second vector, by the tangent of the angle for each unit along the first, as RenderMan does."""
    along, by = _unit(numbers[4:]), _unit(numbers[1:4])
    return _affine(np.eye(3) + np.tan(np.radians(numbers[0])) * np.outer(along, by))


def _look_at(numbers: Float[np.ndarray, " 9"]) -> np.ndarray:
    """Place a node at the first point, with -Z towards the second, and +Y towards the third, a direction."""
    eye, target, up = numbers.reshape(3, 3)
    back = _unit(eye - target)
    right = _unit(np.cross(up, back))
    return _affine(np.stack([right, np.cross(back, right), back], axis=1), eye)


TRANSFORMATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "matrix": lambda numbers: numbers.reshape(4, 4),
    "translate": lambda numbers: _affine(np.eye(3), numbers),
    "rotate": lambda numbers: _affine(
        Rotation.from_rotvec(np.radians(numbers[3]) * _unit(numbers[:3])).as_matrix()
    ),
    "scale": lambda numbers: _affine(np.diag(numbers)),
    "skew": _skew,
    "lookat": _look_at,
}
