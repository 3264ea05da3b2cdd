"""The door to OpenGL: pyrender, in the order in which its parts must be woken.

pyrender chooses its driver while it is imported, from the environment, so nothing else may import it first.
One exception: mesh_to_sdf replaces functions of OpenGL that pyrender copies at import, so a process that
needs both calls `choose_driver`, imports mesh_to_sdf, and only then draws (see `sdfkit.runtime.mesh_to_sdf`).
"""

import atexit
import math
import os
import warnings
from ctypes.util import find_library
from functools import lru_cache
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.errors import MissingError
from sdfkit.images.rendering import rasteriser
from sdfkit.images.rendering.cameras import NEAR, look_at
from sdfkit.images.rendering.normal_kernels import measure_faces
from sdfkit.images.rendering.paint import BASE_COLOR, Paint, fit_textures
from sdfkit.images.rendering.raster_kernels import SETBACK, SETBACK_SLOPE
from sdfkit.images.rendering.rasteriser import Views
from sdfkit.images.rendering.surface import Surface, prepare

DRIVER = (
    "install libegl1 libgl1 libgl1-mesa-dri (Debian) or mesa-libEGL mesa-libGL mesa-dri-drivers (Fedora); "
    "macOS has none"
)
REMEDY = f"{DRIVER}; or use the CPU renderer, which needs no driver"
OSMESA = (
    "install libosmesa6 (Debian) or mesa-compat-libOSMesa (Fedora), pip install PyOpenGL==3.1.10 against "
    "pyrender's pin, or unset PYOPENGL_PLATFORM"
)


def choose_driver(remedy: str) -> str:
    """Have pyrender and mesh_to_sdf draw without a display: through EGL, or OSMesa where the user says so.

    OSMesa is asked for by PYOPENGL_PLATFORM=osmesa and never chosen here: it does not smooth edges, so its
    pictures differ from all others (34 dB), and sdfkit's own CPU renderer is faster.

    Returns:
        The driver's name.

    Raises:
        MissingError: There is no such library; `remedy` says what to do without EGL.
    """
    os.environ["PYGLET_HEADLESS"] = "1"  # else pyglet 2.1 looks for a display while pyrender is imported
    if os.environ.get("PYOPENGL_PLATFORM") == "osmesa":
        if find_library("OSMesa") is None:
            raise MissingError(f"OpenGL: PYOPENGL_PLATFORM asks for OSMesa, which is not installed: {OSMESA}")
        return "OSMesa"
    if find_library("EGL") is None or find_library("GL") is None:
        raise MissingError(f"OpenGL: no EGL driver is installed: {remedy}")
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    return "EGL"


def render_views_gl(
    mesh: trimesh.Trimesh,
    camera_to_world: Float[np.ndarray, "view 4 4"],
    *,
    yfov: float,
    size: int,
    crease: float,
    cull: bool,
    depth: bool,
    normal: bool,
    paint: Paint | None,
) -> Views:
    """Draw a mesh from every camera with pyrender: worth its driver where there is a GPU.

    Takes and gives what `images.render.render_views` does. Depth and normals are drawn by that renderer, as
    no smoothed buffer of OpenGL's holds them at the centres of pixels.

    Raises:
        GeometryError: The mesh has no faces.
        MissingError: There is no driver, or it gives no context.
    """
    surface = prepare(mesh, crease=crease)
    pyrender = _import_pyrender()
    renderer = _renderer()
    renderer.viewport_width = renderer.viewport_height = size
    scene = pyrender.Scene(bg_color=[0, 0, 0, 0])
    if paint is not None:
        scale = size / 2 / math.tan(yfov / 2) / rasteriser.mean_distance(camera_to_world)
        paint = fit_textures(paint, surface.points, surface.faces, scale)
    scene.add(pyrender.Mesh(_list_primitives(surface, paint, cull)))
    # The lights hang on the camera's node, so one move a view moves all three, and the mesh is uploaded once.
    camera = scene.add(pyrender.PerspectiveCamera(yfov=yfov, znear=NEAR))
    for direction, intensity in zip(rasteriser.LIGHT_DIRECTIONS, rasteriser.LIGHT_INTENSITIES, strict=True):
        pose = look_at(np.array(direction), np.zeros(3), np.array([0.0, 1.0, 0.0]))
        scene.add(pyrender.DirectionalLight(np.ones(3), intensity), pose=pose, parent_node=camera)

    count = len(camera_to_world)
    rgba = np.empty((count, size, size, 4), dtype=np.uint8)
    for view, pose in enumerate(camera_to_world.astype(np.float64)):
        scene.set_pose(camera, pose)
        color, distance = renderer.render(scene, flags=pyrender.RenderFlags.RGBA)
        rgba[view, ..., :3] = color[..., :3]
        # The background is transparent, so alpha is the share of samples that the shape covers. OSMesa has none.
        rgba[view, ..., 3] = color[..., 3] if color.shape[-1] == 4 else 255 * (distance > 0)
    distances = directions = None
    if depth or normal:
        views = rasteriser.render_views(
            mesh, camera_to_world, yfov=yfov, size=size, crease=crease, cull=cull, depth=depth, normal=normal,
            paint=None,
        )  # fmt: skip
        distances, directions = views.depth, views.normal
    return Views(rgba[..., :3].copy(), rgba[..., 3].copy(), distances, directions)


