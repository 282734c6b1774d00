"""Wav2Small's trunk, from log-mel to answers, as the files that other generators take."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from students.wav2small import CHANNELS, Wav2Small, through

#: Which layers the integers reach: those that the format has a form of that is not one runtime's own.
_IN_INTEGERS = ["Conv", "MatMul", "MaxPool", "Transpose", "Reshape", "Relu"]

#: Clips that the ranges are read off.
_CALIBRATION = 4

INPUT, OUTPUT = "mel", "adv"


class Trunk(nn.Module):
    """Everything behind the front-end. tokens: how many there are, a whole number in the file as generators want it."""

    def __init__(self, network: Wav2Small, tokens: int) -> None:
        super().__init__()
        self.network, self.tokens = network, tokens

    def forward(self, mel: Tensor) -> Tensor:
        """mel: float32 [1, 1, frames, bands] -> float32 [1, 3]."""
        network = self.network
        x = through(network.coarse, network.pool(through(network.fine, mel, None)), None)
        tokens = x.transpose(1, 2).reshape(1, self.tokens, CHANNELS * network.bands)
        answer: Tensor = network.head(network.attention(tokens, None))
        return answer


def write_float(network: Wav2Small, mel: np.ndarray, path: Path) -> None:
    """The trunk as an ONNX file of floats, for log-mel of just this shape [1, 1, frames, bands]."""
    trunk = Trunk(network, (mel.shape[2] + 1) // 2).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(trunk, (torch.from_numpy(mel),), str(path), input_names=[INPUT], output_names=[OUTPUT],
                          opset_version=17, dynamo=False)  # fmt: skip


def write_integer(floats: Path, mel: np.ndarray, path: Path) -> None:
    """The same in integers of 8 bits, as operators that multiply integers (QOperator). Levels without a sign by weights
    with one are what emx-onnx-cgen takes the fewest instructions for."""
    prepared = path.with_name(f"prepared-{path.name}")
    quant_pre_process(str(floats), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(path), _Clips(mel.shape), quant_format=QuantFormat.QOperator,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=_IN_INTEGERS,
    )  # fmt: skip
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(str(path))), str(path))


class _Clips(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, shape: tuple[int, ...]) -> None:
        self._left = self._drawn(shape)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)

    @staticmethod
    def _drawn(shape: tuple[int, ...]) -> Iterator[dict[str, np.ndarray]]:
        for number in range(_CALIBRATION):
            yield {INPUT: np.random.default_rng(number).normal(size=shape).astype(np.float32)}
