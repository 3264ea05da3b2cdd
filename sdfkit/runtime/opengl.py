"""Renders with OpenGL through pyrender.

pyrender selects its driver from the environment when it is imported, so this module must import it, and no other module
before. One exception: mesh_to_sdf replaces functions of OpenGL that pyrender copies when it is imported. A process that
needs both must call `choose_driver`, import mesh_to_sdf, and only then render (see `sdfkit.runtime.mesh_to_sdf`).
"""

import atexit
import os
import warnings
from ctypes.util import find_library
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.errors import MissingError, first_line
from sdfkit.images.rendering import rasteriser
from sdfkit.images.rendering.cameras import NEAR, look_at
from sdfkit.images.rendering.normal_kernels import measure_faces
from sdfkit.images.rendering.paint import BASE_COLOR, Paint
from sdfkit.images.rendering.raster_kernels import SETBACK, SETBACK_SLOPE
from sdfkit.images.rendering.rasteriser import RenderedViews
from sdfkit.images.rendering.surface import ShadingGeometry, shading_geometry

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
    """Configure pyrender and mesh_to_sdf to render without a display, through EGL or OSMesa.

    OSMesa is used only if the environment has PYOPENGL_PLATFORM=osmesa. It does not antialias edges, so its images
    differ from all others (34 dB), and the CPU renderer of sdfkit is faster.

    Args:
        remedy: Text of the error message that says what to do if EGL is missing.

    Returns:
        Name of the driver.

    Raises:
        MissingError: The library of the driver is not installed.
    """
    os.environ["PYGLET_HEADLESS"] = "1"  # Otherwise pyglet 2.1 opens a display when pyrender is imported.
    if os.environ.get("PYOPENGL_PLATFORM") == "osmesa":
        if find_library("OSMesa") is None:
            raise MissingError(f"OpenGL: PYOPENGL_PLATFORM is osmesa, but OSMesa is not installed: {OSMESA}")
        return "OSMesa"
    if find_library("EGL") is None or find_library("GL") is None:
        raise MissingError(f"OpenGL: no EGL driver is installed: {remedy}")
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    return "EGL"


def choose_renderer(renderer: Literal["auto", "cpu", "gl"]) -> str:
    """Return the renderer to use: "cpu", or "gl" followed by the name of its driver.

    The choice of "auto" is gl if there is an NVIDIA GPU and a driver. Without a GPU, OpenGL renders in software, more
    slowly than the CPU renderer of sdfkit.

    Raises:
        MissingError: `renderer` is "gl", and there is no driver.
    """
    if renderer == "cpu" or (renderer == "auto" and not Path("/dev/nvidia0").exists()):
        return "cpu"
    try:
        return f"gl {choose_driver(REMEDY)}"
    except MissingError:
        if renderer == "gl":
            raise
        return "cpu"


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
) -> RenderedViews:
    """Render a mesh from every camera with pyrender, which is faster than the CPU renderer on a GPU.

    Arguments and results are those of `images.rendering.rasteriser.render_views`, the CPU renderer. Depth and normals
    are computed by the CPU renderer here too, because the antialiased buffers of OpenGL do not contain the values at
    the centres of pixels.

    Raises:
        GeometryError: The mesh has no faces.
        MissingError: There is no driver, or the driver cannot create a context.
    """
    geometry = shading_geometry(mesh, crease=crease)
    pyrender = _import_pyrender()
    renderer = _shared_renderer()
    renderer.viewport_width = renderer.viewport_height = size
    scene = pyrender.Scene(bg_color=[0, 0, 0, 0])
    scene.add(pyrender.Mesh(_create_primitives(geometry, paint, cull)))
    # The lights are children of the camera's node, so each view moves one node, and the mesh is uploaded only once.
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
        # The background is transparent, so alpha is the share of samples that the shape covers. OSMesa gives no alpha.
        rgba[view, ..., 3] = color[..., 3] if color.shape[-1] == 4 else 255 * (distance > 0)
    distances = directions = None
    if depth or normal:
        views = rasteriser.render_views(
            mesh, camera_to_world, yfov=yfov, size=size, crease=crease, cull=cull, depth=depth, normal=normal,
            paint=None,
        )  # fmt: skip
        distances, directions = views.depth, views.normal
    return RenderedViews(rgba[..., :3].copy(), rgba[..., 3].copy(), distances, directions)


