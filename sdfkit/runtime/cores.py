"""Counts the cores and the memory that this process may use, by its CPU affinity and by the limits of cgroups."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def count_cores() -> int:
    """Return the number of cores that this process may use, by its CPU affinity and its cgroups' quotas (rounded)."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([usable, *map(round, core_limits())]))


def core_limits() -> Iterator[float]:
    """Yield the CPU quota of each cgroup that has one, in cores (CPU seconds per second)."""
    for folder in _cgroups("cpu"):
        old = f"{read_text(folder / 'cpu.cfs_quota_us')} {read_text(folder / 'cpu.cfs_period_us')}"
        match (read_text(folder / "cpu.max") or old).split():
            case [quota, period] if quota.isdigit():
                yield int(quota) / int(period)


def memory_limits() -> Iterator[int]:
    """Yield the memory limit of each cgroup that has one, in bytes."""
    for folder in _cgroups("memory"):
        limit = (read_text(folder / "memory.max") or read_text(folder / "memory.limit_in_bytes")).strip()
        if limit.isdigit():
            yield int(limit)


def _cgroups(controller: str) -> Iterator[Path]:
    """Yield the folders of the cgroups of this process and of their parents, for versions 1 and 2 of cgroups.

    A folder need not exist: inside a container the path may be that of the host, and only the root folder is present.
    """
    for line in read_text(OWN_CGROUP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", controller) or controller in controllers.split(","):
            root = CGROUPS / controllers if controllers else CGROUPS
            place = PurePosixPath(path.lstrip("/"))
            yield from (root / folder for folder in (place, *place.parents))


def read_text(path: Path) -> str:
    """Return the text of a file, or an empty string if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


CORES = count_cores()
