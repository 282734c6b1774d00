"""A student as a LiteRT (TensorFlow Lite) file, for one length of clip, by the maintained converter from torch.

One length, because torch.export finds that the pooling over time asks for a multiple of 64 samples where the length is
free, and because interpreters on microcontrollers plan their memory once, for fixed shapes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from torch import nn

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError, first_line
from distill.files import sha256_of, whole
from export.ladder import Answer, Ladder, Rung, torch_answer
from export.making import PRECISIONS
from export.probes import CLIPS, synthetic_probes, varied
from export.source import Source
from students.network import SHORTEST_SECONDS

#: What takes the place of the student's suffix.
SUFFIX = ".tflite"

#: What is quantised: these operators, wherever they do not stand in the front-end and do not give the answer itself, as
#: in `export.int8`.
_INTEGER = (TFLOperationName.CONV_2D, TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.FULLY_CONNECTED)
_TRUNK = "^(?!.*(_frontend|_head|serving_default))"


class Lite(NamedTuple):
    """A file that is made: what it says of itself, its length of clip, and how it and what it came from stand to
    torch."""

    path: Path
    precision: str
    samples: int
    rungs: list[Rung]

    def as_dict(self) -> dict[str, Any]:
        """As the bundle's JSON has it."""
        made = {"bytes": self.path.stat().st_size, "sha256": sha256_of(self.path)}
        return {**made, "precision": self.precision, "seconds": self.samples / SAMPLING_RATE}

    def put_in_place(self, output: Path) -> None:
        """Put it beside the student `output`."""
        with whole(output.with_suffix(SUFFIX)) as beside:
            beside.write_bytes(self.path.read_bytes())


def make_tflite(source: Source, folder: Path, *, seconds: float, int8: bool = False) -> Lite:
    """Convert the student for clips of `seconds`, and compare it with torch on windows of the run's held-out clips.

    int8: quantise its trunk, calibrated on the run's training clips; with 16-bit activations where 8 bits do not hold.

    Raises:
        DistillError: too short for a student, or the converter cannot.
    """
    if seconds < SHORTEST_SECONDS:
        raise DistillError(f"--tflite {seconds:g}: a student needs at least {SHORTEST_SECONDS:g} s")
    path, samples = folder / f"student{SUFFIX}", round(seconds * SAMPLING_RATE)
    write_tflite(source.network, path, samples)
    signals = [clip.signal for clip in source.held_out] or [tried.signal for tried in synthetic_probes()]
    recordings = len({clip.file for clip in source.held_out})
    ladder = Ladder(torch_answer(source.network), varied(windows_of(signals, samples)), recordings=recordings)
    lite = Lite(path, "float32", samples, [ladder.rung("tflite", lite_answer(path))])
    return _quantised(lite, [clip.signal for clip in source.calibration], ladder) if int8 else lite


def _quantised(lite: Lite, clips: Sequence[np.ndarray], ladder: Ladder) -> Lite:
    """The file with the fewest bits that holds, else with the most."""
    for bits in PRECISIONS:
        path = lite.path.with_name(f"int8-{bits}{SUFFIX}")
        write_int8_tflite(lite.path, path, windows_of(clips, lite.samples), activation_bits=bits)
        rung = ladder.rung("tflite int8", lite_answer(path))
        if rung.passed:
            break
    return Lite(path, PRECISIONS[bits], lite.samples, [*lite.rungs, rung])


def write_tflite(network: nn.Module, path: Path, samples: int) -> None:
    """Convert a network from PCM [1, samples] to A/D/V [1, 3].

    Raises:
        DistillError: the converter cannot.
    """
    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # a command's own output stays one JSON object
        warnings.simplefilter("ignore")
        try:
            litert_torch.convert(network.eval().cpu(), (torch.zeros(1, samples),)).export(str(path))
        except Exception as error:  # torch.export, the converter and its passes each raise types of their own
            raise DistillError(f"LiteRT's converter cannot: {first_line(error)}") from None


def write_int8_tflite(float_path: Path, path: Path, clips: Sequence[np.ndarray], *, activation_bits: int) -> None:
    """Quantise statically: weights int8 per channel, activations of 8 or 16 bits between the operators of the trunk.

    clips: float32 [samples] each, of the file's one length: what the ranges are read off.
    """
    quantiser = Quantizer(str(float_path))
    for operator in _INTEGER:
        quantiser.add_static_config(_TRUNK, operator, activation_num_bits=activation_bits, weight_num_bits=8)
    (signature, (name,)) = next((key, value["inputs"]) for key, value in _signatures(float_path).items())
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        ranges = quantiser.calibrate({signature: [{name: clip[None]} for clip in clips]})
        quantiser.quantize(ranges).export_model(str(path), overwrite=True)


def _signatures(path: Path) -> dict[str, Any]:
    return dict(Interpreter(model_path=str(path)).get_signature_list())


def lite_answer(path: Path) -> Answer:
    """A flatbuffer, run by LiteRT's interpreter on one thread, as f(pcm [1, samples]) -> adv [1, 3]."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (pcm,), (adv,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(signal: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(pcm["index"], signal)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(adv["index"]))

    return answer


def windows_of(signals: Sequence[np.ndarray], samples: int) -> list[np.ndarray]:
    """The signals, one after the other, cut into up to `CLIPS` windows: float32 [samples] each, at least one."""
    joined = np.concatenate(signals).astype(np.float32)
    count = min(CLIPS, max(1, len(joined) // samples))
    return list(np.resize(joined, (count, samples)))