def _create_primitives(geometry: ShadingGeometry, paint: Paint | None, cull: bool) -> list[Any]:
    """Return pyrender's primitives of a mesh: for each run of faces of one material, the front and then the back."""
    pyrender = _import_pyrender()
    from OpenGL import GL

    # pyrender has no public way to set the state of OpenGL for one primitive. A test checks that its renderer calls
    # these methods, and pyproject.toml bounds its version.
    class Back(pyrender.Primitive):  # type: ignore[misc]
        def _bind(self) -> None:
            super()._bind()
            GL.glEnable(GL.GL_POLYGON_OFFSET_FILL)
            # The depth buffer contains 1 - NEAR / depth, in steps of 2 ** -24.
            GL.glPolygonOffset(SETBACK_SLOPE, SETBACK * NEAR * 2**24)

        def _unbind(self) -> None:
            GL.glDisable(GL.GL_POLYGON_OFFSET_FILL)
            super()._unbind()

    points, faces, normals, normal_rows = geometry
    if not len(normal_rows):
        normals = measure_faces(points, faces)[0].astype(np.float32)
        normal_rows = np.repeat(np.arange(len(faces), dtype=np.int32), 3).reshape(-1, 3)
    # A vertex in OpenGL has one normal, so vertices on creases are split.
    pairs, corners = np.unique(faces.astype(np.int64) * len(normals) + normal_rows, return_inverse=True)
    used, normals = pairs // len(normals), normals[pairs % len(normals)]
    corners = corners.reshape(-1, 3)
    changes = np.zeros(0, int) if paint is None else np.flatnonzero(np.diff(paint.material)) + 1
    wraps = (GL.GL_REPEAT, GL.GL_MIRRORED_REPEAT, GL.GL_CLAMP_TO_EDGE)  # in the order of paint.WRAPS
    primitives = []
    for run in np.split(np.arange(len(faces)), changes):
        inside, indices = np.unique(corners[run], return_inverse=True)
        vertices: dict[str, Any] = {"positions": points[used[inside]], "normals": normals[inside]}
        color, texture = np.array(BASE_COLOR), None
        if paint is not None:
            row = paint.material[run[0]]
            color, picture = paint.base[row], paint.textures[row]
            vertices["color_0"] = np.pad(paint.tint[used[inside]], ((0, 0), (0, 1)), constant_values=1)
            if picture is not None:
                vertices["texcoord_0"] = paint.uv[used[inside]]
                # OpenGL expects aligned rows, which four bytes per texel guarantee.
                texture = pyrender.Texture(
                    source=np.pad(picture, ((0, 0), (0, 0), (0, 1)), constant_values=255),
                    source_channels="RGBA",
                    sampler=pyrender.Sampler(
                        magFilter=GL.GL_LINEAR,
                        minFilter=GL.GL_LINEAR,
                        wrapS=wraps[paint.wraps[row, 0]],
                        wrapT=wraps[paint.wraps[row, 1]],
                    ),
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
    """Import pyrender for the driver that `choose_driver` selects."""
    remedy = OSMESA if choose_driver(REMEDY) == "OSMesa" else REMEDY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from old versions of libraries that pyrender requires
        try:
            import pyrender
            from OpenGL.arrays.ctypesparameters import CtypesParameterHandler
        except (ImportError, AttributeError, OSError) as error:
            raise MissingError(
                f"OpenGL: pyrender cannot be imported ({first_line(error)}): {remedy}"
            ) from error
    # PyOpenGL 3.1.0, which pyrender requires, knows the type of ctypes.byref() by its name, which Python 3.12 changed.
    # Without this, textures cannot be created.
    handler = CtypesParameterHandler()
    handler.register(handler.HANDLED_TYPES)
    return pyrender


@lru_cache(maxsize=1)
def _shared_renderer() -> Any:
    """Return the renderer of this process. It is created once, because that takes as long as rendering thirty views.

    One renderer is used for all image sizes, because pyrender closes the display when it deletes any context.
    """
    pyrender = _import_pyrender()
    from OpenGL.error import Error

    driver = choose_driver(REMEDY)
    remedy = OSMESA if driver == "OSMesa" else REMEDY
    # OSMesa reports an error if a context is deleted after the interpreter has shut down.
    atexit.register(_shared_renderer.cache_clear)
    try:
        return pyrender.OffscreenRenderer(1, 1)
    except (Error, AssertionError, RuntimeError, ValueError, OSError) as error:
        raise MissingError(
            f"OpenGL: {driver} cannot create a context ({first_line(error)}): {remedy}"
        ) from error
