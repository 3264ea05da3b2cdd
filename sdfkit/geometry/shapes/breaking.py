"""Damage clean meshes with defects of real-world meshes, without changing the visible shape.

The true surface remains that of the solid: added faces lie inside it or within 0.01 of its surface, and holes are
small.
"""

from collections.abc import Callable

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

Vertices = Float[np.ndarray, "vertex 3"]
Faces = Int[np.ndarray, "face 3"]
Damage = Callable[[Vertices, Faces, trimesh.Trimesh, np.random.Generator], tuple[Vertices, Faces]]

# In the unit frame. Whole faces are removed, so a hole may be wider by the size of a face.
HOLE_RADIUS = 0.02
OVERLAP = 0.008  # largest offset of a copied patch, in the unit frame
PATCH_SHARE = 0.15  # share of the faces in a patch that is flipped or unmerged


def break_mesh(mesh: trimesh.Trimesh, rng: np.random.Generator) -> tuple[trimesh.Trimesh, tuple[str, ...]]:
    """Add two or more random defects to a mesh.

    Args:
        mesh: A closed mesh.
        rng: Generator for the defects and their positions.

    Returns:
        The damaged mesh, unprocessed (its vertices are not merged), and the names of the defects in the order in which
        they were applied; see `DEFECTS`.
    """
    names = list(DEFECTS)
    count = int(rng.integers(2, len(names) + 1))
    # In the order of `DEFECTS`: defects that need connected faces come before those that disconnect faces.
    chosen = sorted(rng.choice(len(names), size=count, replace=False).tolist())
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    for index in chosen:
        vertices, faces = DEFECTS[names[index]](vertices, faces, mesh, rng)
    return trimesh.Trimesh(vertices, faces, process=False), tuple(names[index] for index in chosen)


def add_internal(
    vertices: Vertices, faces: Faces, mesh: trimesh.Trimesh, rng: np.random.Generator
) -> tuple[Vertices, Faces]:
    """Add closed shells inside: balls and boxes at the thickest places found."""
    seeds = mesh.vertices[rng.choice(len(mesh.vertices), size=min(256, len(mesh.vertices)), replace=False)]
    radii, middles = _inner_balls(mesh, seeds)
    best = np.argsort(-radii, kind="stable")[: int(rng.integers(1, 4))]
    for index in best:
        radius = 0.6 * float(radii[index])
        if rng.random() < 0.5:
            part = trimesh.creation.icosphere(subdivisions=2, radius=radius)
        else:
            part = trimesh.creation.box(extents=np.full(3, 2 * radius / np.sqrt(3)))
        vertices, faces = _append(vertices, faces, part.vertices + middles[index], part.faces)
    return vertices, faces


def add_overlap(
    vertices: Vertices, faces: Faces, mesh: trimesh.Trimesh, rng: np.random.Generator
) -> tuple[Vertices, Faces]:
    """Add a copy of a part of the surface, translated by less than 0.01 so that it intersects the original."""
    part = mesh.faces[_patch(mesh.vertices, mesh.faces, int(rng.uniform(0.2, 0.6) * len(mesh.faces)), rng)]
    used, renumbered = np.unique(part, return_inverse=True)
    direction = rng.normal(size=3)
    offset = rng.uniform(0.4, 1.0) * OVERLAP * direction / np.linalg.norm(direction)
    return _append(vertices, faces, mesh.vertices[used] + offset, renumbered.reshape(-1, 3))


def cut_holes(
    vertices: Vertices, faces: Faces, mesh: trimesh.Trimesh, rng: np.random.Generator
) -> tuple[Vertices, Faces]:
    """Remove patches of faces, each narrower than the part of the shape in which it makes a hole."""
    seeds = rng.choice(len(faces), size=int(rng.integers(3, 25)), replace=False)
    middles = vertices[faces].mean(axis=1)
    radii, _ = _inner_balls(mesh, middles[seeds])
    removed = np.zeros(len(faces), dtype=bool)
    for seed, radius in zip(seeds, radii, strict=True):
        distances = np.linalg.norm(middles - middles[seed], axis=1)
        removed |= distances <= min(HOLE_RADIUS * rng.uniform(0.5, 1.0), 0.4 * radius)
        removed[seed] = True
    return vertices, faces[~removed]


def flip_faces(
    vertices: Vertices, faces: Faces, mesh: trimesh.Trimesh, rng: np.random.Generator
) -> tuple[Vertices, Faces]:
    """Reverse the winding of a patch, of scattered faces, or of all faces."""
    kind = rng.choice(["patch", "scattered", "all"], p=[0.5, 0.35, 0.15])
    if kind == "patch":
        flipped = _patch(vertices, faces, max(1, int(PATCH_SHARE * len(faces))), rng)
    elif kind == "scattered":
        flipped = rng.random(len(faces)) < 0.05
        flipped[int(rng.integers(len(faces)))] = True
    else:
        flipped = np.ones(len(faces), dtype=bool)
    return vertices, np.where(flipped[:, None], faces[:, ::-1], faces)


