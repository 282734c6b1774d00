"""Static quantisation to int8: the trunk in integers, the front-end in float, calibrated on the run's own clips."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from distill.student import INPUT

#: Operators that onnxruntime runs in integers. With the ReLU among them a convolution is rounded after it, not before.
#: The softmax, the sum over time and the head stay in float: rounded answers would be clipped to what was calibrated.
_INTEGER = ["Conv", "Relu", "MatMul", "MaxPool"]


def write_int8(float_path: Path, path: Path, clips: Sequence[np.ndarray]) -> None:
    """Quantise an exported student (QDQ; weights int8 per channel, activations uint8 by the extremes they reach).

    clips: float32 [samples] each, what the ranges are read off.
    """
    with _quiet_root_logger():
        quantize_static(
            float_path,
            path,
            _Reader(clips),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_INTEGER,
            nodes_to_exclude=front_end(onnx.load(float_path)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def front_end(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes up to the log-mel: power spans ten orders of magnitude, which no 8 bits hold."""
    nodes = list(model.graph.node)
    last = max(index for index, node in enumerate(nodes) if "/frontend/" in node.name)
    return [node.name for node in nodes[: last + 1]]


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """The quantiser advises, by the root logger, a pre-processing that is already done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, clips: Sequence[np.ndarray]) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = iter([{INPUT: clip[None]} for clip in clips])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)
