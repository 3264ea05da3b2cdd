"""Every test runs with the shapes of all public signatures checked at each call."""

import os
import pkgutil

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

import sdfkit

# Compiled kernels cannot be wrapped, so they live in modules of their own, named *_kernels.
CHECKED = [
    module.name
    for module in pkgutil.walk_packages(sdfkit.__path__, "sdfkit.")
    if not module.ispkg and not module.name.endswith("_kernels")
]
install_import_hook(CHECKED, "beartype.beartype")
