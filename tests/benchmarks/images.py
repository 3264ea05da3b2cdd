"""Measure the time of rendering and embedding images: python tests/benchmarks/images.py [render] [embed].

Times are CPU milliseconds of this process per view. Each time is the least of three rounds; in each round all
candidates run once, so that a busy machine slows all of them alike. Set OMP_NUM_THREADS=1 to measure with one thread.
"""

import copy
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import trimesh

from sdfkit.geometry.frame import normalise
from sdfkit.images.encoding.features import Encoder
from sdfkit.images.encoding.preprocess import read_preprocessing
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.paint import Paint
from sdfkit.images.rendering.rasteriser import render_views
from sdfkit.models.quantised import has_int8_units, quantise
from sdfkit.runtime import opengl
from sdfkit.runtime.device import choose_precision

VIEWS = 8
SETTINGS = {
    "yfov": math.radians(55),
    "size": 224,
    "crease": math.pi,
    "cull": True,
    "depth": False,
    "normal": False,
    "paint": None,
}


def knot(faces: int) -> trimesh.Trimesh:
    """A torus knot, which occludes itself in every view and has no symmetry that makes rendering easier."""
    along, around = round(math.sqrt(faces * 4)), round(math.sqrt(faces / 16))
    t, s = np.meshgrid(
        np.linspace(0, 2 * np.pi, along, endpoint=False),
        np.linspace(0, 2 * np.pi, around, endpoint=False),
        indexing="ij",
    )
    radius = 2 + np.cos(3 * t)
    centre = np.stack([radius * np.cos(2 * t), radius * np.sin(2 * t), np.sin(3 * t)], axis=-1)
    tangent = np.roll(centre, -1, axis=0) - np.roll(centre, 1, axis=0)
    side = np.cross(tangent, [0.3, 0.5, 1.0])
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    other = np.cross(tangent, side)
    other /= np.linalg.norm(other, axis=-1, keepdims=True)
    points = centre + 0.4 * (np.cos(s)[..., None] * side + np.sin(s)[..., None] * other)
    index = np.arange(along * around).reshape(along, around)
    right, up = np.roll(index, -1, axis=0), np.roll(index, -1, axis=1)
    both = np.roll(right, -1, axis=1)
    quads = np.stack([index, both, right, index, up, both], axis=-1).reshape(-1, 3)
    return normalise(trimesh.Trimesh(points.reshape(-1, 3), quads, process=False))[0]


def plain_pyrender(mesh: trimesh.Trimesh, cameras: np.ndarray, reuse: bool) -> None:
    """Render with pyrender, with a new scene, upload and context for each view; `reuse`: only the camera is new."""
    import pyrender

    scene = None
    for camera in cameras:
        if scene is None or not reuse:
            if not reuse:
                opengl._shared_renderer.cache_clear()
            opengl._shared_renderer().viewport_width = opengl._shared_renderer().viewport_height = 224
            scene = pyrender.Scene(bg_color=[0, 0, 0, 0])
            scene.add(pyrender.Mesh.from_trimesh(mesh, smooth=True))
            eye = scene.add(pyrender.PerspectiveCamera(yfov=SETTINGS["yfov"]))
            for _ in range(2):
                scene.add(pyrender.DirectionalLight(np.ones(3), 3.0), parent_node=eye)
        scene.set_pose(eye, camera)
        opengl._shared_renderer().render(scene, flags=pyrender.RenderFlags.RGBA)


def measure_memory(faces: int) -> float:
    """Peak memory in MB of a process that renders 64 views of a knot with this number of faces."""
    program = (
        "from pathlib import Path; from tests.benchmarks.images import *\n"
        f"render_views(knot({faces}), fibonacci_cameras(64, 2.5), **SETTINGS | {{'crease': 0.7}})\n"
        # Not getrusage: it includes the peak memory of the parent process.
        "print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) / 1024)"
    )
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


