"""ONNX files written field by field (onnx.proto), so that tests of classifiers need no converter."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, values: np.ndarray) -> bytes:
    kind = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}[values.dtype]
    return (
        b"".join(_number(1, size) for size in values.shape)
        + _number(2, kind)
        + _bytes(8, name)
        + _bytes(9, values.tobytes())
    )


def _value(name: str, kind: int, dims: tuple[str, ...]) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, dim)) for dim in dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def _node(kind: str, inputs: list[str], output: str, attributes: bytes = b"", domain: str = "") -> bytes:
    return (
        b"".join(_bytes(1, name) for name in inputs)
        + _bytes(2, output)
        + _bytes(4, kind)
        + attributes
        + _bytes(7, domain)
    )


def _model(nodes: list[bytes], tensors: list[bytes], inputs: list[bytes], output: bytes) -> bytes:
    graph = (
        b"".join(_bytes(1, node) for node in nodes) + _bytes(2, "g") + b"".join(_bytes(5, tensor) for tensor in tensors)
    )
    graph += b"".join(_bytes(11, item) for item in inputs) + _bytes(12, output)
    versions = _bytes(8, _bytes(1, "") + _number(2, 13)) + _bytes(8, _bytes(1, "ai.onnx.ml") + _number(2, 2))
    return _number(1, 8) + _bytes(7, graph) + versions


def write_bag_of_words(path: Path, weights: np.ndarray) -> None:
    """Logits [N, 2] = sum over tokens of weights [V, 2]; inputs input_ids and attention_mask, int64 [N, L]."""
    keepdims = _bytes(5, _bytes(1, "keepdims") + _number(3, 0) + _number(20, 2))
    nodes = [
        _node("Gather", ["weights", "input_ids"], "rows"),
        _node("Cast", ["attention_mask"], "mask", _bytes(5, _bytes(1, "to") + _number(3, 1) + _number(20, 2))),
        _node("Unsqueeze", ["mask", "last"], "column"),
        _node("Mul", ["rows", "column"], "kept"),
        _node("ReduceSum", ["kept", "middle"], "logits", keepdims),
    ]
    tensors = [
        _tensor("weights", weights.astype(np.float32)),
        _tensor("last", np.asarray([2], np.int64)),
        _tensor("middle", np.asarray([1], np.int64)),
    ]
    inputs = [_value(name, 7, ("n", "l")) for name in ("input_ids", "attention_mask")]
    path.write_bytes(_model(nodes, tensors, inputs, _value("logits", 1, ("n", "two"))))


def write_phrase_table(path: Path, scores: dict[str, float]) -> None:
    """Scores [N, 1] of whole texts, 0 for others; one input, strings [N, 1]."""
    keys = b"".join(_bytes(9, key) for key in scores)
    values = b"".join(_varint(7 << 3 | 5) + struct.pack("<f", value) for value in scores.values())
    attributes = _bytes(5, _bytes(1, "keys_strings") + keys + _number(20, 8))
    attributes += _bytes(5, _bytes(1, "values_floats") + values + _number(20, 6))
    default = _bytes(1, "default_float") + _varint(2 << 3 | 5) + struct.pack("<f", 0.0) + _number(20, 1)
    node = _node("LabelEncoder", ["text"], "score", attributes + _bytes(5, default), "ai.onnx.ml")
    path.write_bytes(_model([node], [], [_value("text", 8, ("n", "one"))], _value("score", 1, ("n", "one"))))
