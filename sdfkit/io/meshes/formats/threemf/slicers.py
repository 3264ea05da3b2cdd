"""What slicers note beside the model of a 3MF file: which of its volumes are not part of the shape."""

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.markup import read_tree
from sdfkit.io.meshes.formats.threemf.package import Package

# PrusaSlicer and its relatives name ranges of triangles; Bambu Studio and its relatives name components.
CONFIGS = (
    "Metadata/Slic3r_PE_model.config",
    "Metadata/Slic3r_model.config",
    "Metadata/model_settings.config",
)
SHAPE = {"ModelPart", "normal_part"}


@dataclass
class Volumes:
    """Volumes that are modifiers, supports or cut away.

    Attributes:
        components: Kind of the volume, by the ids of an object and of its component.
        ranges: First triangle, last triangle and kind of the volumes of an object, by its id.
    """

    components: dict[tuple[str, str], str] = field(default_factory=dict)
    ranges: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)


def read_volumes(package: Package) -> Volumes:
    """Read which volumes are not part of the shape.

    Raises:
        InputError: The slicer's file is damaged.
    """
    volumes = Volumes()
    for config in CONFIGS:
        if package.find(config) is None:
            continue
        for thing in read_tree(package.read(config), f"{package.name}, part {config}").iter("object"):
            identifier = thing.get("id", "")
            for part in thing.findall("part"):
                kind = part.get("subtype", "normal_part")
                if kind not in SHAPE:
                    volumes.components[identifier, part.get("id", "")] = kind
            for volume in thing.findall("volume"):
                kind = _read_kind(volume)
                if kind not in SHAPE:
                    try:
                        first, last = (int(volume.get(key, "")) for key in ("firstid", "lastid"))
                    except ValueError as error:
                        raise InputError(
                            f"{package.name}: {config} has a volume without triangles ({error})"
                        ) from error
                    volumes.ranges.setdefault(identifier, []).append((first, last, kind))
    return volumes


def _read_kind(volume: Element) -> str:
    """Return the kind of a volume. Old files only say whether it is a modifier."""
    values = {entry.get("key"): entry.get("value", "") for entry in volume.findall("metadata")}
    return values.get("volume_type", "ParameterModifier" if values.get("modifier") == "1" else "ModelPart")
