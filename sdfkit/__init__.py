"""Small programs, joined by pipes, from messy meshes to a model that turns an image into a 3-D shape.

`import sdfkit` offers what the commands compute as functions; see `sdfkit.api`, which is imported at their first use.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Views", "compare", "create_store", "embed", "load_model", "mesh", "open_store", "rank", "render", "sample_sdf",
    "watertight",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By name: the packages below import this one for its version, and must not depend on the functions.
    return getattr(importlib.import_module("sdfkit.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
