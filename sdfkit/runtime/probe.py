"""What may be slow, hang, or take its process down, tried in a process of its own: libraries, drivers, the hub.

The functions named `try_*` run there; what they return is JSON. A broken driver may never answer, and a torch built
for another CPU dies of an illegal instruction: both are things to tell, not to share.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# Seconds. Importing torch from a cold network disk takes most of a minute; a driver that works takes two.
PATIENCE = {"torch": 120.0, "kernels": 120.0, "egl": 30.0, "osmesa": 30.0, "hub": 15.0}
SOON = 4.0

Found = dict[str, Any]


def try_all() -> dict[str, Found]:
    """What each of `PATIENCE` has, or the `fault` that kept it from telling; all are tried at once."""
    with ThreadPoolExecutor(len(PATIENCE)) as pool:
        tries = {name: pool.submit(_try, name) for name in PATIENCE}
        late = wait(tries.values(), timeout=SOON).not_done
        if late:
            names = ", ".join(name for name, future in tries.items() if future in late)
            log.info("waiting for %s ...", names)
        return {name: future.result() for name, future in tries.items()}


def _try(name: str) -> Found:
    """What `try_NAME` returns in another process, or the `fault` that kept it from returning."""
    # No farewells, which some drivers do not survive.
    code = f"""if True:
        import json, os
        from sdfkit.runtime import probe
        print("\\n" + json.dumps(probe.try_{name}()), flush=True)
        os._exit(0)
    """
    # -P: a file of the user's folder that is called torch.py is not torch.
    command = [sys.executable, "-P", "-W", "ignore", "-c", code]
    patience = PATIENCE[name]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=patience,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"fault": f"no answer in {patience:g} s"}
    except OSError as error:
        return {"fault": f"no process can be started: {error.strerror}"}
    if done.returncode < 0:
        return {"fault": f"its process died: {signal.strsignal(-done.returncode)}"}
    if done.returncode > 0:
        # Of the last traceback the line that no longer is part of it; messages may be longer.
        lines = done.stderr.rpartition("Traceback (most recent call last):\n")[2].splitlines()
        told = (line for line in lines if line and not line.startswith(" "))
        return {"fault": next(told, f"exit status {done.returncode}")}
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def try_torch() -> Found:
    """Torch and transformers, what `auto` takes for device and precision, and the encoders downloaded so far."""
    import torch
    import transformers
    from huggingface_hub import constants

    # Imported only when first asked for; a torchvision that does not fit torch takes them down.
    from transformers import AutoImageProcessor, AutoModel  # noqa: F401

    from sdfkit.runtime.device import choose_device, choose_precision

    device = choose_device("auto")
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    encoders = {
        settings.parents[2].name.removeprefix("models--").replace("--", "/")
        for settings in Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*/preprocessor_config.json")
        if any(settings.parent.glob("*.safetensors")) or any(settings.parent.glob("pytorch_model*.bin"))
    }
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cuda": torch.version.cuda or torch.version.hip,
        "device": device,
        "gpu": gpu and gpu.name,
        "gpu_bytes": gpu and gpu.total_memory,
        "precision": choose_precision("auto", device),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "encoders": sorted(encoders),
    }


def try_kernels() -> Found:
    """What works on meshes, pictures and stores without torch; whether numba compiles, and keeps it where."""
    import numba

    from sdfkit.geometry.distance import distance_kernels
    from sdfkit.geometry.isosurface import extraction  # noqa: F401
    from sdfkit.geometry.watertight import closing  # noqa: F401
    from sdfkit.images.rendering import rasteriser  # noqa: F401

    numba.njit(lambda number: number + 1)(1)
    # numba refuses to import what it can keep nowhere, so a folder there is one that can be written.
    return {
        "numba": numba.__version__,
        **{name: import_module(name).__version__ for name in ("trimesh", "zarr")},
        "cache": distance_kernels.build.stats.cache_path,
    }


def try_egl() -> Found:
    """The name of the driver with which `--renderer gl` draws."""
    return _try_driver("egl", ("EGL", "GL"))


def try_osmesa() -> Found:
    """The name of the driver with which pyrender draws when it is told to use OSMesa."""
    return _try_driver("osmesa", ("OSMesa",))


def _try_driver(platform: str, libraries: tuple[str, ...]) -> Found:
    from ctypes.util import find_library

    missing = [f"lib{name}" for name in libraries if find_library(name) is None]
    if missing:
        return {"missing": missing}
    os.environ["PYOPENGL_PLATFORM"] = platform
    os.environ["PYGLET_HEADLESS"] = "1"
    import pyrender

    renderer = pyrender.OffscreenRenderer(1, 1)
    renderer._platform.make_current()
    from OpenGL.GL import GL_RENDERER, glGetString

    return {"driver": glGetString(GL_RENDERER).decode()}


def try_hub() -> Found:
    """Whether the hub answers, if it may be asked."""
    from urllib.request import getproxies

    from huggingface_hub import constants

    from sdfkit.images.encoding.features import reach_hub

    found: Found = {"hub": constants.ENDPOINT, "offline": bool(constants.HF_HUB_OFFLINE)}
    found["proxy"] = bool(getproxies())
    try:
        reach_hub()
    except OSError as error:
        found["silent"] = str(error)
    return found
