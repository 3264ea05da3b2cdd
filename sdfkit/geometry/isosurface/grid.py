"""A sparse grid of values, which stores only blocks of nodes near a surface."""

import numpy as np
from jaxtyping import Bool, Float, Int

# Absolute value of nodes whose sign alone is known. Evaluated values are clipped to ±FARTHEST.
UNKNOWN = np.float32(1e4)
FARTHEST = np.float32(1e3)
# Nodes along a side of a block, as a power of two.
BITS = 3
BLOCK = 1 << BITS
HALF_BLOCK = np.indices((BLOCK // 2,) * 3, dtype=np.int32).reshape(3, -1).T


class Grid:
    """A cube of nodes, stored in blocks of 8 x 8 x 8 nodes.

    Blocks that lie wholly outside the shape share one stored block, and so do blocks that lie wholly inside. A node has
    a value and a bound of the error of this value; the bound is 0 for evaluated nodes.
    """

    def __init__(self, count: int, coarser: "Grid | None") -> None:
        """Make a grid of unknown values.

        Args:
            count: Number of nodes along a side.
            coarser: A grid of every second node of this grid, from which signs are copied; None makes all signs
                positive.
        """
        self.count = count
        self.coarser = coarser
        self.values = np.repeat(np.array([[UNKNOWN], [-UNKNOWN]]), BLOCK**3, axis=1)
        self.bounds = np.zeros_like(self.values)
        self.table = np.zeros((-(-count // BLOCK),) * 3, dtype=np.int64)
        if coarser is not None:
            origins = np.indices(self.table.shape).reshape(3, -1).T * (BLOCK // 2)
            self.table[...] = (coarser.read(origins)[0] < 0).reshape(self.table.shape)

    def _places(self, nodes: Int[np.ndarray, "*node 3"]) -> Int[np.ndarray, "*node"]:
        i, j, k = np.moveaxis(nodes, -1, 0)
        last = BLOCK - 1
        places = self.table[i >> BITS, j >> BITS, k >> BITS] << 3 * BITS
        return np.asarray(places | ((i & last) << 2 * BITS) | ((j & last) << BITS) | (k & last))

    def read(
        self, nodes: Int[np.ndarray, "*node 3"]
    ) -> tuple[Float[np.ndarray, "*node"], Float[np.ndarray, "*node"]]:
        """Return the values of nodes and their error bounds."""
        places = self._places(nodes)
        return self.values.ravel()[places], self.bounds.ravel()[places]

    def is_known(self, nodes: Int[np.ndarray, "*node 3"]) -> Bool[np.ndarray, "*node"]:
        """Return whether nodes have been evaluated."""
        values, bounds = self.read(nodes)
        return np.asarray((bounds == 0) & (np.abs(values) <= FARTHEST))

    def write(
        self,
        nodes: Int[np.ndarray, "*node 3"],
        values: Float[np.ndarray, "*node"],
        bounds: Float[np.ndarray, "*node"] | float,
    ) -> None:
        """Set the values and error bounds of nodes."""
        self.open(nodes)
        places = self._places(nodes)
        self.values.ravel()[places] = values
        self.bounds.ravel()[places] = bounds

    def open(self, nodes: Int[np.ndarray, "*node 3"]) -> None:
        """Allocate the blocks that contain these nodes."""
        needed = np.zeros(self.table.shape, dtype=bool)
        needed[tuple(np.moveaxis(nodes >> BITS, -1, 0))] = True
        blocks = np.flatnonzero(needed.ravel() & (self.table.ravel() < 2))
        if not len(blocks):
            return
        fresh = np.full((len(blocks), BLOCK**3), UNKNOWN)
        if self.coarser is not None:
            # The preceding coarse node is a corner of every coarse cell around a node. If the surface does not cross
            # such a cell, the node has the sign of this corner.
            origins = np.stack(np.unravel_index(blocks, self.table.shape), axis=1, dtype=np.int32) * (
                BLOCK // 2
            )
            before = np.minimum(origins[:, None] + HALF_BLOCK, self.coarser.count - 1)
            signs = np.copysign(UNKNOWN, self.coarser.read(before)[0]).reshape(-1, *(BLOCK // 2,) * 3)
            fresh = signs.repeat(2, 1).repeat(2, 2).repeat(2, 3).reshape(fresh.shape)
        self.table.ravel()[blocks] = len(self.values) + np.arange(len(blocks))
        self.values = np.concatenate([self.values, fresh])
        self.bounds = np.concatenate([self.bounds, np.zeros_like(fresh)])

    def unique(self, nodes: Int[np.ndarray, "node 3"]) -> Int[np.ndarray, "each 3"]:
        """Return each node once, sorted."""
        shape = (self.count,) * 3
        indices = np.unravel_index(np.unique(np.ravel_multi_index(tuple(nodes.T), shape)), shape)
        return np.stack(indices, axis=1, dtype=np.int32)

    def planes(self, first: int, last: int, count: int) -> Float[np.ndarray, "plane count count"]:
        """Return the values of planes `first` to `last` - 1 in `count` rows and columns; `first` must begin a block."""
        blocks = self.table[first >> BITS : (last - 1 >> BITS) + 1]
        deep, wide = len(blocks), len(self.table)
        blocks = self.values[blocks].reshape(deep, wide, wide, BLOCK, BLOCK, BLOCK)
        planes = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(deep * BLOCK, wide * BLOCK, wide * BLOCK)
        return planes[: last - first, :count, :count]

    def has_surface(self, first: int, last: int) -> bool:
        """Return whether the blocks between two planes contain values of both signs."""
        blocks = self.table[first >> BITS : (last - 1 >> BITS) + 1]
        return bool(blocks.max() > 1 or blocks.min() != blocks.max())


def interpolate_grid(values: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "u v w"]:
    """Interpolate linearly to a grid that is twice as fine."""
    for axis in range(3):
        coarse = np.moveaxis(values, axis, 0)
        fine = np.empty((2 * len(coarse) - 1, *coarse.shape[1:]), dtype=np.float32)
        fine[::2], fine[1::2] = coarse, 0.5 * (coarse[1:] + coarse[:-1])
        values = np.moveaxis(fine, 0, axis)
    return values
