"""3MF files whose shape is known: builds, components, parts, what slicers note, and what is refused."""

import io
import zipfile

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.threemf.reader import read_3mf

SCHEMAS = "http://schemas.microsoft.com/3dmanufacturing/"
NAMESPACES = (
    f'xmlns="{SCHEMAS}core/2015/02" xmlns:m="{SCHEMAS}material/2015/02" xmlns:p="{SCHEMAS}production/2015/06" '
    f'xmlns:b="{SCHEMAS}beamlattice/2017/02" xmlns:s="{SCHEMAS}slice/2015/07" '
    f'xmlns:bo="http://schemas.3mf.io/3dmanufacturing/booleanoperations/2023/07" '
    f'xmlns:t="{SCHEMAS}trianglesets/2021/07"'
)
# A box from (0, 0, 0) to (1, 2, 3).
BOX = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TRIANGLES = [triangle for a, b, c, d in QUADS for triangle in ((a, b, c), (a, c, d))]


def mesh(points=BOX, triangles=TRIANGLES, properties=None, more=""):
    properties = properties or [""] * len(triangles)
    return (
        "<mesh><vertices>"
        + "".join(f'<vertex x="{x:g}" y="{y:g}" z="{z:g}"/>' for x, y, z in points)
        + "</vertices><triangles>"
        + "".join(
            f'<triangle v1="{a}" v2="{b}" v3="{c}" {extra}/>'
            for (a, b, c), extra in zip(triangles, properties, strict=True)
        )
        + f"</triangles>{more}</mesh>"
    )


def thing(number=1, content=None, **attributes):
    extra = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<object id="{number}"{extra}>{mesh() if content is None else content}</object>'


def components(*uses):
    return "<components>" + "".join(f"<component {use}/>" for use in uses) + "</components>"


def use(number=1, transform="", path=""):
    transform = f' transform="{transform}"' if transform else ""
    return f'objectid="{number}"{transform}' + (f' p:path="{path}"' if path else "")


def moved(x, y=0, z=0):
    return f"1 0 0 0 1 0 0 0 1 {x} {y} {z}"


def model(objects=None, build=None, more="", **attributes):
    objects = thing() if objects is None else objects
    items = [use()] if build is None else build
    extra = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><model unit="inch" {NAMESPACES}{extra}><resources>{more}{objects}'
        f"</resources><build>{''.join(f'<item {item}/>' for item in items)}</build></model>"
    )


def relationships(target="/3D/3dmodel.model", more=""):
    return (
        '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Target="/thumbnail.png" Id="r1" Type="http://x/thumbnail"/>{more}'
        f'<Relationship Target="{target}" Id="r0" Type="{SCHEMAS}2013/01/3dmodel"/></Relationships>'
    )


def package(root=None, parts=None, rels=None, path="3D/3dmodel.model"):
    parts = {
        "_rels/.rels": relationships() if rels is None else rels,
        path: model() if root is None else root,
    } | (parts or {})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            if content != "":
                archive.writestr(name, content)
    return stream.getvalue()


def read(content, *, colour=False):
    source = Source("a.3mf", None, colour)
    return read_3mf(content, source), source


def corners(parts):
    return np.concatenate([part.vertices[part.faces] for part in parts])


def volume(parts):
    a, b, c = np.moveaxis(corners(parts), 1, 0)
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def bounds(parts):
    points = corners(parts).reshape(-1, 3)
    return [*points.min(axis=0), *points.max(axis=0)]


@pytest.mark.parametrize("colour", [False, True])
def test_the_frame_and_the_numbers_stay(colour):
    parts, source = read(package(), colour=colour)
    assert bounds(parts) == [0, 0, 0, 1, 2, 3]
    assert volume(parts) == pytest.approx(6)
    assert source.left_out == []


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("3D/3dmodel.model", "/3D/3dmodel.model"),
        ("Model/Shape.MODEL", "model/shape.model"),
        ("3D/a b.model", "/3D/a%20b.model"),
        ("3D/a%20b.model", "/3D/a%20b.model"),
    ],
)
def test_relationships_name_the_model(path, target):
    other = model(thing(1, mesh([(9 * x, y, z) for x, y, z in BOX])))
    content = package(path=path, rels=relationships(target), parts={"3D/other.model": other})
    parts, source = read(content)
    assert bounds(parts) == [0, 0, 0, 1, 2, 3]
    assert source.left_out == ["1 model part to which nothing refers was left out"]


