"""Students that nobody trained, in integers and in C: their instructions do not depend on what they would have learned.

So a layout is measured before it is trained, and beside other generators' C for the very same network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from benchmarks.emulated.devices import Answer
from export.c.description import describe
from export.c.writing import sources
from export.calibration import observe
from export.graph.integer import integer_graph
from export.ladder import session_answer
from export.precision import usual_bits
from students.quantised import QuantisedVgg
from students.wav2small import Vgg7


@torch.no_grad()
def settled(network: Vgg7, signal: np.ndarray) -> Vgg7:
    """The network with batch norms that have seen a clip, float32 [samples]: no layer's levels run away."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    network.train()(torch.from_numpy(signal)[None])
    return network.eval()


def write_c(network: Vgg7, signal: np.ndarray, folder: Path) -> Answer:
    """Write a network in C into `folder`, and give what answers as it should: the ONNX file of the same integers."""
    integers = QuantisedVgg(network, usual_bits(network), observe(network, [signal])).eval()
    folder.mkdir(exist_ok=True)
    for name, text in sources(describe(integers)).items():
        (folder / name).write_text(text)
    model = folder / "student.onnx"
    onnx.save(integer_graph(integers), str(model))
    return session_answer(model)
