"""Signed distances by the package mesh_to_sdf, which measures to the points that are visible in depth images."""

import sys
import warnings
from contextlib import redirect_stdout
from typing import Literal

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.errors import GeometryError, MissingError, first_line
from sdfkit.runtime.opengl import DRIVER, choose_driver

REMEDY = f"{DRIVER}, or use --method exact, which needs no driver"


def check_driver() -> None:
    """Configure this process and its child processes for OpenGL without a display, which mesh_to_sdf needs.

    Raises:
        MissingError: EGL is not installed.
    """
    choose_driver(REMEDY)


def scan_distances(
    mesh: trimesh.Trimesh, points: Float[np.ndarray, "point 3"], *, sign: Literal["normal", "scan"]
) -> Float[np.ndarray, " point"]:
    """Compute signed distances with the default settings of mesh_to_sdf.

    mesh_to_sdf renders 100 depth images of 400 × 400 pixels with OpenGL, and measures distances to the points in them.
    On a torus of 262,000 faces, distances have errors of up to 2e-3, and the share of wrong signs is 0.6 % for "normal"
    and 5 % for "scan". The function draws no random numbers. It leaks memory and may hang: call it in a process that is
    replaced after a few shapes, and in which no other module has imported pyrender.

    Args:
        mesh: A shape in the unit frame: centred on the bounding box, farthest vertex at distance 1.
        points: Query points in the query cube, from -1 to 1 along each axis.
        sign: Method that determines the signs. "normal": the majority of the normals at the 11 nearest visible points.
            "scan": a point is outside if it lies in front of the surface in any depth image.

    Returns:
        Signed distances, float32, negative inside.

    Raises:
        GeometryError: The mesh is visible in no depth image.
        MissingError: There is no OpenGL driver, or the driver cannot create a context.
    """
    check_driver()
    # Only vertices and faces: the shader of mesh_to_sdf does not support colours.
    bare = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # from old versions of libraries that it requires
        try:
            import mesh_to_sdf
            from OpenGL.error import Error
        except (ImportError, AttributeError, OSError) as error:
            raise MissingError(
                f"OpenGL: mesh_to_sdf cannot be imported ({first_line(error)}): {REMEDY}"
            ) from error
        try:
            cloud = mesh_to_sdf.get_surface_point_cloud(bare, calculate_normals=sign == "normal")
        except (Error, AssertionError, RuntimeError, OSError) as error:
            raise MissingError(
                f"OpenGL: EGL cannot create a context ({first_line(error)}): {REMEDY}"
            ) from error
        except ValueError as error:  # from its search tree, which needs at least one point
            raise GeometryError(
                "no surface: the shape is visible in no depth image; check that its faces have an area"
            ) from error
        distances: Float[np.ndarray, " point"] = cloud.get_sdf_in_batches(
            points, use_depth_buffer=sign == "scan"
        )
    return distances
