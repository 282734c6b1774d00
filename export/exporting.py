"""Exporting: a run in, a bundle out (`student.onnx`, `student.json`), after every rung of the ladder has held."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from distill import runs
from distill.errors import DistillError
from distill.files import whole, write_json
from export.card import describe, metadata
from export.check import session_answer, torch_answer
from export.int8 import write_int8
from export.ladder import Rung, climb, clips_at_lengths, first_broken
from export.onnx import Answering, write_float, write_metadata
from students.loading import load

#: What a ladder that broke is told in, beside the place where nothing was exported.
LADDER = ".ladder.json"

#: What a run's configuration has to say for its student to be exported.
REQUIRED = ("axes", "derived", "range", "licence", "data_licence", "lineage")

#: Clips that the quantiser reads its ranges off.
CALIBRATION_CLIPS = 100


def export(run: str | Path, *, output: str | Path, int8: bool = False) -> dict[str, Any]:
    """Export a trained run to `output` (.onnx) with its .json beside it; `int8` quantises the trunk.

    The ladder (torch, ONNX float, ONNX int8 at eight lengths on the run's held-out clips) is climbed every time; a
    bundle whose ladder breaks is not written, only the ladder.

    Returns what stands in the JSON: {bytes, sha256, licence, data_licence, lineage, axes, derived, sampling_rate,
    ladder: [{rung, max_abs, ccc, n, passed}], byte_table, calibrated_on, ...}.

    Raises:
        DistillError: no finished run, tensors that do not fit, an output that is no .onnx, or a broken ladder.
    """
    run, output = Path(run), Path(output)
    _check_output(output)
    model, config = load(run)
    lacking = [key for key in REQUIRED if key not in config]
    if lacking:
        raise DistillError(f"{run / runs.CONFIG}: lacks {', '.join(lacking)}; train again into another folder")
    network = Answering(model, config["axes"])
    held_out = runs.read_clips(run, "check")
    checks = clips_at_lengths([clip.signal for clip in held_out])
    calibration = runs.read_clips(run, "calibrate")[:CALIBRATION_CLIPS] if int8 else []
    data = metadata(config, "int8" if int8 else "float32")
    with tempfile.TemporaryDirectory() as folder:
        rungs = _convert(network, Path(folder), [clip.signal for clip in calibration])
        path = list(rungs.values())[-1]
        write_metadata(path, data)
        answers = {name: session_answer(rung) for name, rung in rungs.items()}
        ladder = climb(torch_answer(network), answers, checks, recordings=len({clip.file for clip in held_out}))
        _refuse_broken(ladder, output)
        described = describe(path, data, ladder, [clip.file for clip in calibration])
        output.unlink(missing_ok=True)  # never a student beside another's card
        write_json(output.with_suffix(".json"), described)
        with whole(output) as beside:
            beside.write_bytes(path.read_bytes())
    output.with_suffix(LADDER).unlink(missing_ok=True)
    return described


def _check_output(output: Path) -> None:
    if output.suffix != ".onnx":
        raise DistillError(f"{output}: the output must end in .onnx")
    if output.is_dir():
        raise DistillError(f"{output}: is a folder; name a file")


def _convert(network: nn.Module, folder: Path, calibration: Sequence[np.ndarray]) -> dict[str, Path]:
    """The files of the rungs, in order; int8 only with clips to calibrate on."""
    rungs = {"onnx float": folder / "float.onnx"}
    write_float(network, rungs["onnx float"])
    if calibration:
        rungs["onnx int8"] = folder / "int8.onnx"
        write_int8(rungs["onnx float"], rungs["onnx int8"], calibration)
    return rungs


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
        f"CCC with torch {_scores(rung['ccc'])} ({rung['n']} clips of {rung['recordings']} recordings)"
        for rung in result["ladder"]
    ]
    return "\n".join([*lines, f"{result['bytes']:,} bytes, weights {result['licence']}, data {result['data_licence']}"])
