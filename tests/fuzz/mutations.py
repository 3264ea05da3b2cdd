"""Damages files of every format that sdfkit reads, and runs a command on each in a child with limits.

    python -m tests.fuzz.mutations [--count N] [--seed N] [--only NAME]

Prints a table of outcomes by kind of file. Allowed are a result, and one line with status 2 to 5. Ends with status 1 if
there is a traceback, a hang, more memory than the limit, or an escape code in a message.
"""

import argparse
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import typer
from typer.testing import CliRunner

from sdfkit.cli import app, program, with_status
from tests.fuzz.inputs import Input, make_inputs

SECONDS, MEMORY = 20, 2 << 30
# Runs of one child, after which a fresh one is forked.
RUNS = 50
ALLOWED = ("accepted", "status 2", "status 3", "status 4", "status 5")
NUMBERS = (-1, 0, 1, 2, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 10**30, 1e308, -1e308, 0.5)
OTHERS: tuple[Any, ...] = (
    None, True, False, *NUMBERS, float("nan"), "", "x", "\x1b[2J", "\x9b31m", "\u202e", "\0", "\ud800", "a" * 70_000,
    [], [1], [[1]], {}, {"a": 1}, "../../x", "/etc/passwd",
)  # fmt: skip


# Mutations


def change_json(content: bytes, rng: random.Random) -> bytes:
    """Replace, repeat or remove a value anywhere in a JSON text."""
    try:
        whole = json.loads(content)
    except ValueError:
        return change_bytes(content, rng)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    if not isinstance(whole, dict | list) or not whole:
        return content
    walk(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder, key = rng.choice(places)
        try:
            if rng.random() < 0.15:
                del holder[key]
            elif rng.random() < 0.1:
                nested: Any = []
                for _ in range(rng.choice((70, 900, 100_000))):
                    nested = [nested]
                return b"[" * 100_000
            else:
                holder[key] = rng.choice(OTHERS)
        except (KeyError, IndexError):
            continue
    return json.dumps(whole).encode("utf-8", "surrogatepass")


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, insert, remove or repeat bytes, or cut the end off."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 if data:
                data[at - 1] ^= 1 << rng.randrange(8)
            case 1:
                number = int(rng.choice(NUMBERS[:9])) & 0xFFFFFFFF
                data[at : at + 4] = struct.pack(rng.choice(("<I", ">I")), number)
            case 2:
                data[at:at] = rng.choice(
                    (b"\x1b[2J", b"\0", b"\n", b" ", b"\xff" * 9, b"nan", b"1e999", b"-1")
                )
            case 3:
                del data[at : at + rng.choice((1, 2, 4, 16, 256))]
            case 4:
                data[at:at] = data[at : at + rng.choice((1, 4, 64, 1024))]
            case 5:
                del data[at:]
            case 6:
                data[at : at + 8] = struct.pack("<Q", int(rng.choice(NUMBERS[:11])) & (2**64 - 1))
    return bytes(data)


def change_text(content: bytes, rng: random.Random) -> bytes:
    """Replace words of a text by extreme numbers and other words, or swap, repeat and remove lines."""
    lines = content.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        words = lines[at].split(b" ")
        match rng.randrange(5):
            case 0 | 1:
                word = str(rng.choice(OTHERS)).encode("utf-8", "surrogatepass")
                words[rng.randrange(len(words))] = word
                lines[at] = b" ".join(words)
            case 2:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 3 if len(lines) > 1:
                del lines[at]
            case 4:
                lines[at] = b" ".join(words * rng.choice((2, 50)))
    return b"\n".join(lines)


def change_zip(content: bytes, rng: random.Random) -> bytes:
    """Change a member of a zip archive, its name or its number, or the bytes of the archive."""
    if rng.random() < 0.3:
        return change_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = rng.randrange(len(members))
    name, inner = members[at]
    match rng.randrange(5):
        case 0:
            name = rng.choice(("../x", "/x", name + "/..", "\x1b[2J", "a" * 60_000, name.upper(), ""))
        case 1:
            members.insert(at, members[at])
        case 2:
            del members[at]
        case _:
            inner = mutate(name, inner, rng)
    if at < len(members):
        members[at] = (name, inner)
    out = io.BytesIO()
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for member, bytes_there in members:
            archive.writestr(zipfile.ZipInfo(member or "x"), bytes_there)
    return out.getvalue()


def change_glb(content: bytes, rng: random.Random) -> bytes:
    """Change the JSON of a GLB and keep its lengths right, or change its bytes."""
    if rng.random() < 0.3:
        return change_bytes(content, rng)
    length = int.from_bytes(content[12:16], "little")
    text = change_json(content[20 : 20 + length], rng)
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    head = struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + rest


def change_npy(content: bytes, rng: random.Random) -> bytes:
    """Change the header of a .npy and keep its length right, or change its bytes."""
    if rng.random() < 0.4:
        return change_bytes(content, rng)
    descr = rng.choice(("<f4", "<f8", "|O", "<U9", "<M8[s]", ">i2", "|V8", "(2,)<f4", "x"))
    shape = tuple(rng.choice((0, 1, 3, -1, 2**40, 2**63)) for _ in range(rng.randrange(4)))
    header = f"{{'descr': {descr!r}, 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content[128:]


def mutate(name: str, content: bytes, rng: random.Random) -> bytes:
    """Change the content of a file in a way that suits its format."""
    ways: dict[str, Callable[[bytes, random.Random], bytes]] = {
        "json": change_json, "gltf": change_json, "glb": change_glb, "zip": change_zip, "npz": change_zip,
        "3mf": change_zip, "npy": change_npy, "obj": change_text, "off": change_text, "dae": change_text,
        "csv": change_text, "model": change_text, "mtl": change_text,
    }  # fmt: skip
    way = ways.get(name.rpartition(".")[2], change_bytes)
    if name.startswith("text.") and rng.random() < 0.8:
        way = change_text
    if name.startswith("head.") and rng.random() < 0.6:
        # The comment with the metadata of sdfkit, whose JSON is changed.
        start, _, rest = content.partition(b"sdfkit ")
        line, _, rest = rest.partition(b"\n")
        return start + b"sdfkit " + change_json(line, rng) + b"\n" + rest
    return way(content, rng) if rng.random() < 0.9 else change_bytes(content, rng)


# Runs

PICTURES = typer.Typer(callback=program)


@PICTURES.command("(picture)")
@with_status
def load_picture(path: str) -> None:
    """Decode a picture, as embed and predict do, without a network."""
    from sdfkit.io.image_files import find_images

    for row in find_images([path], manifest=None):
        row.load()


def run_one(given: Input, seed: int, folder: Path) -> tuple[str, str]:
    """Damage an input in a folder and run one of its command lines; return the class of the outcome and its text.

    A seed below 0 damages nothing.
    """
    rng = random.Random(seed)
    target = rng.choice(given.damaged)
    for name, content in given.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        is_damaged = seed >= 0 and name == target
        path.write_bytes(mutate(name.rpartition("/")[2], content, rng) if is_damaged else content)
    line = rng.choice(given.lines)
    result = CliRunner().invoke(PICTURES if line[0] == "(picture)" else app, ["-q", *line])
    text = result.stderr
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        error = result.exception
        where = "".join(traceback.format_exception(error)[-2:])
        return "traceback", f"{' '.join(line)}: {where}"
    if any(letter in result.output + text for letter in ("\x1b", "\x9b", "\u202e")):
        return "escape code", f"{' '.join(line)}: {(result.output + text)[:300]!r}"
    if result.exit_code == 0:
        return "accepted", ""
    if text.count("\n") > 1 and result.exit_code != 4:
        return "several lines", f"{' '.join(line)}: {text}"
    return f"status {result.exit_code}", text


def _work(inputs: dict[str, Input], jobs: Sequence[tuple[str, int]], writer: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    with os.fdopen(writer, "w") as pipe:
        for name, seed in jobs:
            folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
            os.chdir(folder)
            outcome = run_one(inputs[name], seed, folder)
            pipe.write(json.dumps(outcome) + "\n")
            pipe.flush()
            os.chdir("/")
            shutil.rmtree(folder, ignore_errors=True)


def run_all(
    inputs: dict[str, Input], count: int, seed: int
) -> tuple[dict[str, Counter[str]], list[tuple[str, int, str, str]]]:
    """Run a number of damaged inputs; return the outcomes by input, and the ones that are not allowed."""
    names = sorted(inputs)
    jobs = [(names[number % len(names)], seed * 1_000_003 + number) for number in range(count)]
    table: dict[str, Counter[str]] = {name: Counter() for name in names}
    bad: list[tuple[str, int, str, str]] = []
    while jobs:
        part = jobs[:RUNS]
        done = _run_part(inputs, part)
        for (name, number), (outcome, text) in zip(part, done, strict=False):
            table[name][outcome] += 1
            if outcome not in ALLOWED:
                bad.append((name, number, outcome, text))
        jobs = jobs[len(done) :]
    return table, bad


def _run_part(inputs: dict[str, Input], part: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            _work(inputs, part, writer)
        finally:
            os._exit(0)
    os.close(writer)
    done: list[tuple[str, str]] = []
    held = b""
    last = time.monotonic()
    while len(done) < len(part):
        ready, _, _ = select.select([reader], [], [], 1.0)
        if ready:
            piece = os.read(reader, 1 << 16)
            if not piece:
                done.append(("killed", "the process died"))
                break
            *lines, held = (held + piece).split(b"\n")
            done += [tuple(json.loads(line)) for line in lines]
            last = time.monotonic()
        elif time.monotonic() - last > SECONDS:
            done.append(("hang", f"more than {SECONDS} s"))
            break
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    return done


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    inputs = {name: given for name, given in make_inputs().items() if options.only in name}
    table, bad = run_all(inputs, options.count, options.seed)
    outcomes = sorted({outcome for row in table.values() for outcome in row})
    sys.stdout.write(f"| input | {' | '.join(outcomes)} |\n|{'---|' * (len(outcomes) + 1)}\n")
    for name, row in table.items():
        sys.stdout.write(f"| {name} | {' | '.join(str(row[outcome]) for outcome in outcomes)} |\n")
    for name, number, outcome, text in bad:
        sys.stdout.write(f"{name} {number} {outcome}: {text}\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
