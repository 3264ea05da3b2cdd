#!/usr/bin/env python3
"""Unpack Debian's sweethome3d-furniture, 820 household objects, into meshes and a CSV of their labels.

    apt-get install sweethome3d-furniture
    python furniture.py --list                        # print all objects as a CSV
    python furniture.py --pick -o furniture           # unpack 24 chosen objects; --all: every object
    sdfkit manifest furniture/raw --csv furniture/furniture.csv -o furniture/manifest.json

Each object is written to raw/UID/UID.obj, with its materials, textures and licence in the same folder. The licence of
each model is CC0, or CC BY 3.0, which requires credit to the authors in the column `source`. This script needs only
Python's standard library.
"""

import argparse
import csv
import re
import sys
import zipfile
from collections import Counter
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import TextIO

CATALOGUE = Path("/usr/share/sweethome3d/furniture")
# For each library, the prefix of its uids and its licence, from its LICENSE.TXT and catalogue. The prefix makes uids
# unique, since libraries share names.
LIBRARIES = {
    "BlendSwap-CC-0": ("cc0", "CC0-1.0"),
    "BlendSwap-CC-BY": ("ccby", "CC-BY-3.0"),
    "KatorLegaz": ("katorlegaz", "CC-BY-3.0-US"),
    "Reallusion": ("reallusion", "CC-BY-3.0-US"),
    "Scopia": ("scopia", "CC-BY-3.0"),
}
# Objects with thin parts, holes, curves or soft forms; none is so large that one stage takes minutes.
PICKED = """
    cc0_oakChair cc0_plasticChair cc0_foldingChair cc0_winchesterArmchair cc0_stool cc0_oakTable
    ccby_wheelchair cc0_sofa2 cc0_bed3 cc0_desklamp cc0_lamp2 scopia_candelabre cc0_spiralStaircase
    ccby_bike cc0_littlePlant cc0_yogurtBottle reallusion_male01 scopia_smart-car cc0_electricGuitar
    cc0_horse2 cc0_wheelbarrow cc0_teddyBear cc0_tennisRacket cc0_headphones
"""

# The catalogue's categories are rooms, so the kind of an object is derived from its name: the kind is the last noun of
# the name or, if this noun is listed below, the wider word at the start of its line.
WIDER = """
    animal: bulldog cat chicken deer dog horse rabbit
    appliance: blender boiler brewer conditioning cooker cooktop device dryer freezer fridge fryer hood kettle
        machine maker microwave mixer oven press refrigerator squeezer stove toaster
    bag: backpack briefcase handbag suitcase
    ball: basketball
    bath: bathtub jacuzzi
    bed: crib futon hammock mattress
    bench: bank
    bicycle: bike tricycle
    bin: dustbin trashcan trash_can
    bookcase: shelves
    bottle: flacon
    box: chest crate letters_box mailbox penbox
    cabinet: cupboard drawers dresser extension island locker vanity wardrobe
    camera: cctv
    car: beetle car_model chevrolet focus leon peugeot scenic sedan suv van
    carpet: bathmat doormat rug tatami
    chair: armchair ottoman seat
    clothes: cap dress glove hat helmet jacket short skirt socket suit trousers
    computer: ibook imac laptop tablet
    cup: creamer glass mug teapot
    desk: desk_table
    dish: bowl cutlery fork knife pan plate spoon tray
    faucet: shower_head
    food: apples bread butter cake fries hamburger hot_dog milk roasted_chicken steak sugar sushi_tray
    frame: an chambord
    game: chessboard football_table pool_table puzzle seesaw swing table_tennis
    hanger: coathanger
    lamp: artwork candle chandelier flashlight lamppost lantern light lights spotlight strip
    motorbike: r6 scooter
    person: boy female girl male
    phone: iphone
    piano: keyboard xylophone
    plant: bamboo bonsai bush cactus ficus flowers hedge lily orchids spathiphyllum tulips yucca
    rack: clothes_horse
    railing: fence
    road: ahead crossing rails right sidewalk slot
    shoes: bootie mocassin slippers sneakers
    sink: basin lavatory washbasin
    sofa: bz couch lounge
    speaker: amplifier stereo
    stool: puff
    switch: double_socket plug wall_socket
    toilet: bidet potty toilets_unit urinal
    tool: bat drill grinder hammer pliers saw screwdriver shovel tools
    toy: doll rocking_horse teddy_bear train
    tree: acacia beech blossom cypress maple palm pine poplar
    vase: jar pot pottery
    window: blind panes shutter
"""


@dataclass(frozen=True)
class Item:
    """The labels of one object, which are the columns of the CSV."""

    uid: str
    category: str
    licence: str
    source: str
    name: str


@dataclass(frozen=True)
class Model:
    """The archive and member that hold an object's mesh, and the rotation matrix, by rows, that sets the mesh upright.

    After the rotation, bounding boxes agree with the catalogue's width, height and depth, except for two tables whose
    width and depth are exchanged.
    """

    archive: Path
    member: PurePosixPath
    rotation: tuple[float, ...]


