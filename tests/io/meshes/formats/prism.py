"""A prism over a concave outline, whose volume and area are known, and measures of parts to compare with them."""

import numpy as np

# The letter L; its fan from the second corner covers the notch as well.
OUTLINE = [(0, 0), (3, 0), (3, 1), (1, 1), (1, 3), (0, 3)]
VERTICES = [(x, y, z) for z in (0, 1) for x, y in OUTLINE]
# Both caps begin at the second corner of the outline. All faces are counter-clockwise from outside.
POLYGONS = [
    [1, 0, 5, 4, 3, 2],
    [7, 8, 9, 10, 11, 6],
    *([k, (k + 1) % 6, (k + 1) % 6 + 6, k + 6] for k in range(6)),
]
# Outline: area 5, perimeter 12. Height 1.
VOLUME, AREA, TRIANGLES = 5, 22, 20


def measure(part):
    """The volume inside a part and the area of its triangles."""
    a, b, c = np.moveaxis(part.vertices[part.faces], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6, area