def paint_knot(mesh: trimesh.Trimesh) -> Paint:
    """A texture with random texels, mapped onto the knot."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    uv = (5 * mesh.vertices[:, :2]).astype(np.float32)
    material = np.zeros(len(mesh.faces), np.int32)
    wraps = np.zeros((1, 2), np.int32)
    return Paint(material, np.ones((1, 3)), [picture], wraps, uv, np.ones((len(uv), 3), np.float32))


def take_turns(candidates: dict[str, Callable[[], object]], rounds: int, count: int) -> dict[str, float]:
    best = dict.fromkeys(candidates, math.inf)
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], (time.process_time() - start) / count * 1000)
    return best


def compare_renderers() -> None:
    start = time.process_time()
    cameras = fibonacci_cameras(VIEWS, 2.5)
    render_views(trimesh.creation.box(), cameras[:1], **SETTINGS)
    print(f"first call, with compiling or reading the cache: {time.process_time() - start:.2f} CPU s")
    opengl.render_views_gl(trimesh.creation.box(), cameras[:1], **SETTINGS)
    print(
        "  faces | all smooth | creases | textured | pyrender plain     | reused            | PSNR, textured | IoU"
    )
    for faces in (5_000, 100_000, 1_000_000):
        mesh = knot(faces)
        creased = SETTINGS | {"crease": math.radians(40)}
        painted = creased | {"paint": paint_knot(mesh)}
        cost = take_turns(
            {
                "smooth": lambda mesh=mesh: render_views(mesh, cameras, **SETTINGS),
                "creased": lambda mesh=mesh, settings=creased: render_views(mesh, cameras, **settings),
                "painted": lambda mesh=mesh, settings=painted: render_views(mesh, cameras, **settings),
                "reused": lambda mesh=mesh: plain_pyrender(mesh, cameras, reuse=True),
                "plain": lambda mesh=mesh: plain_pyrender(mesh, cameras, reuse=False),
            },
            rounds=3,
            count=VIEWS,
        )
        psnr, overlap = [], []
        for settings in (SETTINGS, painted):
            ours, theirs = (
                draw(mesh, cameras, **settings) for draw in (render_views, opengl.render_views_gl)
            )
            error = np.square(ours.rgb.astype(float) - theirs.rgb).mean(axis=(1, 2, 3)).max()
            psnr.append(10 * math.log10(255**2 / error))
            a, b = ours.mask >= 128, theirs.mask >= 128
            overlap.append(((a & b).sum(axis=(1, 2)) / (a | b).sum(axis=(1, 2))).min())
        ratios = "".join(
            f" | {cost[name]:6.1f} ({cost[name] / cost['smooth']:5.1f} x)" for name in ("plain", "reused")
        )
        print(
            f"{len(mesh.faces):7} | {cost['smooth']:10.1f} | {cost['creased']:7.1f} | {cost['painted']:8.1f}{ratios} "
            f"| {psnr[0]:.1f}, {psnr[1]:.1f} dB | {min(overlap):.6f}"
        )
    print(
        f"memory at 1,000,000 faces, 64 views: {measure_memory(1_000_000):.0f} MB; 5,000: {measure_memory(5_000):.0f}"
    )


def compare_embedding() -> None:
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    processor = BitImageProcessorPil(size={"shortest_edge": 256})
    network = Dinov2Model(Dinov2Config(image_size=518, patch_size=14)).eval()

    preprocessing = read_preprocessing(processor, "dinov2")
    exact_one = Encoder(network, "dinov2", "", preprocessing, "cls", "none", 1, "cpu", "fp32")
    whole = replace(exact_one, network=copy.deepcopy(network), precision="int8")
    whole.network.set_attn_implementation("sdpa")
    quantise(whole.network)

    def plain() -> np.ndarray:
        network.set_attn_implementation("eager")
        with torch.inference_mode():
            features = [
                network(**processor(images=[image], return_tensors="pt")).last_hidden_state[:, 0].numpy()
                for image in images
            ]
        return np.concatenate(features)

    def ours(precision: str) -> np.ndarray:
        network.set_attn_implementation("sdpa")
        return replace(exact_one, precision=precision).embed(images)

    exact = plain()
    candidates = {"plain fp32, one view at a time": plain, "sdfkit fp32": lambda: ours("fp32")}
    if choose_precision("auto", "cpu") == "bf16":
        candidates["sdfkit bf16"] = lambda: ours("bf16")
    else:
        print("this processor has no bf16 units: bf16 is left out")
    if has_int8_units():
        candidates["sdfkit int8"] = lambda: whole.embed(images)
    cost = take_turns(candidates, rounds=3, count=len(images))
    print("DINOv2-base, random weights     | ms a view |     ratio | least CLS cosine to plain")
    for name, run in candidates.items():
        feature = run()
        lengths = np.linalg.norm(feature, axis=-1) * np.linalg.norm(exact, axis=-1)
        cosine = ((feature * exact).sum(-1) / lengths).min()
        ratio = cost["plain fp32, one view at a time"] / cost[name]
        print(f"{name:31} | {cost[name]:9.1f} | {ratio:6.2f} x  | {cosine:.6f}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    wanted = sys.argv[1:] or ["render", "embed"]
    if "render" in wanted:
        compare_renderers()
    if "embed" in wanted:
        compare_embedding()
