"""Exporting: a run in, a bundle out (`student.onnx`, `student.json`), after every rung of the ladder has held."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from distill import runs
from distill.errors import DistillError
from distill.files import whole, write_json
from distill.licences import require
from distill.progress import say
from export.card import describe, metadata
from export.check import session_answer, synthetic_clips, torch_answer
from export.int8 import write_int8
from export.ladder import Answer, Rung, climb, clips_at_lengths, first_broken
from export.onnx import Answering, write_float, write_metadata
from students.loading import load
from students.network import Quantisation, StudentNetwork
from students.published import is_published, load_published

#: What a ladder that broke is told in, beside the place where nothing was exported.
LADDER = ".ladder.json"

#: What a run's configuration has to say for its student to be exported.
REQUIRED = ("axes", "derived", "range", "licence", "data_licence", "lineage")

#: What the file says of itself, by the bits of its activations.
PRECISIONS = {8: "int8", 16: "int8 weights, 16-bit activations"}

#: Clips that the quantiser reads its ranges off.
CALIBRATION_CLIPS = 100


def export(
    run: str | Path, *, output: str | Path, int8: bool = False, require_licence: str | None = None
) -> dict[str, Any]:
    """Export a trained run to `output` (.onnx) with its .json beside it; `int8` quantises the trunk.

    run: a run folder, or one with the published weights of audeering/wav2small. These bring no clips: they are checked
    on synthetic ones, and cannot be quantised. require_licence: a kind (`distill.licences.KINDS`) that the student's
    licences may not exceed.

    The ladder (torch, ONNX float, ONNX int8 at eight lengths on the run's held-out clips) is climbed every time; a
    bundle whose ladder breaks is not written, only the ladder.

    Returns what stands in the JSON: {bytes, sha256, licence, data_licence, lineage, axes, derived, sampling_rate,
    ladder: [{rung, max_abs, ccc, n, passed}], byte_table, calibrated_on, ...}.

    Raises:
        Refused: a licence is too strict.
        DistillError: no finished run, tensors that do not fit, an output that is no .onnx, no clips to calibrate with,
            or a broken ladder.
    """
    run, output = Path(run), Path(output)
    _check_output(output)
    model, config, held_out = _open(run, int8)
    require(require_licence, {"the student": config["licence"], "what it was trained on": config["data_licence"]})
    network = Answering(model, config["axes"])
    checks = clips_at_lengths([clip.signal for clip in held_out]) if held_out else synthetic_clips()
    calibration = runs.read_clips(run, "calibrate")[:CALIBRATION_CLIPS] if int8 else []
    against = partial(climb, _told_again(network, checks), clips=checks, recordings=len({c.file for c in held_out}))
    with tempfile.TemporaryDirectory() as folder:
        path, data = Path(folder) / "float.onnx", metadata(config, "float32")
        write_float(network, path)
        write_metadata(path, data)
        ladder = against({"onnx float": session_answer(path)})
        if int8 and first_broken(ladder) is None:
            clips = [clip.signal for clip in calibration]
            path, data, rung = _quantised(path, clips, model.quantisation, data, against)
            ladder.append(rung)
        _refuse_broken(ladder, output)
        described = describe(path, data, ladder, [clip.file for clip in calibration])
        output.unlink(missing_ok=True)  # never a student beside another's card
        write_json(output.with_suffix(".json"), described)
        with whole(output) as beside:
            beside.write_bytes(path.read_bytes())
    output.with_suffix(LADDER).unlink(missing_ok=True)
    return described


def _open(run: Path, int8: bool) -> tuple[StudentNetwork, dict[str, Any], list[runs.Clip]]:
    """The network, what is known of it, and the clips that the ladder is climbed on (published weights have none)."""
    if is_published(run):
        if int8:
            raise DistillError(f"{run}: published weights bring no clips to calibrate with; export them without --int8")
        model, config = load_published(run)
        say(f"{run}: published weights bring no clips; the ladder is climbed on synthetic ones")
        return model, config, []
    model, config = load(run)
    lacking = [key for key in REQUIRED if key not in config]
    if lacking:
        raise DistillError(f"{run / runs.CONFIG}: lacks {', '.join(lacking)}; train again into another folder")
    return model, config, runs.read_clips(run, "check")


def _check_output(output: Path) -> None:
    if output.suffix != ".onnx":
        raise DistillError(f"{output}: the output must end in .onnx")
    if output.is_dir():
        raise DistillError(f"{output}: is a folder; name a file")


def _told_again(network: nn.Module, clips: Sequence[np.ndarray]) -> Answer:
    """Torch's answers to the clips, computed once, however often all of them are asked for in order."""
    answer = torch_answer(network)
    answers = cycle([answer(clip[None]) for clip in clips])
    return lambda _: next(answers)


def _quantised(
    floating: Path, clips: Sequence[np.ndarray], quantisation: Quantisation, data: Mapping[str, Any],
    against: Callable[[dict[str, Answer]], list[Rung]],
) -> tuple[Path, dict[str, Any], Rung]:  # fmt: skip
    """The file with the fewest bits that holds, else with the most; what it says of itself; and its rung."""
    for bits in quantisation.activation_bits:
        path, told = floating.with_name(f"int8-{bits}.onnx"), {**data, "precision": PRECISIONS[bits]}
        write_int8(floating, path, clips, quantisation, activation_bits=bits)
        write_metadata(path, told)
        (rung,) = against({"onnx int8": session_answer(path)})
        if rung.passed:
            break
        say(f"{bits}-bit activations do not hold: off by {rung.max_abs:.3g}, CCC with torch {_scores(rung.ccc)}")
    return path, told, rung


def _refuse_broken(ladder: Sequence[Rung], output: Path) -> None:
    broken = first_broken(ladder)
    if broken is None:
        return
    report = output.with_suffix(LADDER)
    write_json(report, [rung.as_dict() for rung in ladder])
    raise DistillError(
        f"the ladder breaks at {broken.rung}: off by {broken.max_abs:.3g}, CCC with torch "
        f"{_scores(broken.ccc)}; nothing was exported, {report} has the rungs"
    )


def _scores(ccc: Mapping[str, float | None]) -> str:
    return ", ".join(f"{axis} {value:.4f}" for axis, value in ccc.items() if value is not None)


def tell(result: Mapping[str, Any]) -> str:
    """A bundle's ladder and size, for people."""
    lines = [
        f"{rung['rung']:<11} {'holds' if rung['passed'] else 'BREAKS'}: largest difference {rung['max_abs']:.2g}, "
        f"CCC with torch {_scores(rung['ccc'])} ({rung['n']} clips of {rung['recordings'] or 'no'} recordings)"
        for rung in result["ladder"]
    ]
    return "\n".join([*lines, f"{result['bytes']:,} bytes, weights {result['licence']}, data {result['data_licence']}"])