def unmerge_vertices(
    vertices: Vertices, faces: Faces, mesh: trimesh.Trimesh, rng: np.random.Generator
) -> tuple[Vertices, Faces]:
    """Give each face of a patch, or of the whole mesh, its own vertices, so that faces share no vertices."""
    if rng.random() < 0.3:
        separated = np.ones(len(faces), dtype=bool)
    else:
        separated = _patch(vertices, faces, max(1, int(PATCH_SHARE * len(faces))), rng)
    copies = vertices[faces[separated]].reshape(-1, 3)
    faces = faces.copy()
    faces[separated] = len(vertices) + np.arange(len(copies)).reshape(-1, 3)
    return np.concatenate([vertices, copies]), faces


def duplicate_faces(
    vertices: Vertices, faces: Faces, mesh: trimesh.Trimesh, rng: np.random.Generator
) -> tuple[Vertices, Faces]:
    """Duplicate some faces, half of them with the same vertices and half with copies; add unused vertices."""
    picked = rng.choice(len(faces), size=max(2, len(faces) // 50), replace=False)
    same, copied = picked[::2], picked[1::2]
    copies = vertices[faces[copied]].reshape(-1, 3)
    new_faces = len(vertices) + np.arange(len(copies)).reshape(-1, 3)
    unused = vertices[rng.choice(len(vertices), size=8)]
    return np.concatenate([vertices, copies, unused]), np.concatenate([faces, faces[same], new_faces])


def split_parts(
    vertices: Vertices, faces: Faces, mesh: trimesh.Trimesh, rng: np.random.Generator
) -> tuple[Vertices, Faces]:
    """Split the surface along a plane into two parts that touch but share no vertices."""
    normal = rng.normal(size=3)
    side = vertices[faces].mean(axis=1) @ normal
    far = side > np.quantile(side, rng.uniform(0.3, 0.7))
    used, renumbered = np.unique(faces[far], return_inverse=True)
    faces = faces.copy()
    faces[far] = len(vertices) + renumbered.reshape(-1, 3)
    return np.concatenate([vertices, vertices[used]]), faces


DEFECTS: dict[str, Damage] = {
    "internal": add_internal,
    "overlap": add_overlap,
    "holes": cut_holes,
    "flipped": flip_faces,
    "parts": split_parts,
    "unmerged": unmerge_vertices,
    "duplicates": duplicate_faces,
}


def _append(vertices: Vertices, faces: Faces, more: Vertices, more_faces: Faces) -> tuple[Vertices, Faces]:
    """Join two meshes into one."""
    return np.concatenate([vertices, more]), np.concatenate([faces, more_faces + len(vertices)])


def _patch(
    vertices: Vertices, faces: Faces, size: int, rng: np.random.Generator
) -> Bool[np.ndarray, " face"]:
    """Return the `size` faces whose centroids are nearest to that of a random face."""
    middles = vertices[faces].mean(axis=1)
    distances = np.linalg.norm(middles - middles[int(rng.integers(len(faces)))], axis=1)
    chosen = np.zeros(len(faces), dtype=bool)
    chosen[np.argsort(distances, kind="stable")[:size]] = True
    return chosen


def _inner_balls(
    mesh: trimesh.Trimesh, seeds: Float[np.ndarray, "seed 3"]
) -> tuple[Float[np.ndarray, " seed"], Float[np.ndarray, "seed 3"]]:
    """Find balls that touch the surface from inside and contain no vertex.

    Args:
        mesh: A closed mesh.
        seeds: Points near the surface, one for each ball.

    Returns:
        The radius and the centre of each ball.

    Reference: Ma et al., 3D medial point approximation using shrinking balls (2012).
    """
    tree = cKDTree(mesh.vertices)
    _, index = tree.query(seeds)
    normals = mesh.vertex_normals[index]
    radius = np.full(len(seeds), 1.0)
    for _ in range(30):
        middles = seeds - radius[:, None] * normals
        distances, nearest = tree.query(middles)
        chord = mesh.vertices[nearest] - seeds
        across = -(chord * normals).sum(axis=1)
        smaller = (chord * chord).sum(axis=1) / np.maximum(2 * across, 1e-9)
        radius = np.where(distances < radius - 1e-6, np.minimum(radius, smaller), radius)
    # Where the iteration has not converged, shrink the ball until no vertex is inside.
    radii = np.minimum(radius, tree.query(seeds - radius[:, None] * normals)[0])
    return radii, seeds - radius[:, None] * normals
