"""Static quantisation to int8: the trunk in integers, the front-end in float, calibrated on the run's own clips."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from distill.student import INPUT
from students.network import Quantisation

#: Operators that onnxruntime runs in integers. With the ReLU among them a convolution is rounded after it, not before.
#: The softmax, the sum over time and the head stay in float: rounded answers would be clipped to what was calibrated.
_INTEGER = ["Conv", "Relu", "MatMul", "MaxPool"]


#: A clip unlike those of the calibration reaches further than they did, and is cut off there. One of 16 bits is well
#: spent on twice the range; of 8 none can be spared.
HEADROOM = 2.0

#: What the layers hand on, by its bits.
_ACTIVATIONS = {8: QuantType.QUInt8, 16: QuantType.QUInt16}


def write_int8(
    float_path: Path, path: Path, clips: Sequence[np.ndarray], quantisation: Quantisation, *, activation_bits: int = 8
) -> None:
    """Quantise an exported student (QDQ; weights int8 per channel, activations unsigned).

    clips: float32 [samples] each, what the ranges are read off. quantisation: what the student's layout asks for.
    """
    model = onnx.load(float_path)
    by_extremes = quantisation.percentile is None or activation_bits == 16  # these have bits for far values too
    with _quietly():
        quantize_static(
            float_path,
            path,
            _Reader(clips if by_extremes else of_one_length(clips)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_INTEGER,
            nodes_to_exclude=[*front_end(model), *within(model, quantisation.float_modules)],
            per_channel=True,
            activation_type=_ACTIVATIONS[activation_bits],
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax if by_extremes else CalibrationMethod.Percentile,
            extra_options={
                "QuantizeBias": activation_bits == 8,  # its scale follows the activation's, which `_widen` changes
                **({} if by_extremes else {"CalibPercentile": quantisation.percentile}),
            },
        )
    if activation_bits == 16:
        _widen(path)


def front_end(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes up to the log-mel: power spans ten orders of magnitude, which no 8 bits hold."""
    nodes = list(model.graph.node)
    last = max(index for index, node in enumerate(nodes) if "/frontend/" in node.name)
    return [node.name for node in nodes[: last + 1]]


def within(model: onnx.ModelProto, modules: Sequence[str]) -> list[str]:
    """Names of the nodes that stand in modules of these names; the exporter by tracing names a node by its place.

    >>> node = onnx.helper.make_node("Add", ["a", "b"], ["c"], name="/frontend/mel/Add")
    >>> within(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])), ["frontend"])
    ['/frontend/mel/Add']
    """
    return [node.name for node in model.graph.node if set(node.name.split("/")) & set(modules)]


def _widen(path: Path) -> None:
    """Make every activation's range wider by `HEADROOM`: the zero point stays, the step grows."""
    model = onnx.load(path)
    steps = {node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in model.graph.initializer:
        if tensor.name in steps:
            wider = onnx.numpy_helper.to_array(tensor) * np.float32(HEADROOM)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wider, tensor.name))
    onnx.save(model, path)


def of_one_length(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The clips, one after the other, cut into pieces of one length, the middle one of theirs: float32 [samples] each.

    onnxruntime collects histograms from arrays of one shape only.

    >>> [len(piece) for piece in of_one_length([np.zeros(3), np.zeros(4), np.zeros(6)])]
    [4, 4, 4]
    """
    length = sorted(len(clip) for clip in clips)[len(clips) // 2]
    joined = np.concatenate(clips)
    return [joined[start : start + length] for start in range(0, len(joined) - length + 1, length)]


@contextmanager
def _quietly() -> Iterator[None]:
    """The quantiser advises, by the root logger, a pre-processing that is already done, and prints its progress."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):  # a command's own output has to stay one JSON object
            yield
    finally:
        logger.setLevel(level)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, clips: Sequence[np.ndarray]) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = iter([{INPUT: clip[None]} for clip in clips])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)
