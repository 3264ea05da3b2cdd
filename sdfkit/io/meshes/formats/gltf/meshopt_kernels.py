"""Compiled kernels that decode the bit streams of KHR_meshopt_compression and EXT_meshopt_compression.

They return the position after the last byte that they read, or -1 if the stream ends early.

Reference: KHR_meshopt_compression, appendix A.
"""
# mypy: disable-error-code="no-untyped-def,assignment"
# numba infers the types; tests cannot check them here.

import numpy as np
from numba import njit

GROUP = 16
# Bits of a delta by the header of its group: version 0, then version 1 in control modes 0 and 1.
BITS = np.array([[0, 2, 4, 8], [0, 1, 2, 4], [1, 2, 4, 8]])


@njit(cache=True)
def unpack_deltas(stream, at, end, version, block, deltas):
    """Decode the encoded differences between consecutive elements, each byte of an element by itself.

    Args:
        stream: The bytes.
        at, end: Where the blocks begin and end in the stream.
        version: 0 or 1.
        block: Number of elements in a block.
        deltas: Filled with the differences, (element, byte). It contains zeros before.
    """
    count, stride = deltas.shape
    for first in range(0, count, block):
        size = min(block, count - first)
        groups = (size + GROUP - 1) // GROUP
        controls = at
        if version == 1:
            at += stride // 4
        for byte in range(stride):
            if at > end:
                return -1
            row = 0
            if version == 1:
                control = (stream[controls + byte // 4] >> (2 * (byte % 4))) & 3
                if control == 2:
                    continue
                if control == 3:
                    if at + size > end:
                        return -1
                    deltas[first : first + size, byte] = stream[at : at + size]
                    at += size
                    continue
                row = control + 1
            header = at
            at += (groups + 3) // 4
            for group in range(groups):
                if at > end:
                    return -1
                bits = BITS[row, (stream[header + group // 4] >> (2 * (group % 4))) & 3]
                if bits == 0:
                    continue
                packed = at
                at += 2 * bits  # 16 deltas
                if at > end:
                    return -1
                for k in range(GROUP):
                    if bits == 8:
                        value = stream[packed + k]
                    else:
                        per_byte = 8 // bits
                        place = k % per_byte if bits == 1 else per_byte - 1 - k % per_byte
                        value = (stream[packed + k // per_byte] >> (bits * place)) & ((1 << bits) - 1)
                        if value == (1 << bits) - 1:
                            if at >= end:
                                return -1
                            value = stream[at]
                            at += 1
                    element = GROUP * group + k
                    if element < size:
                        deltas[first + element, byte] = value
    return at


@njit(cache=True)
def read_varint(stream, at, end):
    """Read an unsigned LEB128 number of at most 5 bytes; returns it and the position after it."""
    value = np.int64(0)
    for shift in range(0, 35, 7):
        if at >= end:
            return value, -1
        byte = np.int64(stream[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFF, at
    return value, -1


@njit(cache=True)
def decode_indices(stream, at, end, indices):
    """Decode a sequence of indices that need not be triangles (mode 2)."""
    last = np.zeros(2, np.int64)
    for k in range(len(indices)):
        value, at = read_varint(stream, at, end)
        if at < 0:
            return -1
        delta = value >> 2
        last[value & 1] += ~delta if value & 2 else delta
        indices[k] = last[value & 1] & 0xFFFFFFFF
    return at


@njit(cache=True)
def decode_triangles(stream, at, end, triangles):
    """Decode a list of triangles (mode 1). The last 16 bytes after `end` are the table of frequent codes."""
    edges, edge_count = np.zeros((16, 2), np.int64), 0
    recent, recent_count = np.zeros(16, np.int64), 0
    fresh, last = np.int64(0), np.int64(0)
    corner = np.zeros(3, np.int64)
    kinds = np.zeros(3, np.int64)
    is_new = np.zeros(3, np.bool_)
    codes = at
    at += len(triangles)
    if at > end:
        return -1
    for t in range(len(triangles)):
        code = stream[codes + t]
        high, low = code >> 4, code & 15
        if high < 15:
            corner[0], corner[1] = edges[(edge_count - 1 - high) & 15]
            is_new[0] = is_new[1] = False
            is_new[2] = low == 0 or low > 12
            if low == 0:
                corner[2] = fresh
                fresh += 1
            elif low < 13:
                corner[2] = recent[(recent_count - 1 - low) & 15]
            else:
                if low < 15:
                    last += -1 if low == 13 else 1
                else:
                    value, at = read_varint(stream, at, end)
                    if at < 0:
                        return -1
                    last += ~(value >> 1) if value & 1 else value >> 1
                corner[2] = last
        else:
            if low < 14:
                table = stream[end + low]
            else:
                if at >= end:
                    return -1
                table = stream[at]
                at += 1
                if table == 0:
                    fresh = 0
            # How each corner is coded: 0 the next new vertex, 15 a difference, else a recent vertex.
            kinds[0], kinds[1], kinds[2] = 15 if low == 15 else 0, table >> 4, table & 15
            for k, kind in enumerate(kinds):
                is_new[k] = kind == 0 or kind == 15
                if kind == 0:
                    corner[k] = fresh
                    fresh += 1
                elif kind < 15:
                    corner[k] = recent[(recent_count - kind) & 15]
                else:
                    value, at = read_varint(stream, at, end)
                    if at < 0:
                        return -1
                    last += ~(value >> 1) if value & 1 else value >> 1
                    corner[k] = last
            edges[edge_count & 15, 0], edges[edge_count & 15, 1] = corner[1], corner[0]
            edge_count += 1
        for first, second in ((2, 1), (0, 2)):
            edges[edge_count & 15, 0], edges[edge_count & 15, 1] = corner[first], corner[second]
            edge_count += 1
        for k in range(3):
            if is_new[k]:
                recent[recent_count & 15] = corner[k]
                recent_count += 1
            triangles[t, k] = corner[k] & 0xFFFFFFFF
    return at
