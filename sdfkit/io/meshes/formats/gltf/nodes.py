"""Where the nodes of a glTF place its meshes: hierarchy, scenes, instances and skins."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.gltf.accessors import read_numbers
from sdfkit.io.meshes.formats.gltf.document import Document
from sdfkit.wording import agreeing, counted, omitted

INSTANCING, VISIBILITY = "EXT_mesh_gpu_instancing", "KHR_node_visibility"
REST = {"translation": (0.0, 0.0, 0.0), "rotation": (0.0, 0.0, 0.0, 1.0), "scale": (1.0, 1.0, 1.0)}


@dataclass(frozen=True)
class Placement:
    """One mesh in the scene, wherever the same mesh is shown in the same form.

    Attributes:
        mesh: Its index.
        weights: Weights of its morph targets.
        matrices: Its transformations to the frame of the file, one for each instance.
        joints: If it has a skin: the transformations of the joints from the rest pose to the stored pose.
    """

    mesh: int
    weights: tuple[float, ...]
    matrices: Float[np.ndarray, "instance 4 4"]
    joints: Float[np.ndarray, "joint 3 4"] | None


def place_meshes(document: Document) -> list[Placement]:
    """List the meshes of the default scene, or of all nodes if the file has no scenes.

    Raises:
        InputError: A node is reached twice, or the nodes form a cycle.
    """
    nodes, meshes = document.items("nodes"), document.items("meshes")
    if not nodes:
        return [Placement(k, _weights({}, mesh), np.eye(4)[None], None) for k, mesh in enumerate(meshes)]
    parents = _find_parents(document, nodes)
    roots = _find_roots(document, parents)
    worlds, order = _world_matrices(nodes, [k for k, parent in enumerate(parents) if parent is None])
    if len(order) < len(nodes):
        raise InputError(f"{document.source.name}: its nodes form a cycle; is it damaged?")
    shown, hidden = set(roots), 0
    rigid: dict[tuple[int, tuple[float, ...]], list[Float[np.ndarray, "instance 4 4"]]] = {}
    skinned: list[Placement] = []
    for k in order:
        node, extensions = nodes[k], nodes[k].get("extensions", {})
        if parents[k] in shown:
            shown.add(k)
        if k in shown and extensions.get(VISIBILITY, {}).get("visible", True) is False:
            shown.remove(k)
            hidden += 1
        if k not in shown or "mesh" not in node:
            continue
        weights = _weights(node, document.item("meshes", node["mesh"]))
        if "skin" not in node:
            matrices = worlds[k] @ _read_instances(document, node)
            # A scale of 0 hides a node (glTF 2.0, section 3.5.3).
            has_size = matrices[:, :3, :3].any(axis=(1, 2))
            hidden += int((~has_size).sum())
            rigid.setdefault((node["mesh"], weights), []).append(matrices[has_size])
        elif INSTANCING in extensions:
            raise InputError(
                f"{document.source.name}: has instances of a skinned mesh, which are not "
                "supported; export it without"
            )
        else:
            joints = _pose_joints(document, node["skin"], worlds)
            skinned.append(Placement(node["mesh"], weights, np.eye(4)[None], joints))
    placements = [
        Placement(*key, np.concatenate(matrices), None) for key, matrices in rigid.items()
    ] + skinned
    if hidden:
        document.leave_out(omitted(hidden, "hidden node"))
    unused = len(meshes) - len({placement.mesh for placement in placements})
    if unused and placements:
        document.leave_out(
            f"{unused} of {counted(len(meshes), 'mesh')} {agreeing(unused, 'was', 'were')} left out because the scene "
            f"does not show {agreeing(unused, 'it', 'them')}"
        )
    return placements


def _weights(node: dict[str, Any], mesh: dict[str, Any]) -> tuple[float, ...]:
    """Return the default weights of morph targets: those of the node, or else of the mesh, or else zeros."""
    targets = max((len(primitive.get("targets", [])) for primitive in mesh["primitives"]), default=0)
    weights = node.get("weights", mesh.get("weights", [0.0] * targets))
    if not targets:
        return ()
    if len(weights) != targets:
        raise ValueError(f"{counted(len(weights), 'weight')} for {counted(targets, 'morph target')}")
    return tuple(map(float, weights))


def _find_parents(document: Document, nodes: list[dict[str, Any]]) -> list[int | None]:
    parents: list[int | None] = [None] * len(nodes)
    for k, node in enumerate(nodes):
        for child in node.get("children", []):
            document.item("nodes", child)
            if parents[child] is not None:
                raise InputError(
                    f"{document.source.name}: node {child} is a child of nodes {parents[child]} and {k},"
                    " so its position is ambiguous; is it damaged?"
                )
            parents[child] = k
    return parents


def _find_roots(document: Document, parents: list[int | None]) -> list[int]:
    """Return the nodes of the default scene, or of the first one if no scene is the default."""
    scenes, source = document.items("scenes"), document.source
    if not scenes:
        return [k for k, parent in enumerate(parents) if parent is None]
    index = document.tree.get("scene", 0)
    scene = document.item("scenes", index)
    if len(scenes) > 1:
        document.leave_out(omitted(len(scenes) - 1, "other scene"))
    roots: list[int] = scene.get("nodes", [])
    for root in roots:
        document.item("nodes", root)
        if parents[root] is not None:
            raise InputError(
                f"{source.name}: node {root} belongs to a scene and to node {parents[root]}, so its position is "
                "ambiguous; is it damaged?"
            )
    if len(set(roots)) < len(roots):
        raise InputError(f"{source.name}: a scene has a node twice; is it damaged?")
    return roots


def _world_matrices(
    nodes: list[dict[str, Any]], roots: list[int]
) -> tuple[Float[np.ndarray, "node 4 4"], list[int]]:
    """Return the transformation of each node to the frame of the file, and all nodes, parents before children."""
    worlds = _local_matrices(nodes)
    order, pending = [], [(root, np.eye(4)) for root in reversed(roots)]
    while pending:
        k, parent = pending.pop()
        order.append(k)
        worlds[k] = parent @ worlds[k]
        pending += [(child, worlds[k]) for child in reversed(nodes[k].get("children", []))]
    return worlds, order


def _local_matrices(nodes: list[dict[str, Any]]) -> Float[np.ndarray, "node 4 4"]:
    """Return the transformation of each node to its parent."""
    count = len(nodes)
    parts = (
        np.array([node.get(key, rest) for node in nodes], np.float64).reshape(count, len(rest))
        for key, rest in REST.items()
    )
    matrices = _compose(*parts)
    for k, node in enumerate(nodes):
        if "matrix" in node:
            matrices[k] = np.array(node["matrix"], np.float64).reshape(4, 4).T
    return matrices


def _compose(
    translations: Float[np.ndarray, "instance 3"],
    rotations: Float[np.ndarray, "instance 4"],
    scales: Float[np.ndarray, "instance 3"],
) -> Float[np.ndarray, "instance 4 4"]:
    """Multiply translations, rotations (quaternions with the real part last) and scales."""
    lengths = np.linalg.norm(rotations, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("a rotation is a quaternion of length 0")
    x, y, z, w = (rotations / lengths).T
    matrices = np.tile(np.eye(4), (len(translations), 1, 1))
    matrices[:, :3, :3] = np.moveaxis(
        np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        ),
        -1,
        0,
    )
    matrices[:, :3, :3] *= scales[:, None]
    matrices[:, :3, 3] = translations
    return matrices


def _read_instances(document: Document, node: dict[str, Any]) -> Float[np.ndarray, "instance 4 4"]:
    """Return the transformations of a node's instances relative to the node; one identity without instances."""
    if INSTANCING not in node.get("extensions", {}):
        return np.eye(4)[None]
    attributes = node["extensions"][INSTANCING]["attributes"]
    counts = {document.item("accessors", index)["count"] for index in attributes.values()}
    if len(counts) != 1:
        raise ValueError(f"the attributes of {INSTANCING} have {len(counts)} different numbers of instances")
    if max(counts) > document.size:
        raise ValueError(
            f"{INSTANCING} declares {counted(max(counts), 'instance')}, but has no data for them"
        )
    parts = {
        key: read_numbers(document, attributes[key.upper()], len(rest)).astype(np.float64)
        for key, rest in REST.items()
        if key.upper() in attributes
    }
    if not parts:
        raise ValueError(f"{INSTANCING} places no instance")
    count = len(next(iter(parts.values())))
    return _compose(*(parts.get(key, np.tile(rest, (count, 1))) for key, rest in REST.items()))


def _pose_joints(
    document: Document, index: Any, worlds: Float[np.ndarray, "node 4 4"]
) -> Float[np.ndarray, "joint 3 4"]:
    skin = document.item("skins", index)
    joints = skin["joints"]
    for joint in joints:
        document.item("nodes", joint)
    matrices: Float[np.ndarray, "joint 4 4"] = worlds[joints]
    if "inverseBindMatrices" in skin:
        inverse = read_numbers(document, skin["inverseBindMatrices"], 16).astype(np.float64)
        if len(inverse) < len(joints):
            raise ValueError(
                f"{counted(len(inverse), 'inverse bind matrix')} for {counted(len(joints), 'joint')}"
            )
        matrices = matrices @ inverse[: len(joints)].reshape(-1, 4, 4).swapaxes(1, 2)
    return matrices[:, :3]
