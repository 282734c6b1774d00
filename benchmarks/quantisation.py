"""Ways to quantise one trained student, side by side: bytes, latency taking turns, agreement with the float network."""

from __future__ import annotations

import copy
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor

from benchmarks.latency import WARMUP, noise
from benchmarks.machine import describe
from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import plain, reject_no_json, write_json
from distill.metrics import answered, ccc
from distill.progress import Progress
from distill.student import INPUT, OUTPUT, open_session
from export.calibration import METHODS
from export.graph.integer import integer_graph
from export.graph.vgg import float_graph
from export.int8 import ClipReader, quietly, write_int8
from export.ladder import torch_answer
from export.making import SMALLEST as SMALLEST_BYTES
from export.onnx import write_float
from export.precision import smallest as smallest_bits
from export.precision import usual_bits
from export.quantising import CALIBRATION, quantised
from export.rounding import to_nearest
from export.source import Audio, Source, open_source
from students.quantised import QuantisedVgg, folded
from students.wav2small import ConvBlock, Vgg7

#: What the others are compared with in time: the fastest float file, and the recipe that one meets first.
FLOAT, STATIC = "folded float", "quantize_static, defaults"

#: Pairs of layers are evened out again and again, since each has two neighbours.
_EQUALISED_TIMES = 10

#: What the weights [outputs, inputs, 3, 3] are compared over for each channel behind a convolution, and before it.
_BY_OUTPUT, _BY_INPUT = (1, 2, 3), (0, 2, 3)

#: The one that takes minutes; and what of its bytes is left to metadata, which none of these files has.
SMALLEST, METADATA = "ours (--smallest)", 1_300

#: That of which all others are made: torch's own export.
EXPORTED = "torch's export"


class _Maker(NamedTuple):
    """Makes the files: source, and where torch's export lies."""

    source: Source
    student: Vgg7
    exported: Path

    @property
    def clips(self) -> list[np.ndarray]:
        return [clip.signal for clip in self.source.calibration]