def test_without_a_relationship_the_only_model_is_read():
    parts, source = read(package(rels=""))
    assert volume(parts) == pytest.approx(6)
    assert source.left_out == ["no relationship names the model, so 3d/3dmodel.model is read"]
    with pytest.raises(InputError, match="which of its 2 parts is the model"):
        read(package(rels="", parts={"b.model": model()}))


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("", [0, 0, 0, 1, 2, 3]),
        (moved(10, 20, 30), [10, 20, 30, 11, 22, 33]),
        # Rows of the matrix are the images of the axes: x becomes y, y becomes z, z becomes x.
        ("0 1 0 0 0 1 1 0 0 5 6 7", [5, 6, 7, 8, 7, 9]),
        ("2 0 0 0 3 0 0 0 4 0 0 0", [0, 0, 0, 2, 6, 12]),
        ("-1 0 0 0 1 0 0 0 1 0 0 0", [-1, 0, 0, 0, 2, 3]),
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_items_are_placed_and_keep_their_faces_outwards(transform, expected, colour):
    parts, _ = read(package(model(build=[use(transform=transform)])), colour=colour)
    assert bounds(parts) == expected
    assert volume(parts) == pytest.approx(np.prod(np.subtract(expected[3:], expected[:3])))


def test_components_nest_and_repeat():
    objects = (
        thing()
        + thing(2, components(use(1, moved(10)), use(1, moved(20))))
        + thing(3, components(use(2, "2 0 0 0 2 0 0 0 2 0 0 0"), use(1)))
    )
    parts, source = read(package(model(objects, [use(3, moved(0, 0, 100)), use(3)])))
    low = [[0, 0, 0, 1, 2, 3], [20, 0, 0, 22, 4, 6], [40, 0, 0, 42, 4, 6]]
    high = [[a, b, c + 100, d, e, f + 100] for a, b, c, d, e, f in low]
    assert sorted(bounds([part]) for part in parts) == sorted(low + high)
    assert source.left_out == []


def test_objects_of_other_parts_are_told_apart_by_their_part():
    tall = model(thing(1, mesh([(x, y, 3 * z) for x, y, z in BOX])) + thing(2), build=[])
    wide = model(thing(1, mesh([(5 * x, y, z) for x, y, z in BOX])), build=[])
    objects = thing(1) + thing(
        8,
        components(
            use(1, moved(10), "/3D/Objects/tall.model"), use(1, moved(20), "/3D/objects/WIDE.model"), use(1)
        ),
    )
    root = model(objects, [use(8), use(2, moved(0, 50), "/3D/Objects/tall.model")], requiredextensions="p")
    content = package(root, {"3D/Objects/tall.model": tall, "3D/Objects/wide.model": wide})
    parts, source = read(content)
    assert sorted(bounds([part]) for part in parts) == [
        [0, 0, 0, 1, 2, 3], [0, 50, 0, 1, 52, 3], [10, 0, 0, 11, 2, 9], [20, 0, 0, 25, 2, 3]
    ]  # fmt: skip
    assert source.left_out == []


def test_supports_and_objects_that_are_not_built_are_noted():
    objects = "".join(
        thing(k, type=kind)
        for k, kind in enumerate(["model", "support", "solidsupport", "other", "surface", "model"])
    )
    parts, source = read(package(model(objects, [use(k, moved(10 * k)) for k in range(5)])))
    assert sorted(bounds([part])[0] for part in parts) == [0, 40]
    assert source.left_out == [
        "1 object of type support was left out",
        "1 object of type solidsupport was left out",
        "1 object of type other was left out",
        "1 object outside the build was left out",
    ]


def test_the_type_of_an_object_with_components_does_not_matter():
    objects = thing() + thing(2, components(use()), type="other")
    assert volume(read(package(model(objects, [use(2)])))[0]) == pytest.approx(6)


def test_without_a_build_all_objects_are_read_once():
    objects = thing() + thing(2, components(use(1, moved(10)))) + thing(3) + thing(4, type="support")
    parts, source = read(package(model(objects, [])))
    assert sorted(bounds([part])[0] for part in parts) == [0, 10]
    assert source.left_out == [
        "the build is empty, so all objects are read",
        "1 object of type support was left out",
    ]


