"""Surfaces of solids that consist of axis-parallel blocks. Their volume, distance and openings are known exactly."""

import numpy as np
import trimesh

# A body on four legs, whose feet are at the lowest y.
BODY = np.zeros((5, 2, 5), dtype=bool)
BODY[:, 1] = True
BODY[1::2, 0, 1::2] = True
EDGES = (
    np.array([-0.6, -0.45, -0.3, 0.3, 0.45, 0.6]),
    np.array([-0.55, -0.2, 0.3]),
    np.array([-0.4, -0.25, -0.1, 0.1, 0.25, 0.4]),
)
VOLUME = 1.2 * 0.5 * 0.8 + 4 * 0.15 * 0.15 * 0.35


def body_on_legs(*, feet: bool) -> trimesh.Trimesh:
    """Return the body on four legs, whose vertices are not joined; without `feet`, the legs are open below."""
    quads, padded = [], np.pad(BODY, 1)
    for axis in range(3):
        for layer in range(len(EDGES[axis])):
            before, after = padded.take(layer, axis=axis), padded.take(layer + 1, axis=axis)
            for block in np.argwhere(before != after):
                corners = np.repeat(np.insert(block - 1, axis, layer)[None], 4, axis=0)
                corners[1:3, (axis + 1) % 3] += 1
                corners[2:4, (axis + 2) % 3] += 1
                quad = np.stack([EDGES[k][corners[:, k]] for k in range(3)], axis=1)
                quads.append(quad if before[tuple(block)] else quad[::-1])
    corners = np.array([quad for quad in quads if feet or (quad[:, 1] > EDGES[1][0]).any()])
    triangles = np.concatenate([corners[:, :3], corners[:, [0, 2, 3]]])
    return soup_of(triangles)


def soup_of(triangles: np.ndarray) -> trimesh.Trimesh:
    """Return a mesh of triangles that share no vertices."""
    corners = triangles.reshape(-1, 3)
    return trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=False)
