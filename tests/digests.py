"""SHA-256 digests of what every command writes in a small run, to prove that moving code changes nothing.

    python -m tests.digests            compare with tests/digests.json; status 1 if anything differs
    python -m tests.digests --write    write tests/digests.json again

Runs the program of the checkout that contains this file, whatever is installed, and imports nothing of it. A run takes
three to five minutes on one core, and 2 GB of temporary disk space, mainly for the training states of networks whose
size no option reduces.

Learned outputs (features, weights, codes, networks and their results) are equal only on one kind of processor with one
version of torch: write the table before a move on the machine that compares after it. The output of
`doctor` describes the machine. Mesh files and reports of `info` contain the version of sdfkit; the digests
of stores leave it out.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

TABLE = Path(__file__).with_name("digests.json")
CHECKOUT = Path(__file__).parents[1]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MPLBACKEND": "Agg",
}
ONE, CPU, FP32 = "--jobs 1", "--device cpu", "--device cpu --precision fp32"
LITE = f"--model efficientnet-lite0 {FP32}"
FLOW = f"--batch 2 --rays 24 {FP32}"
# Each line is a step; its output is every file that it leaves in the folder. `>` redirects standard output. A line that
# begins with ! is one in which shapes may fail (status 4); some networks are too little trained to have surfaces.
STEPS = f"""
shapes --list > categories.txt
shapes --category table --category bowl --category chair --count 3 --resolution 40 --messy --seed 1 --jobs 2 -o raw/
shapes --category bowl --count 1 --resolution 32 --seed 2 {ONE} -o bowl.obj
manifest raw/ -o manifest.json
manifest raw/ bowl.obj --csv labels.csv --licence CC-BY-4.0 --source here > labelled.json
watertight raw/ --manifest manifest.json --resolution 40 {ONE} -o closed/
watertight bowl.obj --resolution 32 --simplify 200 --frame original {ONE} -o bowl.stl
watertight bowl.obj --method particles --points 2000 --resolution 32 --seed 1 {ONE} -o shells.glb
shapes --category bowl --count 2 --resolution 32 {ONE} | watertight --resolution 32 {ONE} | sample-sdf --points 300 \
--surface-points 0 {ONE} > piped.zarr.zip
sample-sdf closed/ --points 2000 --surface-points 100 --seed 1 --jobs 2 -o samples.zarr
! sample-sdf raw/ --points 300 --surface-points 10 --sign normal {ONE} -o refused.zarr
render closed/ --views 3 --size 64 --depth --normal --renderer cpu {ONE} -o views.zarr
! render bowl.obj flat.obj bowl.stl --views 1 --size 48 --colour --renderer cpu {ONE} -o coloured.zarr.zip
render closed/ --views 3 --size 64 --renderer cpu {ONE} | embed {LITE} -o features.zarr
embed views.zarr --with depth --tokens patch --pool mean --batch 4 {LITE} -o tokens.zarr.zip
embed photos/ {LITE} -o photos.zarr
embed --text captions.csv {FP32} -o captions.zarr
fit-mlp samples.zarr --steps 40 --seed 1 {CPU} -o weights.zarr
fit-mlp samples.zarr --steps 10 --network siren --anchor none {CPU} -o siren.zarr.zip
train-deepsdf samples.zarr --steps 30 --points 256 --curve deepsdf.png {FP32} -o deepsdf.zarr
fit-code samples.zarr --decoder deepsdf.zarr --half-space +x --steps 5 --batch 256 {CPU} -o fitted.zarr
train-ae weights.zarr --samples samples.zarr --latent 4 --epochs 10 --lr 0.005 --resolution 16 --curve ae.png {FP32} \
-o ae.zarr
train-ae weights.zarr --samples samples.zarr --loss field --points 64 --latent 4 --epochs 1 --resolution 16 {FP32} \
-o field_ae.zarr.zip
train-dit features.zarr --codes deepsdf.zarr --steps 30 --batch 8 --seed 1 --curve dit.png {FP32} -o dit.zarr
train-dit tokens.zarr.zip --codes ae.zarr --condition token --prediction v --cfg-dropout 0.2 --steps 10 --batch 4 \
{FP32} -o ae_dit.zarr
train-dit features.zarr --codes weights.zarr --tokens layers --steps 3 --batch 2 {FP32} -o weight_dit.zarr
train-flow views.zarr --steps 2 --held-out views.zarr --check-gradients --curve flow.png {FLOW} -o flow.zarr
train-flow views.zarr --stage encoder --velocity dit --features features.zarr --silhouette dt-bound --steps 1 {FLOW} \
-o encoder.zarr
train-flow views.zarr --stage distil --start encoder.zarr --features features.zarr --velocity dit --steps 1 {FLOW} \
-o distil.zarr
train-recon views.zarr --samples samples.zarr --steps 2 --batch 2 --points 64 --curve recon.png {FP32} -o recon.zarr
predict dit.zarr features.zarr --samples 2 --steps 5 --eta 0.5 --seed 1 {CPU} -o codes.zarr
predict ae_dit.zarr tokens.zarr.zip --guidance 2 --steps 3 {CPU} -o ae_codes.zarr
predict weight_dit.zarr features.zarr --steps 3 {CPU} -o predicted.zarr
predict flow.zarr views.zarr --trajectory --steps 1 {CPU} -o steps.zarr
predict distil.zarr features.zarr --steps 2 --samples 2 {CPU} > distilled.zarr.zip
predict recon.zarr views.zarr {CPU} -o grids.zarr
predict dit.zarr photo.ppm --steps 3 {CPU} | mesh --decoder deepsdf.zarr --resolution 32 {CPU} > photo.ply
mesh codes.zarr --decoder deepsdf.zarr --resolution 32 {CPU} -o codes/
mesh predicted.zarr --resolution 32 --smooth-normals --format glb {CPU} -o predicted/
! mesh ae.zarr --resolution 32 --largest --format obj {CPU} -o recoded/
! mesh grids.zarr --resolution 32 {CPU} -o reconstructed/
! mesh steps.zarr --decoder flow.zarr --resolution 32 {CPU} -o flown/
! mesh plain.npy --decoder deepsdf.zarr --resolution 32 --simplify 500 --format stl {CPU} -o plain/
timestep-loss dit.zarr features.zarr --views 2 --draws 1 --steps 3 {CPU} -o timesteps.png > timesteps.txt
timestep-loss weight_dit.zarr features.zarr --views 2 --draws 1 --steps 2 {CPU} --json > timesteps.json
compare photo.ply bowl.stl --points 1000 --align icp {ONE} > compare_one.txt
compare codes/ closed/ --points 1000 --all {ONE} -o compare.csv > compare.txt
compare codes/ closed/ --points 1000 --training closed/ --features features.zarr {ONE} --json > compare.json
rank codes.zarr > rank.txt
rank fitted.zarr --known deepsdf.zarr --truth fitted.zarr --top 2 -o ranks.zarr --json > rank.json
rank predicted.zarr --json > rank_weights.json
weight-stats weights.zarr -o stats.zarr > stats.txt
weight-stats weights.zarr --compare predicted.zarr -o stats.png --json > stats.json
perturb weights.zarr siren.zarr.zip --shapes 1 --resolution 16 --sigma 0.1 --sigma 0.5 {CPU} -o noise.png > noise.txt
perturb codes.zarr --decoder deepsdf.zarr --noise spread --shapes 3 --resolution 16 --sigma 0.5 {CPU} > noise_codes.txt
perturb weights.zarr --per dimension --noise number --shapes 1 --resolution 16 --sigma 0.5 {CPU} --json > noise.json
interpolate deepsdf.zarr --pairs 1 --steps 1 --resolution 16 {CPU} -o paths.zarr > paths.txt
doctor > doctor.txt
doctor --json > doctor.json
info samples.zarr piped.zarr.zip coloured.zarr.zip tokens.zarr.zip ae.zarr dit.zarr flow.zarr steps.zarr > stores.txt
info samples.zarr refused.zarr weights.zarr weight_dit.zarr codes.zarr ranks.zarr plain.npy --json > stores.json
info raw/ > meshes.txt
info shells.glb bowl.obj bowl.stl photo.ply --json > meshes.json
view closed/ --views 4 --size 64 {ONE} -o closed.html
view raw/ --size 64 --columns 2 {ONE} -o raw.png
view views.zarr --size 64 {ONE} -o views.png
view samples.zarr --size 64 {ONE} -o samples.png
view deepsdf.zarr -o deepsdf.html
view weights.zarr -o weights.png
view steps.zarr -o steps.html
view steps.zarr > steps.png
"""
# Values that differ from run to run, and their replacements. Only the files of doctor need replacements.
VARIES = {
    # Free space and memory, and the temporary folder's name, which `digest_path` replaces.
    "doctor.txt": (r"[\d.]+ GB( free| of it available)", r"_ GB\1"),
    "doctor.json": (r'("(?:available|free)": )\d+|[\d.]+ GB( free| of it available)', r"\1_\2"),
}
# Messages that depend on the machine and the moment: speed, compilation of kernels, slow tests of the machine.
MOMENTARY = re.compile(r"steps a second$|compiling for this machine|waiting for ")


def prepare(folder: Path) -> None:
    """Write the inputs that no command makes: photos, captions, labels, a mesh that fails, codes."""
    for name in ("a", "b"):
        (folder / "photos" / name).mkdir(parents=True)
    row, column = np.mgrid[:60, :80]
    for name, radius in {
        "photo": 20,
        "photos/a/1": 12,
        "photos/a/2": 16,
        "photos/b/1": 24,
        "photos/b/2": 28,
    }.items():
        # A shaded disc on white.
        pixels = np.full((60, 80, 3), 255, np.uint8)
        inside = (row - 30) ** 2 + (column - 40) ** 2 < radius**2
        pixels[inside] = np.stack([row, column, row + column], axis=-1)[inside]
        (folder / f"{name}.ppm").write_bytes(b"P6 80 60 255\n" + pixels.tobytes())
    (folder / "captions.csv").write_text(
        "uid,caption,caption_2\na,a table,four legs\nb,a bowl,something round\n"
    )
    (folder / "labels.csv").write_text("uid,category,licence\nobj_0000,desk,CC0-1.0\nobj_0002,seat,\n")
    (folder / "flat.obj").write_text("v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n")
    np.save(folder / "plain.npy", np.random.RandomState(0).normal(0, 0.1, (2, 64)).astype(np.float32))


def run(line: str, folder: Path) -> tuple[str, str]:
    """Run one step in the folder.

    Returns:
        Its name (the last command and its output), and its messages.
    """
    line, _, kept = line.partition(" > ")
    may_fail = line.startswith("! ")
    commands = [shlex.split(part) for part in line.removeprefix("! ").split(" | ")]
    last = commands[-1]
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path, "TMPDIR": str(folder.parent)}
    processes: list[subprocess.Popen[bytes]] = []
    with (
        tempfile.TemporaryDirectory() as place,
        (folder / kept if kept else Path(os.devnull)).open("wb") as end,
    ):
        for number, words in enumerate(commands):
            with Path(place, f"{number}").open("wb") as messages:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "sdfkit", *words],
                        cwd=folder,
                        env=environment,
                        stdin=processes[-1].stdout if processes else subprocess.DEVNULL,
                        stdout=end if words is last else subprocess.PIPE,
                        stderr=messages,
                    )
                )
            if number:
                # Only the reader keeps its end of the pipe open, so that the writer gets an error when the reader ends.
                processes[number - 1].stdout.close()
        statuses = [process.wait() for process in processes]
        told = "".join(Path(place, f"{number}").read_text() for number in range(len(commands)))
    if any(statuses) and not (may_fail and statuses == [4]):
        sys.exit(f"{line}\nended with status {statuses}:\n{told}")
    # Libraries print too (progress bars with their speed); lines of sdfkit begin with its name.
    lines = [text for text in told.splitlines() if text.startswith("sdfkit: ") and not MOMENTARY.search(text)]
    return f"{last[0]} {last[last.index('-o') + 1] if '-o' in last else kept}", "\n".join(lines)


def digest_store(path: Path) -> Iterator[tuple[str, str]]:
    """Return one digest of the arrays of a store, and one of the attributes of all groups and arrays."""
    store: Any = zarr.storage.ZipStore(path, mode="r") if path.suffix == ".zip" else str(path)
    root = zarr.open_group(store, mode="r")
    arrays, attributes = hashlib.sha256(), {"": dict(root.attrs)}
    for name, node in sorted(root.members(max_depth=None)):
        attributes[name] = dict(node.attrs)
        if isinstance(node, zarr.Array):
            values = np.asarray(node[...])
            # Strings have no bytes of their own.
            is_text = values.dtype.kind not in "biufc"
            content = (
                json.dumps(values.tolist()).encode() if is_text else np.ascontiguousarray(values).tobytes()
            )
            form = [name, str(node.dtype), node.shape, node.metadata.dimension_names, len(content)]
            arrays.update(json.dumps(form).encode() + content)
    for step in attributes[""].get("history", []):
        step.pop("version")
    yield "arrays", arrays.hexdigest()
    yield "attributes", digest(json.dumps(attributes, sort_keys=True).encode())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_path(path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Return the digests of a store, a file, or all files of a folder, each with its description."""
    name = str(path.relative_to(folder))
    if path.name.endswith((".zarr", ".zarr.zip")):
        yield from ((f"{name}: {part}", total) for part, total in digest_store(path))
    elif path.is_dir():
        for file in sorted(path.iterdir()):
            yield from digest_path(file, folder)
    else:
        content = path.read_bytes()
        if name in VARIES:
            content = re.sub(*VARIES[name], content.decode().replace(str(folder.parent), "_")).encode()
        yield f"{name}: bytes", digest(content)


