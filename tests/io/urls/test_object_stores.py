"""Stores and meshes at URLs: in memory, and on a local server of S3."""

import errno
import socket
import uuid

import numpy as np
import pytest
import trimesh
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from sdfkit.cli import app
from sdfkit.errors import InputError
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.io.urls import files as files_module
from sdfkit.io.urls.files import open_files
from sdfkit.rows import Row

ROWS = [Row(index, f"obj_{index}") for index in range(3)]


class Changed(Row):
    """A row whose input has another digest."""

    @property
    def identity(self):
        return "other"


@pytest.fixture(scope="module")
def server():
    """A server of S3 in this process, which keeps what it holds while it is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = ThreadedMotoServer("127.0.0.1", port)
    with pytest.MonkeyPatch.context() as patch:
        server.start()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        yield server
        server.stop()


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def bucket(request):
    """The URL of an empty bucket."""
    url = f"{request.param}://{uuid.uuid4()}"
    if request.param == "s3":
        request.getfixturevalue("server")
        files, root = open_files(url)
        files.mkdir(root)
    return url


def names(url):
    files, root = open_files(url)
    return sorted(path.removeprefix(root).lstrip("/") for path in files.find(root))


def create(url, rows=ROWS, settings=None, **more):
    return create_store(
        url, "codes", rows=rows, history=[], settings=settings or {}, resumable=True,
        **{"overwrite": False, **more},
    )  # fmt: skip


def fill(codes, rows, value=0.0):
    codes.create_array("code", shape=(len(ROWS), 4), dtype="f4", axes=("shape", "dim"))
    for row in rows:
        if not codes.has(row):
            codes.write(row, code=np.full(4, row.index + value, np.float32))


def stop_after(url, rows, **more):
    with pytest.raises(KeyboardInterrupt), create(url, **more) as codes:
        fill(codes, rows)
        raise KeyboardInterrupt


def first_column(url):
    with open_store(url, "codes", manifest=None) as store:
        return store.read("code")[:, 0].tolist()


def test_rows_continue_after_an_interruption_at_any_of_them(bucket):
    url = f"{bucket}/x.zarr"
    for count in range(len(ROWS)):
        stop_after(url, ROWS[:count])
        with pytest.raises(InputError, match="not complete"), open_store(url, manifest=None):
            pass
    with create(url) as codes:
        assert codes.done == {0, 1}
        fill(codes, ROWS, 0.5)
        assert codes.made == 1
    assert first_column(url) == [0, 1, 2.5]
    with create(url) as codes:
        fill(codes, [ROWS[0], Changed(1, "obj_1"), ROWS[2]], 7)
        assert codes.made == 1
    assert first_column(url) == [0, 8, 2.5]


@pytest.mark.parametrize("last", ["zarr.json", "uid/zarr.json"])
def test_a_run_that_was_killed_before_its_first_row_is_begun_anew(bucket, last):
    url = f"{bucket}/x.zarr"
    stop_after(url, ROWS[:2])
    for name in [name for name in names(url) if name not in ("zarr.json", last)]:
        files, root = open_files(url)
        files.rm_file(f"{root}/{name}")
    with create(url) as codes:
        assert not codes.done
        fill(codes, ROWS)
    assert first_column(url) == [0, 1, 2]


def test_another_store_is_replaced_once_the_new_one_is_whole(bucket):
    url, other = f"{bucket}/x.zarr", {"settings": {"points": 5}}
    with create(url) as codes:
        fill(codes, ROWS)
    for rows, changed, reason in ((ROWS, other, "points: None then, 5 now"), (ROWS[:2], {}, "other shapes")):
        with pytest.raises(InputError, match=f"exists; .*{reason}"), create(url, rows, **changed):
            pass
    for rows in (ROWS[:1], ROWS[:2]):
        stop_after(url, rows, **other, overwrite=True)
        assert first_column(url) == [0, 1, 2]
    with create(url, **other, overwrite=True) as codes:
        assert codes.done == {0, 1}
        fill(codes, ROWS, 0.5)
    assert first_column(url) == [0, 1, 2.5]
    assert not [name for name in names(bucket) if not name.startswith("x.zarr/")]


def test_a_second_run_stops_the_first(bucket):
    url, refusal = (
        f"{bucket}/x.zarr",
        "x.zarr: another command has begun to write this store; run one at a time",
    )
    with pytest.raises(InputError, match=refusal), create(url) as first:
        fill(first, ROWS[:1])
        with create(url) as second:
            assert second.done == {0}
            fill(second, ROWS)
        first.write(ROWS[1], code=np.zeros(4, np.float32))
    assert first_column(url) == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.EINVAL, "The specified bucket is not valid."),
            "The specified bucket is not valid; the same",
        ),
        (PermissionError("Access Denied"), "Access Denied; the same command continues what it can"),
        (RuntimeError("Unable to locate credentials"), "Unable to locate credentials; the same"),
        (OSError(errno.ENOSPC, "No space left on device"), ""),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.ply"), ""),
    ],
)
def test_errors_of_a_server_name_it_and_others_are_left_alone(monkeypatch, error, expected):
    monkeypatch.setattr(files_module, "_opened", set())
    assert files_module.describe_server_error(error) == ""
    files_module.note_server("s3://bucket/folder/x.zarr")
    found = files_module.describe_server_error(error)
    assert found.startswith(f"s3://bucket: {expected}") if expected else found == ""


SAMPLES = ("--points", 100, "--surface-points", 0, "--jobs", 1)
# A command, and what it says at the first and at the second time.
COMMANDS = [
    ("watertight {b}/closed --resolution 32 --jobs 1 -o {b}/tight/", "wrote closed meshes of 2 shapes", "nothing was"),
    ("watertight {b}/closed --resolution 40 --jobs 1 -o {b}/tight/", "{b}/tight/ball.ply: was made with other", ""),
    ("watertight {b}/closed --resolution 32 --jobs 1 -o {b}/closed", "{b}/closed: is also an input", ""),
    ("watertight {b}/closed/cube.ply --resolution 32 -o {b}/one.ply", "wrote closed meshes of 1 shape", "nothing was"),
    ("sample-sdf {b}/tight --points 100 --jobs 1 -o {b}/samples.zarr", "100 samples of 2 shapes", "nothing was"),
    ("select {b}/samples.zarr --uid cube -o {b}/cube.zarr", "copied 1 of 2 rows", "nothing was"),
    ("select {b}/tight --uid ball -o {b}/ball/", "copied 1 of 2 meshes", "nothing was"),
    ("split {b}/samples.zarr --held-out 0.5 -o {b}/sets/", "rows of samples to {b}/sets/held-out.zarr", "nothing was"),
    ("split {b}/tight --held-out 0.5 -o {b}/sets/", "copied 1 of 2 meshes to {b}/sets/train/", "nothing was"),
    ("cat {b}/ball {b}/one.ply -o {b}/both/", "copied 2 meshes", "nothing was"),
    ("info {b}/samples.zarr", "", ""),
    ("sample-sdf {b}/bad --points 100 --jobs 1 -o {b}/bad.zarr", "{b}/bad/no_mesh.ply: is empty", ""),
    ("info {b}/none/", "{b}/none/: No such file or directory", ""),
    ("info {b}/none.zarr", "{b}/none.zarr: No such file or directory", ""),
    ("cat {b}/samples.zarr -o {b}/x.zarr.zip", "{b}/x.zarr.zip: files of stores and arrays can be written on", ""),
    ("train-deepsdf {b}/samples.zarr -o {b}/d.zarr.zip", "{b}/d.zarr.zip: files of stores and arrays can be", ""),
    ("view {b}/tight -o {b}/page.html", "{b}/page.html: only stores and meshes can be written to a URL", ""),
    ("compare {b}/tight {b}/closed -o {b}/page.html", "{b}/page.html: only stores and meshes can be written", ""),
    ("render {b}/tight -o {b}/photos/", "{b}/photos/: folders of pictures can be written on this machine only", ""),
    ("info {b}/samples.zarr --manifest {b}/none.json", "{b}/none.json: No such file or directory", ""),
]  # fmt: skip


def test_commands_read_and_write_urls(bucket, tmp_path):
    files, root = open_files(f"{bucket}/closed")
    for name, mesh in (("ball", trimesh.creation.icosphere(2)), ("cube", trimesh.creation.box())):
        mesh.export(tmp_path / f"{name}.ply")
        files.put_file(str(tmp_path / f"{name}.ply"), f"{root}/{name}.ply")
    files.pipe_file(f"{open_files(bucket)[1]}/bad/no_mesh.ply", b"")
    for line, first, second in COMMANDS:
        for expected in (first, second) if second else (first,):
            result = CliRunner().invoke(app, line.format(b=bucket).split(), catch_exceptions=False)
            assert expected.format(b=bucket) in result.stderr, (line, result.stderr)
            assert result.exit_code in ((0,) if second or not first else (2, 3)), (line, result.stderr)
    assert names(f"{bucket}/tight") == names(f"{bucket}/closed") == ["ball.ply", "cube.ply"]
    assert [name for name in names(f"{bucket}/both") if not name.startswith(".")] == ["ball.ply", "cube.ply"]


@pytest.mark.slow
def test_a_run_that_loses_its_server_is_continued(server, monkeypatch, tmp_path):
    import s3fs

    from sdfkit.io.stores.store_writer import StoreWriter

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    url, write = f"s3://{uuid.uuid4()}/x.zarr", StoreWriter.write
    files, root = open_files(url)
    files.mkdir(root.partition("/")[0])
    for name in ("ball", "cube", "high"):
        trimesh.creation.icosphere(1).export(tmp_path / f"{name}.ply")
    line = [str(word) for word in ("sample-sdf", tmp_path, *SAMPLES, "-o", url)]

    def write_until_lost(self, row, **arrays):
        if row.index == 2:
            server.stop()
        write(self, row, **arrays)

    monkeypatch.setattr(StoreWriter, "write", write_until_lost)
    lost = CliRunner().invoke(app, line, catch_exceptions=False)
    server.start()
    assert lost.exit_code == 1
    (message,) = [text for text in lost.stderr.splitlines() if "s3://" in text]
    assert message.startswith(f"sdfkit: {url.removesuffix('/x.zarr')}: ")
    assert message.endswith("; the same command continues what it can")
    monkeypatch.setattr(StoreWriter, "write", write)
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    with open_store(url, "samples", manifest=None) as store:
        assert store.read("valid").all()