def test_beams_and_empty_objects_are_noted():
    beams = '<b:beamlattice><b:beams><b:beam v1="0" v2="1"/><b:beam v1="1" v2="2"/></b:beams></b:beamlattice>'
    objects = thing(1, mesh(more=beams)) + thing(2, mesh(triangles=[]))
    parts, source = read(package(model(objects, [use(1), use(2), use(1, "0 0 0 0 0 0 0 0 0 1 2 3")])))
    assert volume(parts) == pytest.approx(6)
    assert source.left_out == [
        "4 elements beam were left out",
        "1 object without triangles was left out",
        "1 object scaled to a point was left out",
    ]


@pytest.mark.parametrize("namespace", [f"{SCHEMAS}2013/01", ""])
def test_old_namespaces_of_the_core_are_read(namespace):
    root = model().replace(f'xmlns="{SCHEMAS}core/2015/02"', f'xmlns="{namespace}"')
    assert volume(read(package(root))[0]) == pytest.approx(6)


def test_triangle_sets_and_materials_may_be_required():
    sets = '<t:trianglesets><t:triangleset name="a" identifier="a"><t:ref index="0"/></t:triangleset></t:trianglesets>'
    root = model(thing(1, mesh(more=sets)), requiredextensions="m p t")
    assert volume(read(package(root))[0]) == pytest.approx(6)


@pytest.mark.parametrize(
    "kind", ["ParameterModifier", "NegativeVolume", "SupportEnforcer", "SupportBlocker", "1"]
)
def test_volumes_that_prusaslicer_prints_otherwise_are_noted(kind):
    points = BOX + [(x + 10, y, z) for x, y, z in BOX]
    triangles = TRIANGLES + [(a + 8, b + 8, c + 8) for a, b, c in TRIANGLES]
    key, value = ("modifier", "1") if kind == "1" else ("volume_type", kind)
    config = (
        '<config><object id="1" instances_count="1"><volume firstid="0" lastid="11">'
        '<metadata type="volume" key="volume_type" value="ModelPart"/></volume><volume firstid="12" lastid="23">'
        f'<metadata type="volume" key="{key}" value="{value}"/></volume></object></config>'
    )
    root = model(thing(1, mesh(points, triangles)))
    parts, source = read(package(root, {"Metadata/Slic3r_PE_model.config": config}))
    assert bounds(parts) == [0, 0, 0, 1, 2, 3]
    name = kind.replace("1", "ParameterModifier")
    assert source.left_out == [f"1 volume of type {name} was left out"]


def test_parts_that_bambu_studio_prints_otherwise_are_noted():
    root = model(thing(8, components(use(1, path="/a.model"), use(2, moved(10), "/a.model"))), [use(8)])
    config = (
        '<config><object id="8"><part id="1" subtype="normal_part"/><part id="2" subtype="negative_part"/></object>'
        "</config>"
    )
    content = package(
        root, {"a.model": model(thing(1) + thing(2), []), "Metadata/model_settings.config": config}
    )
    parts, source = read(content)
    assert bounds(parts) == [0, 0, 0, 1, 2, 3]
    assert source.left_out == ["1 object of type negative_part was left out"]


def test_notes_of_slicers_that_are_damaged_are_refused():
    volume = '<volume firstid="0" lastid="{}"><metadata key="volume_type" value="SupportBlocker"/></volume>'
    for last, message in (("x", "has a volume without triangles"), ("11", "no faces")):
        config = f'<config><object id="1">{volume.format(last)}</object></config>'
        with pytest.raises((InputError, GeometryError), match=message):
            read(package(parts={"Metadata/Slic3r_PE_model.config": config}))


@pytest.mark.parametrize("setting", ["support_mesh", "infill_mesh", "anti_overhang_mesh", "cutting_mesh"])
def test_meshes_that_cura_prints_otherwise_are_noted(setting):
    def settings(value):
        entries = f'<metadata name="cura:extruder_nr">0</metadata><metadata name="cura:{setting}">{value}</metadata>'
        return f"<metadatagroup>{entries}</metadatagroup>{mesh()}"

    objects = thing(1, settings("False")) + thing(2, settings("True")) + thing(3)
    parts, source = read(package(model(objects, [use(k, moved(10 * k)) for k in (1, 2, 3)])))
    assert sorted(bounds([part])[0] for part in parts) == [10, 30]
    assert source.left_out == [f"1 object of type cura:{setting} was left out"]


def damaged():
    """A package with one byte of the model changed, which its checksum shows."""
    content = bytearray(package())
    content[content.index(b"3D/3dmodel.model") + 40] ^= 1
    return bytes(content)


