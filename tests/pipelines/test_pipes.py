"""Streams between processes: complete, truncated, on a full disk, with a closed reader, of the wrong kind."""

import io
import json
import zipfile

import pytest
import trimesh
import zarr

SPHERES = "sdfkit shapes --category bowl --count 3 --resolution 32"


def open_zip(path):
    return zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")


@pytest.mark.slow
def test_meshes_and_stores_pass_through_pipes(bash, tmp_path):
    result = bash(
        f"{SPHERES} | sdfkit watertight --resolution 32 | sdfkit render --views 2 --size 32 > views.zarr.zip"
    )
    assert result.returncode == 0, result.stderr
    group = open_zip(tmp_path / "views.zarr.zip")
    assert group["uid"][:].tolist() == ["obj_0000", "obj_0001", "obj_0002"]
    assert group["category"][:].tolist() == ["bowl"] * 3
    assert group["rgb"][:].reshape(6, -1).any(axis=1).all(), "every picture shows something"
    commands = [step["command"].split()[1] for step in group.attrs["history"]]
    assert commands == ["shapes", "watertight", "render"]


@pytest.mark.slow
def test_concatenated_meshes_of_other_programs_get_numbered_uids(bash, tmp_path):
    for name, mesh in {"a": trimesh.creation.box(), "b": trimesh.creation.icosphere(subdivisions=1)}.items():
        mesh.export(tmp_path / f"{name}.ply")
        mesh.export(tmp_path / f"{name}.ascii.ply", encoding="ascii")
    result = bash("cat a.ply b.ply a.ascii.ply | sdfkit watertight --resolution 32 -o closed/ && ls closed")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [b"mesh_0000.ply", b"mesh_0001.ply", b"mesh_0002.ply"]


@pytest.mark.slow
def test_a_failed_shape_keeps_its_row(bash, tmp_path):
    trimesh.creation.box().export(tmp_path / "a.ply")
    flat = trimesh.Trimesh([[0, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 1, 2]], process=False)
    flat.export(tmp_path / "b.ply")
    result = bash(
        "sdfkit watertight a.ply b.ply a.ply --resolution 32 | sdfkit render --views 1 --size 16 > v.zarr.zip"
    )
    assert result.returncode == 4
    group = open_zip(tmp_path / "v.zarr.zip")
    assert group["valid"][:].tolist() == [True, False, True]
    assert "no extent" in str(group["error"][1])
    assert group["uid"][:].tolist() == ["a", "b", "a_2"]


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_is_no_error(bash):
    result = bash(f"{SPHERES} --jobs 1 | head -c 100; echo ${{PIPESTATUS[0]}}")
    assert result.stdout.endswith(b"141\n")
    assert result.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("output", ["> /dev/full", "-o /dev/full"])
def test_a_full_disk_is_reported_in_one_line(bash, output):
    result = bash(f"sdfkit shapes --category bowl --count 1 --resolution 32 {output}")
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_truncated_stream_gives_status_3_and_no_output(bash, tmp_path):
    assert bash(f"{SPHERES} | sdfkit render --views 1 --size 32 > views.zarr.zip").returncode == 0
    whole = (tmp_path / "views.zarr.zip").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        result = bash("cat cut | sdfkit info; echo $?")
        assert result.stdout.splitlines()[-1] == b"3", result.stdout
        assert "ends early" in result.stderr or "empty" in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_truncated_meshes_give_status_3_and_no_output(bash, tmp_path):
    assert bash(f"{SPHERES} > meshes.ply").returncode == 0
    size = (tmp_path / "meshes.ply").stat().st_size
    for cut in (0, 3, size // 2, size - 1):
        result = bash(
            f"head -c {cut} meshes.ply | sdfkit watertight --resolution 16 --jobs 1 -o out{cut}.zarr.zip; echo $?"
        )
        result = bash(f"head -c {cut} meshes.ply | sdfkit render --views 1 --size 16 --jobs 1 > out.zip")
        assert result.returncode == 3, result.stderr
        assert result.stderr.count("\n") == 1
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO((tmp_path / "out.zip").read_bytes()))


@pytest.mark.slow
def test_a_stream_of_the_wrong_kind_is_reported(bash):
    result = bash("sdfkit shapes --count 1 --category bowl --resolution 32 | sdfkit embed")
    assert result.returncode == 3
    assert "standard input: is a mesh, but images are needed" in result.stderr
    result = bash(f"{SPHERES} | sdfkit render --views 1 --size 16 | sdfkit watertight")
    assert "standard input: holds a Zarr store, but meshes are needed" in result.stderr


def test_binary_is_not_written_to_a_terminal(bash):
    line = "script -qec 'sdfkit shapes --count 1 --category bowl --resolution 32' /dev/null"
    result = bash(line)
    assert (
        b"standard output is a terminal, and the output is binary; add -o FILE or pipe it to another command"
        in result.stdout
    )
    assert result.returncode == 2


@pytest.mark.slow
def test_row_order_does_not_depend_on_jobs(bash, tmp_path):
    assert bash(f"{SPHERES} --jobs 1 > one.ply && {SPHERES} --jobs 2 > two.ply").returncode == 0
    one, two = ((tmp_path / name).read_bytes() for name in ("one.ply", "two.ply"))
    assert one.replace(b"--jobs 1", b"--jobs 2") == two


@pytest.mark.slow
def test_an_interrupted_store_is_resumed(bash, tmp_path):
    bash(f"{SPHERES} -o raw/")
    line = "sdfkit render raw/ --views 2 --size 32 --jobs 1 -o views.zarr"
    assert bash(line).returncode == 0
    # The state after an interruption: one row is missing, and the store is marked incomplete.
    root = json.loads((tmp_path / "views.zarr/zarr.json").read_text())
    root["attributes"]["complete"] = False
    (tmp_path / "views.zarr/zarr.json").write_text(json.dumps(root))
    whole = (tmp_path / "views.zarr/rgb/c/1/0/0/0/0").read_bytes()
    (tmp_path / "views.zarr/rgb/c/1/0/0/0/0").unlink()
    (tmp_path / "views.zarr/valid/c/1").unlink()
    kept = (tmp_path / "views.zarr/rgb/c/0/0/0/0/0").stat().st_mtime_ns
    assert (
        "is not complete; run the command that began it again to finish it"
        in bash("sdfkit embed views.zarr").stderr
    )
    other = bash(line.replace("--size 32", "--size 16"))
    assert other.returncode == 3
    assert "holds an unfinished run that differs from this one (size: 32 then, 16 now)" in other.stderr
    assert bash(line).returncode == 0
    assert (tmp_path / "views.zarr/rgb/c/1/0/0/0/0").read_bytes() == whole
    assert (tmp_path / "views.zarr/rgb/c/0/0/0/0/0").stat().st_mtime_ns == kept
    again = bash(line)
    assert again.returncode == 0
    assert "views.zarr: is complete, and nothing was to be done" in again.stderr


@pytest.mark.slow
def test_xarray_opens_a_piped_store(bash, tmp_path):
    import xarray

    assert bash(f"{SPHERES} | sdfkit render --views 2 --size 16 > views.zarr.zip").returncode == 0
    with xarray.open_zarr(
        zarr.storage.ZipStore(tmp_path / "views.zarr.zip", mode="r"), consolidated=False
    ) as views:
        assert views.rgb.dims == ("shape", "view", "row", "column", "channel")
        assert views.rgb.shape == (3, 2, 16, 16, 3)
