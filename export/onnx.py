"""A student as one ONNX graph, from raw PCM to A/D/V, any batch and any length."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from distill.student import INPUT, OUTPUT
from export.graph.writer import OPSET


class Answering(nn.Module):
    """A student that says NaN on the axes nobody taught it."""

    lacking: Tensor

    def __init__(self, student: nn.Module, axes: Sequence[str]) -> None:
        super().__init__()
        self.student = student
        self.complete = tuple(axes) == AXES
        self.register_buffer("lacking", torch.tensor([0.0 if axis in axes else float("nan") for axis in AXES]))

    @property
    def unanswered(self) -> np.ndarray | None:
        """What makes an answer NaN on the axes that lack, [3]; None where none does."""
        return None if self.complete else self.lacking.numpy()

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
        # What it does not fold, the passes after it do; the ladder compares them all.
        warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)
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


def set_metadata(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> None:
    """The fields in place of those that there were."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()})


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Put `metadata` into an ONNX file, every value as JSON text, and check the file."""
    model = onnx.load(path)
    set_metadata(model, metadata)
    model.producer_name = "distill"
    model.ClearField("producer_version")
    onnx.checker.check_model(model)
    onnx.save(model, path)