def encrypted():
    """A package whose parts are encrypted as zip can, by the bit in their headers."""
    content = bytearray(package())
    for mark, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = content.find(mark)
        while place >= 0:
            content[place + at] |= 1
            place = content.find(mark, place + 1)
    return bytes(content)


KEYSTORE = f'<Relationship Target="/Secure/keystore.xml" Id="k" Type="{SCHEMAS}2019/04/keystore"/>'
BOOLEAN = '<bo:booleanshape objectid="1" operation="difference"><bo:boolean objectid="1"/></bo:booleanshape>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a complete zip file"),
        (package()[:-30], "is not a complete zip file"),
        (damaged(), "cannot be unpacked"),
        (encrypted(), "cannot be unpacked (File"),
        (package(b"0" * 10_000_000), "as in a zip bomb"),
        (package(rels=relationships("/3D/x.model")), "refers to its part /3D/x.model, which does not exist"),
        (package(rels=relationships(more=KEYSTORE)), "is encrypted (3MF secure content)"),
        (package(model().replace("UTF-8", "UTF-9")), "unknown encoding"),
        (package("<a/>"), "is not a 3MF model; its outermost element is a"),
        (package(model()[:-20]), "not well-formed XML"),
        (package('<!DOCTYPE a [<!ENTITY b "c">]>' + model().partition("?>")[2]), "declares a document type"),
        (package(model(requiredextensions="b")), "needs the 3MF extension beamlattice/2017/02"),
        (package(model(requiredextensions="p s")), "needs the 3MF extension slice/2015/07"),
        (package(model(requiredextensions="x")), "needs the 3MF extension x"),
        (package(model(thing() + thing(2, BOOLEAN), [use(2)])), "object 2 is a boolean"),
        (package(model(build=[use(7)])), "refers to object 7 of 3d/3dmodel.model, which does not exist"),
        (
            package(model(build=[use(1, path="/b.model")])),
            "refers to its part /b.model, which does not exist",
        ),
        (package(model(thing() + thing())), "two objects with the id 1"),
        (package(model(thing(1, components(use(1))))), "object 1 contains itself"),
        (package(model(build=[use(transform="1 0 0")])), "a transform of 3 numbers in place of 12"),
        (package(model().replace('v3="3"', 'v3="8"', 1)), "vertex that does not exist (vertex 8 of 8"),
        (package(model().replace('v3="3"', 'v3="-1"', 1)), "vertex that does not exist"),
        (package(model().replace('v3="3"', 'v3="1.5"', 1)), "has an incomplete element"),
        (package(model().replace('v3="3"', "", 1)), "has an incomplete element ('v3')"),
        (package(model().replace('x="0"', 'x="0,5"', 1)), "has an incomplete element"),
        (package(model(thing(1, mesh(triangles=[])))), "no faces"),
        (package(model(thing(type="support"))), "no faces (1 object of type support was left out)"),
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_damaged_files_are_refused_in_one_line(content, message, colour):
    with pytest.raises((InputError, GeometryError)) as caught:
        read(content, colour=colour)
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.3mf")
    assert "\n" not in str(caught.value)


def test_messages_name_the_part():
    root = model(build=[use(1, path="/b.model")])
    with pytest.raises(InputError, match=r"a\.3mf, part b\.model: is not well-formed XML"):
        read(package(root, {"b.model": "<model>"}))


@pytest.mark.parametrize("leaf", [mesh(), mesh(triangles=[])])
def test_components_of_components_do_not_explode(monkeypatch, leaf):
    monkeypatch.setattr("sdfkit.io.meshes.formats.threemf.reader.MOST_OBJECTS", 1000)
    pairs = "".join(thing(k, components(use(k + 1), use(k + 1))) for k in range(1, 40))
    with pytest.raises(InputError, match="times; it is not read"):
        read(package(model(pairs + thing(40, leaf))))


def test_repeated_meshes_do_not_explode(monkeypatch):
    monkeypatch.setattr("sdfkit.io.meshes.formats.markup.MOST_FACES_PER_BYTE", 0)
    monkeypatch.setattr("sdfkit.io.meshes.formats.markup.FEW_FACES", 100)
    with pytest.raises(InputError, match="repeats its meshes to 108 faces or more, too many for"):
        read(package(model(build=[use()] * 9)))


def test_deep_components_are_refused():
    chain = "".join(thing(k, components(use(k + 1))) for k in range(1, 300))
    with pytest.raises(InputError, match="nested more than 200 deep"):
        read(package(model(chain + thing(300))))
