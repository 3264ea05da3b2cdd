"""Imports what most workers need. The server from which they are forked imports this module, and nothing else does.

The imports start no thread, so that the server can be forked.
"""

import importlib
import signal

from sdfkit.runtime.workers import limit_threads

# No module with kernels: their compilation is reported by the workers of a command. trimesh and skimage import parts of
# SciPy at their first use.
MODULES = (
    "numba", "scipy.ndimage", "scipy.sparse.csgraph", "scipy.spatial", "skimage.measure", "trimesh",
    "sdfkit.io.meshes.reader",
)  # fmt: skip

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the command, which ends the server
limit_threads()
for _name in MODULES:
    importlib.import_module(_name)
