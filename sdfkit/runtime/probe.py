"""Tests libraries, drivers and the Hugging Face hub, each in a process of its own, because a test may hang or crash.

The functions named `try_*` run in these processes and return values that JSON can represent. A broken driver may never
answer, and a torch built for another CPU crashes with an illegal instruction; `doctor` reports both.
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

# Seconds to wait for each probe. Importing torch from a cold network disk takes most of a minute; a working driver
# takes two seconds.
TIMEOUTS = {"torch": 120.0, "kernels": 120.0, "egl": 30.0, "osmesa": 30.0, "hub": 15.0}
NOTICE_AFTER = 4.0  # seconds after which the names of the probes that are still running are logged

Found = dict[str, Any]


def try_all() -> dict[str, Found]:
    """Run all probes in parallel. Return for each its result or, if it failed, `fault` with the reason."""
    with ThreadPoolExecutor(len(TIMEOUTS)) as pool:
        tries = {name: pool.submit(_try, name) for name in TIMEOUTS}
        late = wait(tries.values(), timeout=NOTICE_AFTER).not_done
        if late:
            names = ", ".join(name for name, future in tries.items() if future in late)
            log.info("still waiting for the tests of %s ...", names)
        return {name: future.result() for name, future in tries.items()}


def _try(name: str) -> Found:
    """Run `try_NAME` in another process. Return its result or, if it failed, `fault` with the reason."""
    # os._exit skips exit handlers, in which some drivers crash.
    code = f"""if True:
        import json, os
        from sdfkit.runtime import probe
        print("\\n" + json.dumps(probe.try_{name}()), flush=True)
        os._exit(0)
    """
    # -P: do not import a torch.py from the current folder.
    command = [sys.executable, "-P", "-W", "ignore", "-c", code]
    timeout = TIMEOUTS[name]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"fault": f"no answer in {timeout:g} s"}
    except OSError as error:
        return {"fault": f"no process can be started: {error.strerror}"}
    if done.returncode < 0:
        return {"fault": f"its process died: {signal.strsignal(-done.returncode)}"}
    if done.returncode > 0:
        # The first line after the last traceback; a message may have several.
        lines = done.stderr.rpartition("Traceback (most recent call last):\n")[2].splitlines()
        messages = (line for line in lines if line and not line.startswith(" "))
        return {"fault": next(messages, f"exit status {done.returncode}")}
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def try_torch() -> Found:
    """Return versions of torch and the transformers library, what `auto` selects, and the downloaded encoders.

    `device` and `precision` are what the options --device and --precision select with `auto`; `encoders` lists the
    models that have been downloaded from the Hugging Face hub.
    """
    import torch
    import transformers
    from huggingface_hub import constants

    # The transformers library imports these on first use, which fails if torchvision does not match torch.
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
    """Import the libraries for meshes, images and stores, compile with numba, and return numba's cache folder."""
    import numba

    from sdfkit.geometry.distance import distance_kernels
    from sdfkit.geometry.isosurface import extraction  # noqa: F401
    from sdfkit.geometry.watertight import closing  # noqa: F401
    from sdfkit.images.rendering import rasteriser  # noqa: F401

    numba.njit(lambda number: number + 1)(1)
    # numba refuses to import kernels that it cannot cache, so a reported folder is writable.
    return {
        "numba": numba.__version__,
        **{name: import_module(name).__version__ for name in ("trimesh", "zarr")},
        "cache": distance_kernels.build.stats.cache_path,
    }


def try_egl() -> Found:
    """Return the name of the driver that `--renderer gl` uses."""
    return _try_driver("egl", ("EGL", "GL"))


def try_osmesa() -> Found:
    """Return the name of the driver that pyrender uses with OSMesa."""
    return _try_driver("osmesa", ("OSMesa",))


def _try_driver(platform: str, libraries: tuple[str, ...]) -> Found:
    from ctypes.util import find_library

    missing = [f"lib{name}" for name in libraries if find_library(name) is None]
    if missing:
        return {"missing": missing}
    os.environ["PYOPENGL_PLATFORM"] = platform
    os.environ["PYGLET_HEADLESS"] = "1"
    import pyrender

    _renderer = pyrender.OffscreenRenderer(
        1, 1
    )  # the OpenGL context is current as long as this object exists
    from OpenGL.GL import GL_RENDERER, glGetString

    return {"driver": glGetString(GL_RENDERER).decode()}


def try_hub() -> Found:
    """Return whether the Hugging Face hub answers; the hub is not contacted if HF_HUB_OFFLINE is set."""
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
