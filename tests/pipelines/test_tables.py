"""select and cat between processes: rows are passed on as they arrive, and archives follow each other."""

import subprocess
import sys

import pytest

from tests.io.tables.conftest import contents, make_rows, write_store


@pytest.mark.slow
def test_parts_through_pipes_are_the_store_again(bash, tmp_path):
    write_store(tmp_path / "whole.zarr.zip", make_rows(7, failed=(2,)))
    line = "for part in 1/3 2/3 3/3; do sdfkit select whole.zarr.zip --part $part; done | sdfkit cat -o joined.zarr"
    result = bash(line)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "joined.zarr") == contents(tmp_path / "whole.zarr.zip")


@pytest.mark.slow
def test_what_is_missing_ends_with_status_3_and_one_line(bash, tmp_path):
    write_store(tmp_path / "whole.zarr.zip", make_rows(3))
    result = bash("cat whole.zarr.zip | sdfkit select --uid x | sdfkit cat -o joined.zarr")
    assert result.returncode == 3
    assert (
        "standard input: none of its 3 rows has the uid x; sdfkit info lists what is there\n" in result.stderr
    )
    assert not (tmp_path / "joined.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("words", [["select", "--glob", "*"], ["cat"]])
def test_a_row_is_passed_on_before_the_next_one_arrives(tmp_path, words):
    content = write_store(tmp_path / "whole.zarr.zip", make_rows(40)).read_bytes()
    # The first bytes hold whole rows, but no more than the first half of them.
    half = content.index(b"code/c/20/0")
    process = subprocess.Popen(
        [sys.executable, "-m", "sdfkit", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(content[:half])
        process.stdin.flush()
        passed = b""
        while b"code/c/10/0" not in passed:
            part = process.stdout.read1()
            assert part, "the output ended before the input"
            passed += part
        process.stdin.write(content[half:])
        process.stdin.close()
        (tmp_path / "out.zarr.zip").write_bytes(passed + process.stdout.read())
    assert process.returncode == 0
    assert contents(tmp_path / "out.zarr.zip") == contents(tmp_path / "whole.zarr.zip")
