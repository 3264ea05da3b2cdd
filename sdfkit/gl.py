"""The door to OpenGL: pyrender, in the order in which its parts must be woken.

pyrender chooses its driver while it is imported, from the environment, so nothing else may import it first.
One exception: mesh_to_sdf replaces functions of OpenGL that pyrender copies at import, so a process that
needs both calls `choose_driver`, imports mesh_to_sdf, and only then draws (see `sdfkit.scan`).
"""

import os
import warnings
from ctypes.util import find_library
from functools import lru_cache
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.errors import MissingError
from sdfkit.images import render
from sdfkit.images.cameras import NEAR, look_at
from sdfkit.images.render import Views

DRIVER = "apt-get install libegl1 libgl1 libgl1-mesa-dri"
REMEDY = f"{DRIVER}, or use the CPU renderer, which needs no driver"


def choose_driver(remedy: str) -> None:
    """Have pyrender and mesh_to_sdf draw without a display, through EGL.

    OSMesa is not offered: it does not smooth edges, so its pictures differ from all others (34 dB), and
    sdfkit's own CPU renderer is faster.

    Raises:
        MissingError: There is no EGL library; `remedy` says what to do.
    """
    if find_library("EGL") is None or find_library("GL") is None:
        raise MissingError(f"OpenGL: no EGL driver is installed: {remedy}")
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    os.environ["PYGLET_HEADLESS"] = "1"  # else pyglet 2.1 looks for a display while pyrender is imported


def render_views_gl(
    mesh: trimesh.Trimesh,
    camera_to_world: Float[np.ndarray, "view 4 4"],
    *,
    yfov: float,
    size: int,
    smooth: bool,
    cull: bool,
    depth: bool,
    normal: bool,
) -> Views:
    """Draw a mesh from every camera with pyrender: worth its driver where there is a GPU.

    Takes and gives what `images.render.render_views` does. Depth and normals are drawn by that renderer, as
    no smoothed buffer of OpenGL's holds them at the centres of pixels.

    Raises:
        GeometryError: The mesh has no faces.
        MissingError: There is no driver, or it gives no context.
    """
    render.check_faces(mesh)
    pyrender = _import_pyrender()
    renderer = _renderer()
    renderer.viewport_width = renderer.viewport_height = size
    scene = pyrender.Scene(bg_color=[0, 0, 0, 0])
    material = pyrender.MetallicRoughnessMaterial(
        baseColorFactor=[*render.BASE_COLOR, 1.0],
        metallicFactor=render.METALLIC,
        roughnessFactor=render.ROUGHNESS,
        doubleSided=not cull,
    )
    scene.add(pyrender.Mesh.from_trimesh(mesh, material=material, smooth=smooth))
    # The lights hang on the camera's node, so one move a view moves all three, and the mesh is uploaded once.
    camera = scene.add(pyrender.PerspectiveCamera(yfov=yfov, znear=NEAR))
    for direction, intensity in zip(render.LIGHT_DIRECTIONS, render.LIGHT_INTENSITIES, strict=True):
        pose = look_at(np.array(direction), np.zeros(3), np.array([0.0, 1.0, 0.0]))
        scene.add(pyrender.DirectionalLight(np.ones(3), intensity), pose=pose, parent_node=camera)

    count = len(camera_to_world)
    rgba = np.empty((count, size, size, 4), dtype=np.uint8)
    for view, pose in enumerate(camera_to_world.astype(np.float64)):
        scene.set_pose(camera, pose)
        rgba[view], _ = renderer.render(scene, flags=pyrender.RenderFlags.RGBA)
    distances = directions = None
    if depth or normal:
        settings: dict[str, Any] = {"yfov": yfov, "size": size, "smooth": smooth, "cull": cull}
        views = render.render_views(mesh, camera_to_world, **settings, depth=depth, normal=normal)
        distances, directions = views.depth, views.normal
    # The background is transparent, so alpha is the share of samples that the shape covers.
    return Views(rgba[..., :3].copy(), rgba[..., 3].copy(), distances, directions)


def _import_pyrender() -> Any:
    choose_driver(REMEDY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that pyrender pins to old versions
        try:
            import pyrender
        except (ImportError, AttributeError, OSError) as error:
            raise MissingError(f"OpenGL: pyrender cannot be imported ({_line(error)}): {REMEDY}") from error
    return pyrender


@lru_cache(maxsize=1)
def _renderer() -> Any:
    """Give a context and its compiled shaders, kept for the next shape: they cost as much as thirty views.

    One for all sizes: pyrender shuts the whole display down when it gives up any context.
    """
    pyrender = _import_pyrender()
    from OpenGL.error import Error

    try:
        return pyrender.OffscreenRenderer(1, 1)
    except (Error, AssertionError, RuntimeError, ValueError, OSError) as error:
        raise MissingError(f"OpenGL: EGL gives no context ({_line(error)}): {REMEDY}") from error


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
