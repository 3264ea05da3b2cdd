"""The default camera of `render`, whose frame photos are also fitted to. Imports nothing heavy."""

import math

DEFAULT_DISTANCE = 2.5
"""Distance of the camera from the shape's centre, in radii of its bounding sphere."""
DEFAULT_YFOV_DEGREES = 60
DEFAULT_YFOV = math.radians(DEFAULT_YFOV_DEGREES)
"""Vertical field of view in radians."""
DEFAULT_SIZE = 224
"""Width and height of the images in pixels."""