def benchmark_quantisation(
    run: str | Path, *, audio: str | Path | None = None, seconds: float = 5.0, rounds: int = 30, tune: bool = True,
    smallest: str | Path | None = None, output: str | Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Quantise a Wav2Small in every way of `WAYS`, and compare them on its held-out clips, on one thread.

    run: whatever `distill export` takes. audio: more recordings, as of `distill export`. seconds: of the clip that is
    timed, noise. tune: also the smallest file, which takes minutes. smallest: that file as `distill export --smallest`
    wrote it of this student, not made again. output: JSON to write the result to.

    Returns {machine, seconds, rounds, clips, ways}. ways: {name: {bytes, ccc: {axis: with torch}, max_abs, wall and
    processor: {ms, to_float (ratio to the fastest float file), to_static}, failed (why there is no such file)}}.

    Raises:
        DistillError: a run of another student.
    """
    if output is not None:
        reject_no_json(Path(output))
    source = open_source(Path(run), int8=True, audio=None if audio is None else Audio(Path(audio)))
    if not isinstance(source.student, Vgg7):
        raise DistillError(f"{source.config['arch']}: only Wav2Small is quantised in all these ways")
    with tempfile.TemporaryDirectory() as folder:
        files, failed = _files(source, source.student, Path(folder), tune=tune and smallest is None)
        if smallest is not None:
            files[SMALLEST] = Path(smallest)
        agreement = _agreement(source, files)
        times = _times({name: open_session(path, 1) for name, path in files.items()}, seconds, rounds)
        sizes = {name: path.stat().st_size for name, path in files.items()}
    found = {name: {"bytes": sizes[name], **agreement[name], **_ratios(times, name)} for name in files}
    result = {
        "machine": describe(), "seconds": seconds, "rounds": rounds, "clips": len(source.held_out),
        "ways": {**found, **{name: {"failed": why} for name, why in failed.items()}},
    }  # fmt: skip
    if output is not None:
        write_json(Path(output), result)
    return dict(plain(result))


def _files(source: Source, student: Vgg7, folder: Path, *, tune: bool) -> tuple[dict[str, Path], dict[str, str]]:
    """The files that could be made, and why others could not."""
    files, failed = {EXPORTED: folder / "0.onnx"}, {}
    write_float(source.network, files[EXPORTED])
    maker = _Maker(source, student, files[EXPORTED])
    for number, (name, make) in enumerate(_ways(tune=tune).items(), 1):
        path = folder / f"{number}.onnx"
        try:
            make(maker, path)
            open_session(path, 1)
            files[name] = path
        except Exception as error:  # onnxruntime's own quantisers raise what they like
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return files, failed


def _ways(*, tune: bool) -> dict[str, Callable[[_Maker, Path], None]]:
    ours = {f"ours, ranges by {method}": _ours(method=method) for method in METHODS if method != CALIBRATION}
    return {
        FLOAT: _folded, "float16": _float16, "quantize_dynamic": _dynamic, STATIC: _static,
        "quantize_static, per channel, front-end in float": _per_channel,
        **ours, "ours, 8 bits everywhere": _ours(bits=8), "ours, rounded to nearest": _ours(rounding=nearest),
        "ours, the head as it was": _ours(corrected=False), "ours, equalised across layers": _equalised,
        "ours (--int8)": _ours(),
        **({SMALLEST: _smallest} if tune else {}),
    }  # fmt: skip


def _folded(maker: _Maker, path: Path) -> None:
    onnx.save(float_graph(maker.student), path)


def _float16(maker: _Maker, path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(maker.exported), keep_io_types=True), path)


def _dynamic(maker: _Maker, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    with quietly():
        quantize_dynamic(maker.exported, path)


def _static(maker: _Maker, path: Path) -> None:
    from onnxruntime.quantization import quantize_static

    with quietly():
        quantize_static(maker.exported, path, ClipReader(maker.clips))


def _per_channel(maker: _Maker, path: Path) -> None:
    write_int8(maker.exported, path, maker.clips, maker.source.quantisation)


def _ours(*, bits: int | None = None, **changed: Any) -> Callable[[_Maker, Path], None]:
    """bits: of all layers. changed: of how `quantised` goes about it."""

    def make(maker: _Maker, path: Path) -> None:
        usual = usual_bits(maker.student)
        chosen = usual if bits is None else dict.fromkeys(usual, bits)
        network = quantised(maker.student, maker.clips, chosen, more=maker.source.more, **changed)
        onnx.save(integer_graph(network), path)

    return make


def nearest(network: QuantisedVgg, *_: object) -> None:
    """A rounding of `quantised` that fits nothing."""
    to_nearest(network)


def _equalised(maker: _Maker, path: Path) -> None:
    _ours()(maker._replace(student=equalised(maker.student)), path)


@torch.no_grad()
def equalised(student: Vgg7) -> Vgg7:
    """A copy that answers the same, in which each channel's weights reach as far behind a convolution as before the
    next: Nagel et al. (2019), "Data-Free Quantization Through Weight Equalization and Bias Correction", equation 11."""
    student = copy.deepcopy(student)
    blocks = [*student.fine, *student.coarse]
    for _ in range(_EQUALISED_TIMES):
        for block, following in pairwise(blocks):
            share = (_reach(block, _BY_OUTPUT) / _reach(following, _BY_INPUT)).sqrt()
            block.norm.weight.div_(share)
            block.norm.bias.div_(share)
            following.conv.weight.mul_(share[None, :, None, None])
    return student


def _reach(block: ConvBlock, dims: tuple[int, ...]) -> Tensor:
    """The largest of its weights along `dims`, with the batch norm folded in."""
    return folded(block)[0].abs().amax(dims)


def _smallest(maker: _Maker, path: Path) -> None:
    more = maker.source.more
    bits, rows = smallest_bits(maker.student, [*more, *maker.clips], SMALLEST_BYTES - METADATA)
    onnx.save(integer_graph(quantised(maker.student, maker.clips, bits, rows=rows, more=more)), path)


def _agreement(source: Source, files: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """With torch, on the held-out clips."""
    clips = [clip.signal[None] for clip in source.held_out]
    reference = torch_answer(source.network)
    expected = np.concatenate([reference(clip) for clip in clips])
    return {name: _agrees(path, clips, expected) for name, path in files.items()}


def _agrees(path: Path, clips: Sequence[np.ndarray], expected: np.ndarray) -> dict[str, Any]:
    session = open_session(path, 1)
    found = np.concatenate([session.run([OUTPUT], {INPUT: clip})[0] for clip in clips])
    scores = {axis: float(ccc(*sides)) for axis, sides in answered(found, expected).items()}
    return {"ccc": {axis: scores.get(axis) for axis in AXES}, "max_abs": float(np.nanmax(np.abs(found - expected)))}


def _times(sessions: dict[str, Any], seconds: float, rounds: int) -> dict[str, np.ndarray]:
    """Wall and processor time (ms) of every answer, [rounds, 2]; the sessions take turns, in an order drawn anew."""
    feed, dice = {INPUT: noise(seconds, seed=0)}, random.Random(0)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
    for session in sessions.values():
        for _ in range(WARMUP):
            session.run([OUTPUT], feed)
    with Progress("timing", rounds, "rounds") as bar:
        for _ in range(rounds):
            for name in dice.sample(list(sessions), len(sessions)):
                wall, processor = time.perf_counter(), time.thread_time()
                sessions[name].run([OUTPUT], feed)
                taken[name].append((1e3 * (time.perf_counter() - wall), 1e3 * (time.thread_time() - processor)))
            bar.advance()
    return {name: np.array(turns) for name, turns in taken.items()}


def _ratios(times: dict[str, np.ndarray], name: str) -> dict[str, dict[str, float]]:
    """Medians: of the times, and of the ratios round by round."""
    return {
        clock: {
            "ms": float(np.median(times[name][:, column])),
            **{key: float(np.median(times[name][:, column] / times[other][:, column]))
               for key, other in (("to_float", FLOAT), ("to_static", STATIC)) if other in times},
        }
        for column, clock in enumerate(("wall", "processor"))
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The ways as a Markdown table, as docs/exporting.md has it."""
    rows = [_row(name, way) for name, way in result["ways"].items() if "failed" not in way]
    lost = [f"{name}: not made ({way['failed']})" for name, way in result["ways"].items() if "failed" in way]
    head = ["| way | bytes | time to folded float | CCC with torch, A / D / V |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, *lost])


def _row(name: str, way: dict[str, Any]) -> str:
    scores = " / ".join("-" if score is None else f"{score:.4f}" for score in way["ccc"].values())
    return f"| {name} | {way['bytes']:,} | {way['processor']['to_float']:.2f} | {scores} |"