def _list_primitives(surface: Surface, paint: Paint | None, cull: bool) -> list[Any]:
    """What pyrender draws: the faces in their order, those of one material at a time, front and back."""
    pyrender = _import_pyrender()
    from OpenGL import GL

    class Back(pyrender.Primitive):  # type: ignore[misc]
        def _bind(self) -> None:
            super()._bind()
            GL.glEnable(GL.GL_POLYGON_OFFSET_FILL)
            # The depth buffer holds 1 - NEAR / depth in steps of 2 ** -24.
            GL.glPolygonOffset(SETBACK_SLOPE, SETBACK * NEAR * 2**24)

        def _unbind(self) -> None:
            GL.glDisable(GL.GL_POLYGON_OFFSET_FILL)
            super()._unbind()

    points, faces, normals, chosen = surface
    if not len(chosen):
        normals = measure_faces(points, faces)[0].astype(np.float32)
        chosen = np.repeat(np.arange(len(faces), dtype=np.int32), 3).reshape(-1, 3)
    # A vertex of OpenGL's has one normal, so those on sharp edges are split.
    pairs, corners = np.unique(faces.astype(np.int64) * len(normals) + chosen, return_inverse=True)
    used, normals = pairs // len(normals), normals[pairs % len(normals)]
    corners = corners.reshape(-1, 3)
    changes = np.zeros(0, int) if paint is None else np.flatnonzero(np.diff(paint.material)) + 1
    primitives = []
    for run in np.split(np.arange(len(faces)), changes):
        inside, indices = np.unique(corners[run], return_inverse=True)
        vertices: dict[str, Any] = {"positions": points[used[inside]], "normals": normals[inside]}
        color, texture = np.array(BASE_COLOR), None
        if paint is not None:
            color, picture = paint.base[paint.material[run[0]]], paint.textures[paint.material[run[0]]]
            vertices["color_0"] = np.pad(paint.tint[used[inside]], ((0, 0), (0, 1)), constant_values=1)
            if picture is not None:
                vertices["texcoord_0"] = paint.uv[used[inside]]
                # Rows of four bytes a texel keep the alignment that OpenGL expects.
                texture = pyrender.Texture(
                    source=np.pad(picture, ((0, 0), (0, 0), (0, 1)), constant_values=255),
                    source_channels="RGBA",
                    sampler=pyrender.Sampler(magFilter=GL.GL_LINEAR, minFilter=GL.GL_LINEAR),
                )
        material = pyrender.MetallicRoughnessMaterial(
            baseColorFactor=[*color, 1.0],
            baseColorTexture=texture,
            metallicFactor=rasteriser.METALLIC,
            roughnessFactor=rasteriser.ROUGHNESS,
        )
        indices = indices.reshape(-1, 3)
        primitives.append(pyrender.Primitive(**vertices, indices=indices, material=material, mode=4))
        if not cull:
            primitives.append(Back(**vertices, indices=indices[:, ::-1], material=material, mode=4))
    return primitives


def _import_pyrender() -> Any:
    remedy = OSMESA if choose_driver(REMEDY) == "OSMesa" else REMEDY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that pyrender pins to old versions
        try:
            import pyrender
        except (ImportError, AttributeError, OSError) as error:
            raise MissingError(f"OpenGL: pyrender cannot be imported ({_line(error)}): {remedy}") from error
    return pyrender


@lru_cache(maxsize=1)
def _renderer() -> Any:
    """Give a context and its compiled shaders, kept for the next shape: they cost as much as thirty views.

    One for all sizes: pyrender shuts the whole display down when it gives up any context.
    """
    pyrender = _import_pyrender()
    from OpenGL.error import Error

    driver = choose_driver(REMEDY)
    remedy = OSMESA if driver == "OSMesa" else REMEDY
    # OSMesa complains of a context that is given up when Python has gone.
    atexit.register(_renderer.cache_clear)
    try:
        return pyrender.OffscreenRenderer(1, 1)
    except (Error, AssertionError, RuntimeError, ValueError, OSError) as error:
        raise MissingError(f"OpenGL: {driver} gives no context ({_line(error)}): {remedy}") from error


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