def wider_words() -> dict[str, str]:
    lines = WIDER.replace("\n        ", " ").strip().splitlines()
    pairs = (line.split(":") for line in lines)
    return {noun: word.strip() for word, nouns in pairs for noun in nouns.split()}


def kind(name: str, wider: dict[str, str]) -> str:
    """The kind of an object from its name, such as "Small upper cabinet", "Table with tablecloth", "Sofa 2 seats"."""
    head = re.split(r" (?:with|under|on|for|and) | - |,| \d", name.lower())[0]
    words = re.findall("[a-z0-9]+", head)
    return wider.get("_".join(words[-2:])) or wider.get(words[-1], words[-1])


def read_catalogue(folder: Path) -> dict[str, tuple[Item, Model]]:
    """All objects of all libraries, by uid."""
    wider = wider_words()
    found = {}
    for library, (prefix, licence) in LIBRARIES.items():
        path = folder / f"{library}.sh3f"
        with zipfile.ZipFile(path) as archive:
            text = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
        entries: dict[str, dict[str, str]] = {}
        for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*)$", text, re.MULTILINE):
            entries.setdefault(number, {})[key] = value.strip()
        for entry in entries.values():
            uid = f"{prefix}_{entry['id'].rsplit('#', 1)[1]}"
            source = f"{entry['creator']}, Sweet Home 3D {library}"
            item = Item(uid, kind(entry["name"], wider), licence, source, entry["name"])
            rotation = tuple(map(float, entry.get("modelRotation", "").split()))
            found[uid] = item, Model(path, PurePosixPath(entry["model"].lstrip("/")), rotation)
    return found


def turn(obj: bytes, rotation: tuple[float, ...]) -> bytes:
    """Rotate the vertices and normals of an OBJ file, and keep all its other lines unchanged."""
    rows = rotation[:3], rotation[3:6], rotation[6:]
    lines = obj.splitlines()
    for at, line in enumerate(lines):
        words = line.split()
        if words[:1] in ([b"v"], [b"vn"]):
            point = [float(word) for word in words[1:4]]
            turned = [sum(a * b for a, b in zip(row, point, strict=True)) for row in rows]
            lines[at] = b" ".join([words[0], *(b"%.9g" % value for value in turned), *words[4:]])
    return b"\n".join(lines) + b"\n"


def inside(folder: Path, name: str) -> Path:
    """The path of a member inside `folder`. A name that leads outside the folder is refused."""
    place = (folder / name).resolve()
    if "\\" in name or not place.is_relative_to(folder.resolve()):
        sys.exit(f"furniture: {name}: the file would be written outside {folder}; it is refused")
    return place


def unpack(item: Item, model: Model, raw: Path) -> None:
    """Write the folder of an object: its OBJ file, named by uid, and all files in the same folder of the archive."""
    prefix = f"{model.member.parent}/"
    with zipfile.ZipFile(model.archive) as archive:
        for member in archive.infolist():
            if member.is_dir() or not member.filename.startswith(prefix):
                continue
            content = archive.read(member)
            name = f"{item.uid}/{member.filename[len(prefix) :]}"
            if member.filename == str(model.member):
                name = f"{item.uid}/{item.uid}.obj"
                content = turn(content, model.rotation) if model.rotation else content
            place = inside(raw, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="print all objects as a CSV")
    what.add_argument("--pick", action="store_true", help="unpack the 24 chosen objects")
    what.add_argument("--all", action="store_true", help="unpack all 820 objects (0.4 GB)")
    parser.add_argument("-o", "--output", type=Path, default=Path("furniture"), help="folder to unpack into")
    parser.add_argument(
        "--catalogue", type=Path, default=CATALOGUE, help="folder with the .sh3f files of the package"
    )
    options = parser.parse_args()

    try:
        found = read_catalogue(options.catalogue)
    except FileNotFoundError as error:
        sys.exit(f"furniture: {error.filename}: does not exist; run apt-get install sweethome3d-furniture")
    chosen = [found[uid] for uid in (PICKED.split() if options.pick else found)]
    if options.list:
        write_table(sys.stdout, chosen)
        kinds = Counter(item.category for item, _ in chosen).most_common()
        print(", ".join(f"{kind} {count}" for kind, count in kinds), file=sys.stderr)
        return

    options.output.mkdir(parents=True, exist_ok=True)
    for library in LIBRARIES:
        with zipfile.ZipFile(options.catalogue / f"{library}.sh3f") as archive:
            (options.output / f"LICENSE.{library}.txt").write_bytes(archive.read("LICENSE.TXT"))
    for item, model in chosen:
        unpack(item, model, options.output / "raw")
    table = options.output / "furniture.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        write_table(file, chosen)
    print(
        f"{len(chosen)} objects written to {options.output / 'raw'}, their labels to {table}", file=sys.stderr
    )


def write_table(file: TextIO, chosen: list[tuple[Item, Model]]) -> None:
    writer = csv.writer(file)
    writer.writerow([field.name for field in fields(Item)])
    writer.writerows(astuple(item) for item, _ in chosen)


if __name__ == "__main__":
    main()
