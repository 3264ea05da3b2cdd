"""Every test runs with the array shapes in the signatures of the rooms checked at each call."""

import os
import pkgutil

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

import sdfkit

ROOMS = ("geometry", "images", "models", "training", "analysis")
# Compiled kernels cannot be wrapped, so they live in modules of their own, named *_kernels.
CHECKED = [
    module.name
    for module in pkgutil.walk_packages(sdfkit.__path__, "sdfkit.")
    if not module.ispkg and module.name.split(".")[1] in ROOMS and not module.name.endswith("_kernels")
]
install_import_hook(CHECKED, "beartype.beartype")
