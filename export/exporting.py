"""Exporting: a run in, a bundle out (`student.onnx`, `student.json`), after every rung of the ladder has held."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill.errors import DistillError
from distill.files import whole, write_json
from distill.licences import require
from distill.progress import say
from export.beside import write_beside
from export.card import describe, metadata
from export.int8 import write_int8
from export.ladder import Ladder, Rung, first_broken, session_answer
from export.onnx import write_float, write_metadata
from export.source import Source, open_source

#: What a ladder that broke is told in, beside the place where nothing was exported.
LADDER = ".ladder.json"

#: What the file says of itself, by the bits of its activations.
PRECISIONS = {8: "int8", 16: "int8 weights, 16-bit activations"}


class _Made(NamedTuple):
    """A file that may be put in place: what it says of itself, and how it stands to torch."""

    path: Path
    data: dict[str, Any]
    rung: Rung


def export(
    run: str | Path,
    *,
    output: str | Path,
    int8: bool = False,
    tflite: float | None = None,
    synthetic_golden: bool = False,
    require_licence: str | None = None,
) -> dict[str, Any]:
    """Export a trained run to `output` (.onnx), its .json, golden vectors and model card beside it; `int8` quantises.

    run: a run folder, or one with the published weights of audeering/wav2small. These bring no clips: they are checked
    on synthetic ones, and cannot be quantised. tflite: seconds of the clips that a .tflite beside it takes, None for no
    such file. synthetic_golden: see `export.golden`. require_licence: a kind (`distill.licences.KINDS`) that the
    student's licences may not exceed.

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
    if tflite is not None:
        from export.tflite import make_tflite  # of an extra of its own: what is lacking is told before the work
    source = open_source(run, int8=int8)
    config = source.config
    require(require_licence, {"the student": config["licence"], "what it was trained on": config["data_licence"]})
    ladder = source.ladder()
    with tempfile.TemporaryDirectory() as folder:
        made = [_float(source, Path(folder), ladder)]
        if int8 and made[0].rung.passed:
            made.append(_quantised(source, made[0], ladder))
        lite = None if tflite is None else make_tflite(source, Path(folder), seconds=tflite, int8=int8)
        rungs = [file.rung for file in made] + (lite.rungs if lite else [])
        _refuse_broken(rungs, output)
        path, data, _ = made[-1]
        data = {**data, "tflite": lite.as_dict()} if lite else data
        described = describe(path, data, rungs, [clip.file for clip in source.calibration])
        _put_in_place(path, described, output)
        if lite:
            lite.put_in_place(output)
    write_beside(run, source, described, output, synthetic=synthetic_golden)
    return described


def _check_output(output: Path) -> None:
    if output.suffix != ".onnx":
        raise DistillError(f"{output}: the output must end in .onnx")
    if output.is_dir():
        raise DistillError(f"{output}: is a folder; name a file")


def _float(source: Source, folder: Path, ladder: Ladder) -> _Made:
    path, data = folder / "float.onnx", metadata(source.config, "float32")
    write_float(source.network, path)
    write_metadata(path, data)
    return _Made(path, data, ladder.rung("onnx float", session_answer(path)))


def _quantised(source: Source, floating: _Made, ladder: Ladder) -> _Made:
    """The file with the fewest bits that holds, else with the most."""
    clips = [clip.signal for clip in source.calibration]
    for bits in source.quantisation.activation_bits:
        path, data = floating.path.with_name(f"int8-{bits}.onnx"), {**floating.data, "precision": PRECISIONS[bits]}
        write_int8(floating.path, path, clips, source.quantisation, activation_bits=bits)
        write_metadata(path, data)
        rung = ladder.rung("onnx int8", session_answer(path))
        if rung.passed:
            break
        say(f"{bits}-bit activations do not hold: off by {rung.max_abs:.3g}, CCC with torch {_scores(rung.ccc)}")
    return _Made(path, data, rung)


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


def _put_in_place(path: Path, described: Mapping[str, Any], output: Path) -> None:
    """The file with its card beside it; never a student beside another's card."""
    output.unlink(missing_ok=True)
    write_json(output.with_suffix(".json"), described)
    with whole(output) as beside:
        beside.write_bytes(path.read_bytes())
    output.with_suffix(LADDER).unlink(missing_ok=True)


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
