"""What this process may use of its machine: cores by affinity, and what Linux's cgroups allow of time and memory."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def count_cores() -> int:
    """Cores that may be busy at once: one at least, and no more than a cgroup allows the time of, rounded."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([usable, *map(round, core_limits())]))


def core_limits() -> Iterator[float]:
    """The seconds of cores a second that each cgroup allows which limits them."""
    for folder in _cgroups("cpu"):
        old = f"{read_text(folder / 'cpu.cfs_quota_us')} {read_text(folder / 'cpu.cfs_period_us')}"
        match (read_text(folder / "cpu.max") or old).split():
            case [quota, period] if quota.isdigit():
                yield int(quota) / int(period)


def memory_limits() -> Iterator[int]:
    """The bytes that each cgroup allows which limits them."""
    for folder in _cgroups("memory"):
        limit = (read_text(folder / "memory.max") or read_text(folder / "memory.limit_in_bytes")).strip()
        if limit.isdigit():
            yield int(limit)


def _cgroups(controller: str) -> Iterator[Path]:
    """The folders that limit this process: its own and all above, of both versions of cgroups.

    In a container the path may be the host's, and only the topmost folder is there.
    """
    for line in read_text(OWN_CGROUP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", controller) or controller in controllers.split(","):
            root = CGROUPS / controllers if controllers else CGROUPS
            place = PurePosixPath(path.lstrip("/"))
            yield from (root / folder for folder in (place, *place.parents))


def read_text(path: Path) -> str:
    """What stands in a file; nothing where it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""


CORES = count_cores()
