"""Skins and morphs of a COLLADA document, in the pose in which the scene stores them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import coo_array

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.collada.document import Document
from sdfkit.io.meshes.formats.collada.geometry import Mesh, read_inputs, read_mesh, read_source
from sdfkit.wording import counted

DEEPEST = 16
MATRIX = [f"{row}{column}" for row in range(4) for column in range(4)]


def read_controlled(
    document: Document,
    element: Element,
    worlds: Mapping[Element, Float[np.ndarray, "4 4"]],
    skeletons: list[Element],
    depth: int = 0,
) -> tuple[Mesh | None, bool]:
    """Read a geometry, or the geometry of a controller deformed by it.

    Args:
        document: The document.
        element: A geometry or a controller.
        worlds: The transformation of each node of the scene to the frame of the document.
        skeletons: The nodes below which the joints are.
        depth: Number of controllers above this one.

    Returns:
        The mesh, None if it is not a mesh; and whether a skin has already placed it in the frame of the document.

    Raises:
        InputError: The controller is damaged.
    """
    if element.tag == "geometry":
        return read_mesh(document, element), False
    skin, morph = element.find("skin"), element.find("morph")
    kind = skin if skin is not None else morph
    if kind is None or depth > DEEPEST:
        raise InputError(f"{document.name}: controller {element.get('id')} has no skin and no morph")
    base = document.find(kind.get("source"), "geometry", "controller")
    if base is None:
        return None, False
    mesh, is_placed = read_controlled(document, base, worlds, skeletons, depth + 1)
    if mesh is None:
        return None, False
    if is_placed:
        raise InputError(
            f"{document.name}: controller {element.get('id')} deforms a mesh that a skin deforms; export the "
            "mesh without one of them"
        )
    if skin is None:
        return replace(mesh, positions=_morph(document, kind, mesh.positions)), False
    return mesh.at(*_pose(document, skin, mesh.positions, worlds, skeletons)), True


def _morph(
    document: Document, morph: Element, base: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """Return the positions of a morph with its default weights."""
    targets = morph.find("targets")
    inputs = {} if targets is None else {
        entry.semantic: entry.source for entry in read_inputs(document, morph, targets)
    }  # fmt: skip
    if not {"MORPH_TARGET", "MORPH_WEIGHT"} <= inputs.keys():
        raise InputError(f"{document.name}: a morph has no targets or weights; is it damaged?")
    names = _read_names(inputs["MORPH_TARGET"])
    weights = read_source(document, inputs["MORPH_WEIGHT"], ("MORPH_WEIGHT",))[:, 0]
    if len(names) != len(weights):
        raise InputError(
            f"{document.name}: a morph has {counted(len(names), 'target')}, but {counted(len(weights), 'weight')}"
        )
    positions = base * (1 if morph.get("method") == "RELATIVE" else 1 - weights.sum())
    for name, weight in zip(names, weights, strict=True):
        geometry = document.find(name, "geometry")
        target = read_mesh(document, geometry) if geometry is not None else None
        if target is None or len(target.positions) != len(base):
            raise InputError(
                f"{document.name}: morph target {name} has another number of vertices than its base; is it damaged?"
            )
        positions = positions + weight * target.positions
    return positions


def _pose(
    document: Document,
    skin: Element,
    base: Float[np.ndarray, "vertex 3"],
    worlds: Mapping[Element, Float[np.ndarray, "4 4"]],
    skeletons: list[Element],
) -> tuple[Float[np.ndarray, "vertex 3"], Bool[np.ndarray, " vertex"]]:
    """Place the vertices of a skin by the joints of its skeleton.

    The node that shows a skin does not move it, because the joints are in the frame of the document already. Weights
    are divided by their sum. Vertices without weights, and those whose joint is -1, are those of the bind shape.

    Returns:
        The positions in the frame of the document, and whether the joints mirror the surface there.

    Reference: COLLADA 1.4.1, Release Notes 2nd edition, chapter 4, "Skin Deformation (or Skinning)".
    """
    joints, weights = skin.find("joints"), skin.find("vertex_weights")
    if joints is None or weights is None:
        raise InputError(f"{document.name}: a skin has no joints or no weights; is it damaged?")
    sources = {entry.semantic: entry.source for entry in read_inputs(document, skin, joints)}
    columns = {entry.semantic: entry for entry in read_inputs(document, skin, weights)}
    if not {"JOINT", "INV_BIND_MATRIX"} <= sources.keys() or not {"JOINT", "WEIGHT"} <= columns.keys():
        raise InputError(f"{document.name}: a skin has no joints or no weights; is it damaged?")
    names = _read_names(sources["JOINT"])
    inverse = read_source(document, sources["INV_BIND_MATRIX"], MATRIX).reshape(-1, 4, 4)
    if len(inverse) != len(names):
        raise InputError(
            f"{document.name}: a skin has {counted(len(names), 'joint')}, but {counted(len(inverse), 'matrix')} "
            "for them"
        )
    order = _read_names(columns["JOINT"].source)
    nodes = _find_joints(document, order, skeletons, worlds)
    bind = document.numbers(skin.find("bind_shape_matrix"))
    shape = bind.reshape(4, 4) if len(bind) == 16 else np.eye(4)
    by_name = dict(zip(names, inverse, strict=True))
    if missing := [name for name in order if name not in by_name]:
        raise InputError(
            f"{document.name}: joint {missing[0]} of a skin has no inverse bind matrix; is it damaged?"
        )
    # The last matrix is that of joint -1.
    matrices = np.stack(
        [*(worlds[node] @ by_name[name] for name, node in zip(order, nodes, strict=True)), np.eye(4)]
    )
    shares = read_source(document, columns["WEIGHT"].source, ("WEIGHT",))[:, 0]
    counts = document.numbers(weights.find("vcount"))
    pairs = document.numbers(weights.find("v"))
    width = 1 + max(entry.offset for entry in columns.values())
    if len(counts) != len(base) or (counts < 0).any() or counts.sum() * width != len(pairs):
        raise InputError(
            f"{document.name}: the weights of a skin do not match its {counted(len(base), 'vertex')}; "
            "is it damaged?"
        )
    rows, influences = pairs.reshape(-1, width).astype(np.int64), counts.astype(np.int64)
    joint, share = rows[:, columns["JOINT"].offset], rows[:, columns["WEIGHT"].offset]
    is_whole = (rows.reshape(-1) == pairs).all() and (influences == counts).all()
    is_joint, is_share = (joint >= -1) & (joint < len(order)), (share >= 0) & (share < len(shares))
    if not (is_whole and is_joint.all() and is_share.all()):
        raise InputError(
            f"{document.name}: a skin refers to a joint or weight that does not exist; is it damaged?"
        )
    vertex = np.repeat(np.arange(len(base)), influences)
    table = coo_array((shares[share], (vertex, joint % len(matrices))), (len(base), len(matrices))).tocsr()
    total = table.sum(axis=1)
    blend = (table @ matrices.reshape(-1, 16)) / np.where(total == 0, 1, total)[:, None]
    blend[total == 0] = np.eye(4).reshape(-1)
    blended = blend.reshape(-1, 4, 4)[:, :3] @ shape
    positions = np.einsum("vij,vj->vi", blended[:, :, :3], base) + blended[:, :, 3]
    return positions, np.linalg.det(blended[:, :, :3]) < 0


def _find_joints(
    document: Document, names: list[str], skeletons: list[Element], worlds: Iterable[Element]
) -> list[Element]:
    """Return the nodes of joints, which a skin names by their sid, or by their id."""
    in_skeleton = [node for root in skeletons for node in root.iter("node")]
    shown = set(worlds)
    tables = [
        {node.get(key, ""): node for node in reversed(nodes) if node in shown}
        for nodes in (in_skeleton, list(worlds))
        for key in ("sid", "id", "name")
    ]
    found = []
    for name in names:
        node = next((table[name] for table in tables if name in table), None)
        if node is None:
            raise InputError(
                f"{document.name}: joint {name} of a skin is not in the scene; export the mesh without skin"
            )
        found.append(node)
    return found


def _read_names(source: Element) -> list[str]:
    """Return the names in a source of names or ids."""
    return [
        name
        for array in source
        for name in (array.text or "").split()
        if array.tag in ("Name_array", "IDREF_array")
    ]
