"""The default camera of the command `render`. Photos are scaled to the same frame. Imports only `math`."""

import math

DEFAULT_DISTANCE = 2.5
"""Distance of the camera from the shape's centre, in radii of its bounding sphere."""
DEFAULT_YFOV_DEGREES = 60
DEFAULT_YFOV = math.radians(DEFAULT_YFOV_DEGREES)
"""Vertical field of view in radians."""
DEFAULT_SIZE = 224
"""Width and height of the images in pixels."""
DEFAULT_VIEWS = 64
DEFAULT_CREASE_DEGREES = 40
"""Angle between faces above which their edge is shaded as sharp."""
