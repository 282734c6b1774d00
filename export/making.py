"""The files of an export, one a rung of the ladder: as torch writes it, folded, quantised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from distill.progress import say
from export.card import metadata, metadata_bytes
from export.graph.integer import integer_graph
from export.graph.passes import frontend_made, without_names
from export.graph.vgg import float_graph
from export.graph.writer import OLDEST_RUNTIME
from export.int8 import write_int8
from export.ladder import Ladder, Rung, scores, session_answer
from export.onnx import write_float, write_metadata
from export.precision import bits_within, smallest, told_bits, usual_bits
from export.quantising import quantised
from export.source import Source
from students.quantised import Bits, QuantisedVgg
from students.streaming import is_causal
from students.wav2small import Vgg7

#: What the file says of itself, by the bits of its activations.
PRECISIONS = {8: "int8", 16: "int8 weights, 16-bit activations"}

#: That of a Wav2Small with weights of fewer bits.
FEW_BITS = "int8, weights of 2 to 8 bits"

#: Bytes of the smallest file of a Wav2Small, at most.
SMALLEST = 28_000

#: What is known of graphs that are written node by node.
_TRIED = {"oldest_runtime": OLDEST_RUNTIME}


class Made(NamedTuple):
    """A file that may be put in place: what it says of itself, and how it stands to torch. step: the graph that answers
    token by token, of a student that is causal (`export.stepping`). integers: those in it, where it is made of them."""

    path: Path
    data: dict[str, Any]
    rung: Rung
    step: onnx.ModelProto | None = None
    integers: QuantisedVgg | None = None


class Asked(NamedTuple):
    """What kind of file: float where nothing is true. budget: bytes of the file."""

    int8: bool = False
    smallest: bool = False
    budget: int | None = None

    @property
    def quantised(self) -> bool:
        """Whether clips to calibrate with are needed."""
        return self.int8 or self.smallest or self.budget is not None


def files(source: Source, asked: Asked, folder: Path, ladder: Ladder) -> Iterator[Made]:
    """One file a rung, from the lowest on; each is made when the one before it holds."""
    yield (plain := _float(source, folder, ladder))
    yield _folded(source, plain, ladder)
    if asked.quantised:
        vgg = isinstance(source.student, Vgg7)
        yield _in_integers(source, asked, plain, ladder) if vgg else _quantised(source, plain, ladder)


def _float(source: Source, folder: Path, ladder: Ladder) -> Made:
    """As torch's own exporter writes it."""
    path, data = folder / "float.onnx", metadata(source.config, "float32")
    write_float(source.network, path)
    return Made(path, data, ladder.rung("onnx float", session_answer(path)))


def _folded(source: Source, plain: Made, ladder: Ladder) -> Made:
    """Without the bytes and the time that can be spared."""
    path, known, step, student = plain.path.with_name("folded.onnx"), {}, None, source.student
    if isinstance(student, Vgg7):
        model, known = float_graph(student, source.network.unanswered), _TRIED
        step = float_graph(student, source.network.unanswered, step=True) if is_causal(student) else None
    else:
        model = without_names(frontend_made(onnx.load(plain.path), student.frontend))
    onnx.save(model, path)
    write_metadata(path, plain.data)
    return Made(path, {**plain.data, **known}, ladder.rung("onnx folded", session_answer(path)), step)


def _in_integers(source: Source, asked: Asked, plain: Made, ladder: Ladder) -> Made:
    """The network in integers, as a graph of its own."""
    student, clips = source.student, [clip.signal for clip in source.calibration]
    assert isinstance(student, Vgg7)
    path, few = plain.path.with_name("int8.onnx"), {**plain.data, "precision": FEW_BITS}
    bits, rows = _bits(student, clips, [*source.more, *clips], asked, metadata_bytes(few))
    network = quantised(student, clips, bits, rows=rows, more=source.more)
    onnx.save(integer_graph(network, source.network.unanswered), path)
    data = few if asked.smallest or asked.budget is not None else {**plain.data, "precision": PRECISIONS[8]}
    write_metadata(path, data)
    step = integer_graph(network, source.network.unanswered, step=True) if is_causal(student) else None
    known = {**data, **_TRIED, "bits": told_bits(bits)}
    return Made(path, known, ladder.rung("onnx int8", session_answer(path)), step, network)


def _bits(
    student: Vgg7, clips: Sequence[np.ndarray], heard: Sequence[np.ndarray], asked: Asked, metadata: int
) -> tuple[Mapping[str, Bits], Sequence[int] | None]:
    """Of every layer, and the rows of lin and sof that are kept. metadata: its bytes."""
    if asked.smallest:
        return smallest(student, heard, SMALLEST - metadata)
    if asked.budget is not None:
        return bits_within(student, clips, asked.budget - metadata), None
    return usual_bits(student), None


def _quantised(source: Source, plain: Made, ladder: Ladder) -> Made:
    """The file with the fewest bits of activations that holds, else with the most."""
    clips = [clip.signal for clip in source.calibration]
    for bits in source.quantisation.activation_bits:
        path, data = plain.path.with_name(f"int8-{bits}.onnx"), {**plain.data, "precision": PRECISIONS[bits]}
        write_int8(plain.path, path, clips, source.quantisation, activation_bits=bits)
        onnx.save(without_names(frontend_made(onnx.load(path), source.student.frontend)), path)
        write_metadata(path, data)
        rung = ladder.rung("onnx int8", session_answer(path))
        if rung.passed:
            break
        say(f"{bits}-bit activations do not hold: off by {rung.max_abs:.3g}, CCC with torch {scores(rung.ccc)}")
    return Made(path, data, rung)
