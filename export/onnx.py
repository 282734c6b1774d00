"""A student as one ONNX graph, from raw PCM to A/D/V, any batch and any length."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from distill.student import INPUT, OUTPUT

#: Operators up to this set run on every onnxruntime since 1.14 (2023).
OPSET = 17


class Answering(nn.Module):
    """A student that says NaN on the axes nobody taught it."""

    lacking: Tensor

    def __init__(self, student: nn.Module, axes: Sequence[str]) -> None:
        super().__init__()
        self.student = student
        self.complete = tuple(axes) == AXES
        self.register_buffer("lacking", torch.tensor([0.0 if axis in axes else float("nan") for axis in AXES]))

    def forward(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, 3]."""
        adv: Tensor = self.student(pcm)
        return adv if self.complete else adv + self.lacking


def write_float(network: nn.Module, path: Path) -> None:
    """Export in float32 with batch norm folded into the convolutions; batch and samples stay free."""
    with warnings.catch_warnings():
        # The exporter by tracing folds batch norm and needs no further package; the pinned torch range has it.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.onnx.export(
            network.eval().cpu(),
            (torch.randn(2, SAMPLING_RATE),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch", 1: "samples"}, OUTPUT: {0: "batch"}},
        )


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Put `metadata` into an ONNX file, every value as JSON text, and check the file."""
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()})
    model.producer_name = "distill"
    onnx.checker.check_model(model)
    onnx.save(model, path)
