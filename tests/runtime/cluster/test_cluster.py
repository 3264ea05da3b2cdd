"""Commands and functions of rows on a Dask cluster: a scheduler and two workers, which are processes of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trimesh
from typer.testing import CliRunner

from sdfkit.cli import app
from sdfkit.errors import MissingError
from sdfkit.rows import Row
from sdfkit.runtime.pool import PoolOptions, compute_rows
from tests.runtime.cluster.rows import Table, fail_or_square, hold_on_one_worker

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start the cluster; return the address of its scheduler, and its worker a, which may be killed."""
    file = tmp_path_factory.mktemp("cluster") / "scheduler.json"
    local = ("--host", "127.0.0.1", "--scheduler-file", file, "--no-dashboard")
    worker = ("worker", *local, "--nthreads", 1, "--local-directory", file.parent)
    lines = {"": ("scheduler", *local, "--port", 0), "a": (*worker, "--no-nanny"), "b": worker}
    with ExitStack() as stack:
        started = {}
        for name, words in lines.items():
            path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, words)], cwd=file.parent, stderr=subprocess.DEVNULL,
                env=os.environ | {"SDFKIT_TEST_WORKER": name, "PYTHONPATH": path},
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)  # what they have started ends with them
            started[name] = process
        from distributed import Client

        with Client(scheduler_file=str(file), timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, started["a"]


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    """A folder of five meshes, and one that fails because it is open."""
    folder = tmp_path_factory.mktemp("meshes")
    for index in range(5):
        trimesh.creation.box((1, 1, 1 + index)).export(folder / f"{index}.ply")
    trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]).export(folder / "open.ply")
    return folder


def contents(folder):
    """Return the files in a folder by their names."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("sample-sdf --points 200 --surface-points 20", "out.zarr"),
        ("render --views 2 --size 16 --renderer cpu", "out.zarr"),
        ("watertight --resolution 16", "closed/"),
    ],
)
def test_a_cluster_writes_the_same_bytes(cluster, meshes, tmp_path, monkeypatch, line, output):
    for place in ("local", "cluster"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        option = ("--jobs", "1") if place == "local" else ("--cluster", cluster[0])
        result = CliRunner().invoke(
            app, [*line.split(), str(meshes), "-o", output, *option], catch_exceptions=False
        )
        assert result.exit_code == 4 * ("sample" in line), result.stderr
    expected = contents(tmp_path / "local")
    assert len(expected) > 5
    assert contents(tmp_path / "cluster") == expected


def test_failing_hanging_and_dying_rows_are_marked(cluster, tmp_path):
    table = Table(folder=tmp_path)
    rows = [Row(index, f"obj_{index}") for index in range(8)]
    options = PoolOptions(1, 2, cluster[0], False)
    compute_rows(table, rows, 8, partial(fail_or_square, folder=tmp_path), options)
    assert table.written.pop(1) == "no surface"
    assert table.written.pop(2) == "took longer than 2 s; raise --timeout or simplify the shape"
    assert "its worker process died" in table.written.pop(3)
    assert table.written == {index: index**2 for index in (0, 4, 5, 6, 7)}
    assert {file.name for file in tmp_path.glob("large_*")} == {f"large_{index}" for index in (0, 4, 5, 6, 7)}


def test_an_interrupted_command_ends_its_processes(cluster, tmp_path):
    class Interrupted(Table):
        def record(self, row, **values):
            while not list(tmp_path.glob("2.*")):
                time.sleep(0.01)
            raise KeyboardInterrupt

    rows = [Row(index, f"obj_{index}") for index in (2, 0)]
    with pytest.raises(KeyboardInterrupt):
        compute_rows(
            Interrupted(tmp_path), rows, 2, partial(fail_or_square, folder=tmp_path),
            PoolOptions(1, 60, cluster[0], False),
        )  # fmt: skip
    (file,) = tmp_path.glob("2.*")
    assert not Path(f"/proc/{file.suffix[1:]}").exists()


def test_an_output_or_a_folder_that_workers_do_not_see_is_refused(cluster, tmp_path, monkeypatch):
    from sdfkit.io import outputs

    line = ["shapes", "--count", "2", "--cluster", cluster[0], "-o", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(outputs.os, "pwrite", lambda *given: None)  # as on a disk that is not shared
        result = CliRunner().invoke(app, line)
    assert result.exit_code == 5
    assert f"{tmp_path}/out: is not shared with the worker on" in result.stderr
    (tmp_path / "gone").mkdir()
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "nowhere")
    with pytest.raises(MissingError, match="has no folder .*/nowhere; start the command in a folder"):
        compute_rows(Table(), [Row(0, "a")], 1, fail_or_square, PoolOptions(1, 60, cluster[0], False))


def test_the_row_of_a_lost_worker_is_computed_again(cluster, tmp_path):
    """Last, because one of the workers is killed."""
    address, worker = cluster

    def kill():
        while not (tmp_path / "held").exists():
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)

    taken = []

    def rows():
        for index in range(30):
            taken.append(index)
            # Two threads have at most five rows, and the next one is taken before one is written.
            assert index - len(table.written) <= 6
            yield Row(index, f"obj_{index}")

    table = Table()
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    compute_rows(
        table, rows(), 30, partial(hold_on_one_worker, folder=tmp_path), PoolOptions(8, 60, address, False)
    )
    assert table.written == {index: index**2 for index in range(30)}
    computed = (tmp_path / "computed").read_text().split()
    assert sorted({*computed}, key=int) == [str(index) for index in range(30)]
    assert computed.count((tmp_path / "held").read_text()) == 2