def run_all() -> dict[str, str]:
    """Run all steps in a temporary folder, and return the digests of all outputs by command and name."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve() / "run"
        folder.mkdir()
        prepare(folder)
        there = set(folder.iterdir())
        for line in STEPS.strip().splitlines():
            sys.stderr.write(f"{line}\n")
            name, messages = run(line, folder)
            command = name.split()[0]
            if messages:
                found[f"{name}: messages"] = digest(messages.encode())
            for path in sorted(set(folder.iterdir()) - there):
                found |= {f"{command} {output}": total for output, total in digest_path(path, folder)}
            there = set(folder.iterdir())
    return found


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--write"]):
        sys.exit("usage: python -m tests.digests [--write]")
    found = run_all()
    if arguments:
        TABLE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        sys.stdout.write(f"wrote the digests of {len(found)} outputs to {TABLE}\n")
        return
    known: dict[str, str] = json.loads(TABLE.read_text())
    for name in sorted(found.keys() | known.keys()):
        if name not in found:
            sys.stdout.write(f"{name}: no longer written\n")
        elif name not in known:
            sys.stdout.write(f"{name}: not in the table\n")
        elif found[name] != known[name]:
            sys.stdout.write(f"{name}: differs\n")
    if found != known:
        sys.exit(1)
    sys.stdout.write(f"all {len(found)} outputs are as {TABLE.name} has them\n")


if __name__ == "__main__":
    main(sys.argv[1:])
