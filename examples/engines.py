#!/usr/bin/env python3
"""Draw shapes with both renderers: OpenGL on top, the CPU below, and ten times their difference at the bottom.

    python engines.py -o engines.png [MESH ...]

Draws six generated shapes, and the meshes given as arguments in their own colours. Needs an OpenGL driver.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image

from sdfkit.geometry.frame import normalise
from sdfkit.geometry.shapes import generate, solid_mesh
from sdfkit.images.rendering.cameras import look_at
from sdfkit.images.rendering.paint import join_parts, load_textures
from sdfkit.images.rendering.rasteriser import pixels_per_unit, render_views
from sdfkit.io.meshes.reader import open_meshes
from sdfkit.runtime.opengl import render_views_gl

GENERATED = ("wagon_wheel", "chair", "bicycle", "torus_knot", "bust", "lamp")
EYE = 2.5 * np.array([math.sin(0.6) * math.cos(0.4), math.sin(0.4), math.cos(0.6) * math.cos(0.4)])
LEAST = 255**2 * 1e-10  # smallest mean square error, so that the PSNR of equal images is finite


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("meshes", nargs="*", help="mesh files to draw beside the generated shapes")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--size", type=int, default=160, help="width and height of one image, in pixels")
    options = parser.parse_args()

    camera = look_at(EYE, np.zeros(3), np.array([0.0, 1.0, 0.0])).astype(np.float32)[None]
    shapes = [(name, solid_mesh(generate(name, np.random.default_rng(1)), 96), None) for name in GENERATED]
    if options.meshes:
        with open_meshes(options.meshes, manifest=None) as rows:
            shapes += [(row.uid, *join_parts(row.load_parts(colour=True)[0])) for row in rows]
    columns = []
    for name, mesh, colors in shapes:
        unit, _ = normalise(mesh)
        paint = None
        if colors is not None:
            scale = pixels_per_unit(camera, math.radians(50), options.size)
            paint, _ = load_textures(colors, np.asarray(unit.vertices), np.asarray(unit.faces), scale)
        pair = [
            draw(
                unit, camera, yfov=math.radians(50), size=options.size, crease=math.radians(40), cull=False,
                depth=False, normal=False, paint=paint,
            )
            for draw in (render_views_gl, render_views)
        ]  # fmt: skip
        gl, cpu = (views.rgb[0].astype(int) for views in pair)
        masks = [views.mask[0] >= 128 for views in pair]
        difference = np.abs(gl - cpu)
        psnr = 10 * math.log10(255**2 / max(np.square(difference).mean(), LEAST))
        overlap = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        print(f"{name:24} {len(mesh.faces):7} faces  PSNR {psnr:5.1f} dB  silhouette IoU {overlap:.5f}")
        columns.append(np.concatenate([gl, cpu, np.minimum(10 * difference, 255)]))
    Image.fromarray(np.concatenate(columns, axis=1).astype(np.uint8)).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
