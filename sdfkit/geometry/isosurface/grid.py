"""Values at the nodes of a cube, of which only those near a surface take memory."""

import numpy as np
from jaxtyping import Bool, Float, Int

# What stands at nodes of which only the sign is known; values that were asked for stay below FARTHEST.
UNSEEN = np.float32(1e4)
FARTHEST = np.float32(1e3)
# Nodes along a side of a block, as a power of two.
BITS = 3
BLOCK = 1 << BITS
IN_HALF_PAGE = np.indices((BLOCK // 2,) * 3, dtype=np.int32).reshape(3, -1).T


class Grid:
    """A cube of nodes in blocks of 8 x 8 x 8. Two blocks stand for all that lie wholly outside or inside.

    A node has a value and a doubt: how far the value may be from the truth. What was asked for has none.
    """

    def __init__(self, count: int, coarser: "Grid | None") -> None:
        """`count` nodes along a side; signs are those of `coarser`, whose nodes are every second one of these."""
        self.count = count
        self.coarser = coarser
        self.values = np.repeat(np.array([[UNSEEN], [-UNSEEN]]), BLOCK**3, axis=1)
        self.doubts = np.zeros_like(self.values)
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
        """Values and doubts."""
        places = self._places(nodes)
        return self.values.ravel()[places], self.doubts.ravel()[places]

    def is_known(self, nodes: Int[np.ndarray, "*node 3"]) -> Bool[np.ndarray, "*node"]:
        """Whether the value is the one that was asked for."""
        values, doubts = self.read(nodes)
        return np.asarray((doubts == 0) & (np.abs(values) <= FARTHEST))

    def write(
        self,
        nodes: Int[np.ndarray, "*node 3"],
        values: Float[np.ndarray, "*node"],
        doubts: Float[np.ndarray, "*node"] | float,
    ) -> None:
        self.open(nodes)
        places = self._places(nodes)
        self.values.ravel()[places] = values
        self.doubts.ravel()[places] = doubts

    def open(self, nodes: Int[np.ndarray, "*node 3"]) -> None:
        """Give these nodes blocks of their own."""
        needed = np.zeros(self.table.shape, dtype=bool)
        needed[tuple(np.moveaxis(nodes >> BITS, -1, 0))] = True
        blocks = np.flatnonzero(needed.ravel() & (self.table.ravel() < 2))
        if not len(blocks):
            return
        fresh = np.full((len(blocks), BLOCK**3), UNSEEN)
        if self.coarser is not None:
            # Every coarse cell around a node has the coarse node before it as a corner: whichever of them holds no
            # surface, its sign is that node's.
            origins = np.stack(np.unravel_index(blocks, self.table.shape), axis=1, dtype=np.int32) * (
                BLOCK // 2
            )
            before = np.minimum(origins[:, None] + IN_HALF_PAGE, self.coarser.count - 1)
            signs = np.copysign(UNSEEN, self.coarser.read(before)[0]).reshape(-1, *(BLOCK // 2,) * 3)
            fresh = signs.repeat(2, 1).repeat(2, 2).repeat(2, 3).reshape(fresh.shape)
        self.table.ravel()[blocks] = len(self.values) + np.arange(len(blocks))
        self.values = np.concatenate([self.values, fresh])
        self.doubts = np.concatenate([self.doubts, np.zeros_like(fresh)])

    def unique(self, nodes: Int[np.ndarray, "node 3"]) -> Int[np.ndarray, "each 3"]:
        """Each node once, in order."""
        shape = (self.count,) * 3
        indices = np.unravel_index(np.unique(np.ravel_multi_index(tuple(nodes.T), shape)), shape)
        return np.stack(indices, axis=1, dtype=np.int32)

    def planes(self, first: int, last: int, count: int) -> Float[np.ndarray, "plane count count"]:
        """Values of the planes from `first`, a block's first, to before `last`, of `count` rows and columns."""
        blocks = self.table[first >> BITS : (last - 1 >> BITS) + 1]
        deep, wide = len(blocks), len(self.table)
        blocks = self.values[blocks].reshape(deep, wide, wide, BLOCK, BLOCK, BLOCK)
        planes = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(deep * BLOCK, wide * BLOCK, wide * BLOCK)
        return planes[: last - first, :count, :count]

    def has_surface(self, first: int, last: int) -> bool:
        """Whether blocks between two planes are of more than one sign."""
        blocks = self.table[first >> BITS : (last - 1 >> BITS) + 1]
        return bool(blocks.max() > 1 or blocks.min() != blocks.max())
