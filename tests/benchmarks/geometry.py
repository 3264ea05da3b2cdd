"""Run all benchmarks of sdfkit.geometry, compared with the other libraries that are installed.

    python -m tests.benchmarks.geometry [closing] [distances] [meshing] [comparing] [MESH ...]

Times are CPU seconds of this process, with one thread. Mesh files given as arguments are also closed, and distances are
also measured to the first of them. A library that is not installed is left out. If parts are named, only these run.
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
