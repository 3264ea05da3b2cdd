"""Decompress primitives of KHR_draco_mesh_compression."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from sdfkit.errors import InputError, MissingError
from sdfkit.io.meshes.formats.gltf.document import DRACO, Document, natural
from sdfkit.wording import counted


class Unpacked(NamedTuple):
    """A decompressed primitive: attributes by their names, and triangles."""

    attributes: Mapping[str, Shaped[np.ndarray, "vertex column"]]
    faces: Int[np.ndarray, "face 3"]


def unpack_draco(document: Document, primitive: dict[str, Any]) -> Unpacked | None:
    """Decompress a primitive. None if it is not compressed, or if the file also holds it uncompressed.

    Raises:
        InputError: The compressed data is damaged.
        MissingError: DracoPy is not installed.
    """
    packed = primitive.get("extensions", {}).get(DRACO)
    used = [primitive["attributes"].get("POSITION"), primitive.get("indices")]
    accessors = [document.item("accessors", index) for index in used if index is not None]
    if packed is None or (
        DRACO not in document.required and all("bufferView" in accessor for accessor in accessors)
    ):
        return None
    name = document.source.name
    try:
        import DracoPy
    except ImportError as error:
        raise MissingError(
            f"{name}: is compressed with {DRACO}, which needs DracoPy; pip install 'sdfkit[draco]'"
        ) from error
    try:
        mesh = DracoPy.decode(bytes(document.view(packed["bufferView"])))
        faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    except (AttributeError, DracoPy.FileTypeException, ValueError) as error:
        raise InputError(
            f"{name}: its Draco data cannot be decompressed ({error}); is it truncated or damaged?"
        ) from error
    columns = {attribute["unique_id"]: attribute["data"] for attribute in mesh.attributes}
    absent = [key for key, number in packed["attributes"].items() if number not in columns]
    if absent:
        raise InputError(f"{name}: its Draco data has no {', '.join(absent)}; is it damaged?")
    attributes = {key: columns[number] for key, number in packed["attributes"].items()}
    if "indices" in primitive and primitive.get("mode", 4) == 4:
        declared = natural(accessors[-1], "count") // 3
        if declared != len(faces):
            document.leave_out(
                f"a compressed primitive declares {counted(declared, 'triangle')}, but holds {len(faces)}"
            )
    return Unpacked(attributes, faces)
