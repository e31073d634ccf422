"""Quantize the linear layers of an OpenVINO graph to 8-bit integers, without calibration texts and without torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

_GROUP = 32
"""Inputs of a layer that share a scale, per token."""

_ZERO, _MAX = 128, 127
"""Weights are unsigned, because instructions that multiply 8-bit integers require it."""


def quantize(graph: Any) -> dict[str, Any]:  # noqa: ANN401 - OpenVINO has no types
    """Replace the weights of all linear layers by 8-bit integers with one scale per output.

    Args:
        graph: An `openvino.Model`, changed in place.

    Returns:
        Settings that make OpenVINO also quantize the inputs of these layers, so that it multiplies integers.
    """
    ops = import_module("openvino.opset13")
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not node.get_attributes()["transpose_b"]:
            continue
        source = node.input_value(1).get_node()
        if source.get_type_name() != "Constant" or len(source.get_output_shape(0)) != 2:
            continue
        weights = source.get_data()
        scales = np.maximum(np.abs(weights).max(axis=1, keepdims=True) / _MAX, np.finfo(np.float32).tiny)
        rounded = (np.rint(weights / scales) + _ZERO).astype(np.uint8)
        zero = ops.convert(ops.constant(np.full((1, 1), _ZERO, np.uint8)), "f32")
        centred = ops.subtract(ops.convert(ops.constant(rounded), "f32"), zero)
        node.input(1).replace_source_output(ops.multiply(centred, ops.constant(scales)).output(0))
    return {"DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP}
