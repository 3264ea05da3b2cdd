"""Imports what most workers need. The server from which they are forked imports this module, and nothing else does.

The imports start no thread, so that the server can be forked.
"""

import importlib
import signal

from sdfkit.runtime.workers import limit_threads

MODULES = (
    "sdfkit.geometry.metrics", "sdfkit.geometry.sampling", "sdfkit.geometry.topology",
    "sdfkit.geometry.watertight.closing", "sdfkit.geometry.watertight.losses", "sdfkit.images.rendering.rasteriser",
    "sdfkit.io.meshes.reader",
)  # fmt: skip

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the command, which ends the server
limit_threads()
for _name in MODULES:
    importlib.import_module(_name)
