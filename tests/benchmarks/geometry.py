"""Every figure of the geometry room, beside the installed peers, in one run.

    python -m tests.benchmarks.geometry [closing] [distances] [meshing] [comparing] [MESH ...]

CPU seconds of this process, one thread. Meshes named as arguments are added to the closing, and distances are
measured to the first of them. A peer that is not installed is left out; so is a part that is not named, where any is.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

import sys

from tests.benchmarks.closing import closing
from tests.benchmarks.comparing import comparing
from tests.benchmarks.distances import distances
from tests.benchmarks.meshing import meshing


def main(arguments: list[str]) -> None:
    meshes = [argument for argument in arguments if "." in argument]
    parts = {
        "closing": lambda: closing(meshes),
        "distances": lambda: distances(meshes),
        "meshing": meshing,
        "comparing": comparing,
    }
    for name in [argument for argument in arguments if argument in parts] or parts:
        print(f"\n== {name}")
        parts[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
