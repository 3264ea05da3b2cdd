"""Decompress buffer views of KHR_meshopt_compression and EXT_meshopt_compression.

No package on PyPI decodes all modes and filters, so the decoder is written here after the specification.

Reference: KHR_meshopt_compression, appendices A (bit streams) and B (filters).
"""

from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from sdfkit.wording import counted


def decode_view(content: memoryview, packed: dict[str, Any]) -> bytes:
    """Decompress one buffer view.

    Args:
        content: The compressed bytes.
        packed: The JSON of the extension: `count`, `byteStride`, `mode` and `filter`.

    Raises:
        ValueError: The stream is damaged or does not have `count` elements.
    """
    count, stride, mode = packed["count"], packed["byteStride"], packed["mode"]
    if type(count) is not int or type(stride) is not int or count < 0:
        raise ValueError("a compressed view has no count")
    stream = np.frombuffer(content, np.uint8)
    if mode == "ATTRIBUTES":
        if not (0 < stride <= 256 and stride % 4 == 0):
            raise ValueError(f"elements of {counted(stride, 'byte')} in a compressed view")
        return _filter(_decode_attributes(stream, count, stride), packed.get("filter", "NONE")).tobytes()
    if stride not in (2, 4):
        raise ValueError(f"indices of {counted(stride, 'byte')} in a compressed view")
    from sdfkit.io.meshes.formats.gltf.meshopt_kernels import decode_indices, decode_triangles

    # Every triangle and every single index takes at least a byte, so memory is bounded by the size of the stream.
    if mode == "TRIANGLES" and count % 3 == 0 and count // 3 <= len(stream):
        head, tail, width, decode = 0xE1, 16, 3, decode_triangles
    elif mode == "INDICES" and count <= len(stream):
        head, tail, width, decode = 0xD1, 4, 1, decode_indices
    else:
        raise ValueError(f"a compressed view has not {count} indices")
    indices = np.zeros((count // width, width), np.uint32)
    _check(stream, head, 1 + tail)
    end = len(stream) - tail
    if decode(stream, 1, end, indices if width == 3 else indices[:, 0]) != end:
        raise ValueError(f"a compressed view has not {count} indices")
    return indices.astype(f"<u{stride}").tobytes()


def _check(stream: UInt8[np.ndarray, " byte"], head: int, least: int) -> None:
    if len(stream) < least or stream[0] != head:
        raise ValueError("a compressed view is truncated or of an unknown version")


def _decode_attributes(
    stream: UInt8[np.ndarray, " byte"], count: int, stride: int
) -> UInt8[np.ndarray, "{count} {stride}"]:
    from sdfkit.io.meshes.formats.gltf.meshopt_kernels import unpack_deltas

    version = int(stream[0] & 15) if len(stream) else 0
    channels = stride // 4
    tail = max(stride + channels, 24) if version else max(stride, 32)
    _check(stream, 0xA0 + min(version, 1), 1 + tail)
    end = len(stream) - tail
    block = min((8192 // stride) & ~15, 256)
    # Every block has its headers, so memory is bounded by the size of the stream.
    if -(-count // block) * channels > end:
        raise ValueError(f"a compressed view has not {count} elements")
    deltas = np.zeros((count, stride), np.uint8)
    if unpack_deltas(stream, 1, end, version, block, deltas) != end:
        raise ValueError(f"a compressed view has not {count} elements")
    modes = stream[len(stream) - channels :] if version else np.zeros(channels, np.uint8)
    base = stream[len(stream) - stride - channels * version :][:stride]
    decoded = np.empty_like(deltas)
    for channel in range(channels):
        part = slice(4 * channel, 4 * channel + 4)
        mode, turn = modes[channel] & 15, modes[channel] >> 4
        if mode > 2 or (mode < 2 and turn):
            raise ValueError(f"a compressed bufferView has the unknown channel mode {modes[channel]}")
        kind = ("u1", "<u2", "<u4")[mode]
        values = np.concatenate([base[None, part], deltas[:, part]]).view(kind)
        steps = values[1:]
        if mode == 2:
            # The encoder rotated to the left by `turn` bits.
            steps[:] = (steps >> turn) | (steps << ((32 - turn) & 31))
            values = np.bitwise_xor.accumulate(values, axis=0)
        else:
            steps[:] = (steps >> 1) ^ (np.zeros(1, kind) - (steps & 1))
            values = np.cumsum(values, axis=0, dtype=kind)
        decoded[:, part] = values[1:].view(np.uint8)
    return decoded


def _filter(elements: UInt8[np.ndarray, "element byte"], kind: str) -> Shaped[np.ndarray, "element _"]:
    """Undo the filter of an attribute."""
    stride = elements.shape[1]
    if kind == "NONE":
        return elements
    if kind == "EXPONENTIAL":
        packed = elements.view("<i4")
        numbers: np.ndarray = np.ldexp(((packed << 8) >> 8).astype("<f4"), packed >> 24)
        return numbers
    if stride not in ((8,) if kind == "QUATERNION" else (4, 8)):
        raise ValueError(f"the filter {kind} with elements of {counted(stride, 'byte')}")
    integers = elements.view(f"<i{stride // 4}")
    if kind == "OCTAHEDRAL":
        return _decode_octahedral(integers)
    if kind == "QUATERNION":
        return _decode_quaternions(integers)
    if kind == "COLOR":
        return _decode_colours(elements.view(f"<u{stride // 4}"), integers)
    raise ValueError(f"the filter {kind} is unknown")


def _round(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Round to integers, halves away from zero; values that are not numbers become 0."""
    whole: np.ndarray = np.nan_to_num(np.trunc(values + np.copysign(0.5, values))).astype(kind)
    return whole


def _decode_octahedral(packed: Shaped[np.ndarray, "element 4"]) -> Shaped[np.ndarray, "element 4"]:
    unit = packed[:, :3].astype(np.float32)
    xy = unit[:, :2] / unit[:, 2:]
    z = 1 - np.abs(xy).sum(axis=1, keepdims=True)
    vector = np.concatenate([xy - np.copysign(np.minimum(z, 0), xy), z], axis=1)
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    whole = _round(vector * np.iinfo(packed.dtype).max, packed.dtype)
    return np.concatenate([whole, packed[:, 3:]], axis=1)


def _decode_quaternions(packed: Shaped[np.ndarray, "element 4"]) -> Shaped[np.ndarray, "element 4"]:
    largest = packed[:, 3:] & 3
    shortened = packed[:, :3] / (packed[:, 3:] | 3).astype(np.float32) * np.sqrt(0.5)
    rest = np.sqrt(np.maximum(0, 1 - (shortened**2).sum(axis=1, keepdims=True)))
    whole = _round(np.concatenate([rest, shortened], axis=1) * 32767, packed.dtype)
    unpacked = np.empty_like(whole)
    np.put_along_axis(unpacked, (largest + np.arange(4)) % 4, whole, axis=1)
    return unpacked


def _decode_colours(
    packed: Shaped[np.ndarray, "element 4"], signed: Shaped[np.ndarray, "element 4"]
) -> Shaped[np.ndarray, "element 4"]:
    """Convert from YCoCg. The highest bit of alpha marks the number of bits of all four."""
    luma, orange, green = packed[:, 0].astype(int), signed[:, 1].astype(int), signed[:, 2].astype(int)
    alpha = packed[:, 3].astype(int)
    scale = (1 << np.frexp(alpha)[1]) - 1
    alpha &= scale >> 1
    alpha = (alpha << 1) | (alpha & 1)
    colours = np.stack([luma + orange - green, luma + green, luma - orange - green, alpha], axis=1)
    largest = np.iinfo(packed.dtype).max
    whole = _round(colours * (largest / np.maximum(scale, 1)[:, None]), np.dtype(int))
    clipped: np.ndarray = np.clip(whole, 0, largest).astype(packed.dtype)
    return clipped
