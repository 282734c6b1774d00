"""Exporting: a run in, a bundle out (`student.onnx`, `student.json`), after every rung of the ladder has held."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.files import whole, write_json
from distill.licences import UNKNOWN, require
from distill.pretrained import STEP
from distill.progress import say
from distill.sources.manifest import write_failures
from export.beside import golden_of, write_beside
from export.c.bundle import make_c
from export.card import describe
from export.ladder import Rung, first_broken, scores
from export.making import Asked, Made, files
from export.source import Audio, Source, open_source
from export.stepping import make_step
from students.wav2small import Vgg7

#: What a ladder that broke is told in, beside the place where nothing was exported; and what of the audio could not be
#: used.
LADDER, UNREAD = ".ladder.json", ".failed.csv"


def export(
    run: str | Path, *, output: str | Path, int8: bool = False, smallest: bool = False, budget: int | None = None,
    audio: str | Path | None = None, audio_licence: str | None = None, tflite: float | None = None,
    synthetic_golden: bool = False, require_licence: str | None = None, c: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Export a trained student to `output` (.onnx), its .json, golden vectors and model card beside it; of a causal
    student also what answers token by token, .step.onnx.

    run: a run folder, one with the published weights of audeering/wav2small, or a float file that was exported before
    (or the name of one that comes with the package). The last two bring no clips: they are checked on synthetic ones,
    and the file is quantised on `audio` alone. int8: quantise the trunk. smallest: weights of 2 and 4 bits, fitted on
    the clips. budget: as many bits as fit into so many bytes. Only Wav2Small's layouts have the last two. audio: more
    recordings for them to be rounded and fitted on, a folder or a manifest, under audio_licence, which becomes one of
    the student's data; what of it cannot be used is named in a .failed.csv.
    tflite: seconds of the clips that a .tflite beside it takes, None for no such file. synthetic_golden: see
    `export.golden`. require_licence: a kind (`distill.licences.KINDS`) that the student's licences may not exceed. c:
    also write a folder c/ beside it, the same integers as C99 for microcontrollers (Wav2Small's layouts, quantised).

    The ladder (torch, ONNX float, folded, int8 at eight lengths on the run's held-out clips) is climbed every time; a
    bundle whose ladder breaks is not written, only the ladder.

    Returns what stands in the JSON: {bytes, sha256, licence, data_licence, lineage, axes, derived, sampling_rate,
    ladder: [{rung, max_abs, ccc, n, passed}], byte_table, bits, calibrated_on, ...}.

    Raises:
        Refused: a licence is too strict.
        DistillError: nothing that can be exported, tensors that do not fit, an output that is no .onnx, no clips to
            calibrate with, audio that cannot be used, a student that has no smallest file or no C, two kinds of file
            at once, a budget that is too small, or a broken ladder.
    """
    run, output, asked = Path(run), Path(output), Asked(int8, smallest, budget)
    more = None if audio is None else Audio(Path(audio), audio_licence or UNKNOWN)
    _check_output(output)
    _check_asked(asked, more, c=c)
    if tflite is not None:
        from export.tflite import make_tflite  # of an extra of its own: what is lacking is told before the work
    source = open_source(run, int8=asked.quantised, audio=more)
    _check_layout(source, asked, c=c)
    config = source.config
    require(require_licence, {"the student": config["licence"], "what it was trained on": config["data_licence"]})
    if more is not None:
        _tell_unread(source, output)
    ladder = source.ladder()
    with tempfile.TemporaryDirectory() as folder:
        made: list[Made] = []
        for file in files(source, asked, Path(folder), ladder):
            made.append(file)
            if not file.rung.passed:
                break
        rungs = [file.rung for file in made]
        _refuse_broken(rungs, output)
        step = make_step(made[-1], ladder)
        rungs += [step.rung] if step else []
        lite = None if tflite is None else make_tflite(source, Path(folder), seconds=tflite, int8=asked.quantised)
        rungs += lite.rungs if lite else []
        in_c = make_c(source, made[-1], ladder, Path(folder)) if c else None
        rungs += [in_c.rung] if in_c and in_c.rung else []
        _refuse_broken(rungs, output)
        path, data = made[-1].path, made[-1].data
        data = {**data, "step": step.as_dict()} if step else data
        data = {**data, "tflite": lite.as_dict()} if lite else data
        data = {**data, "c": in_c.as_dict()} if in_c else data
        described = describe(path, data, rungs, [clip.file for clip in source.calibration])
        _put_in_place(path, described, output)
        if step:
            step.put_in_place(output)
        if lite:
            lite.put_in_place(output)
        if in_c:
            in_c.put_in_place(output, golden_of(source, synthetic=synthetic_golden)[0])
    write_beside(run, source, described, output, synthetic=synthetic_golden)
    return described


def _check_output(output: Path) -> None:
    if output.suffix != ".onnx":
        raise DistillError(f"{output}: the output must end in .onnx")
    if output.is_dir():
        raise DistillError(f"{output}: is a folder; name a file")


def _check_asked(asked: Asked, audio: Audio | None, *, c: bool) -> None:
    if asked.int8 + asked.smallest + (asked.budget is not None) > 1:
        raise DistillError("--int8, --smallest and --budget each make another file; give one of them")
    if audio is not None and not asked.quantised:
        raise DistillError("--audio is what is rounded and fitted on: it goes with --int8, --smallest or --budget")
    if c and not asked.quantised:
        raise DistillError("--c computes in integers: it goes with --int8, --smallest or --budget")


def _check_layout(source: Source, asked: Asked, *, c: bool) -> None:
    if c and not isinstance(source.student, Vgg7):
        raise DistillError(f"{source.config['arch']}: only Wav2Small's layouts have an engine in C; leave --c out")
    if (asked.smallest or asked.budget is not None) and not isinstance(source.student, Vgg7):
        raise DistillError(f"{source.config['arch']}: only Wav2Small's layouts have few bits; export it with --int8")


def _tell_unread(source: Source, output: Path) -> None:
    """Name the pieces of the audio that could not be used, as every command does with failures."""
    failed = output.with_suffix(UNREAD)
    write_failures(failed, source.unread)
    if source.unread:
        say(f"{len(source.unread)} pieces of the audio could not be used; {failed} names each")


def _refuse_broken(ladder: Sequence[Rung], output: Path) -> None:
    broken = first_broken(ladder)
    if broken is None:
        return
    report = output.with_suffix(LADDER)
    write_json(report, [rung.as_dict() for rung in ladder])
    raise DistillError(
        f"the ladder breaks at {broken.rung}: off by {broken.max_abs:.3g}, CCC with {broken.against} "
        f"{scores(broken.ccc)}; nothing was exported, {report} has the rungs"
    )


def _put_in_place(path: Path, described: Mapping[str, Any], output: Path) -> None:
    """The file with its card beside it; never a student beside another's card."""
    for stale in (output, output.with_suffix(STEP)):
        stale.unlink(missing_ok=True)
    write_json(output.with_suffix(".json"), described)
    with whole(output) as beside:
        beside.write_bytes(path.read_bytes())
    output.with_suffix(LADDER).unlink(missing_ok=True)


def tell(result: Mapping[str, Any]) -> str:
    """A bundle's ladder and size, for people."""
    lines = [
        f"{rung['rung']:<11} {'holds' if rung['passed'] else 'BREAKS'}: largest difference {rung['max_abs']:.2g}, "
        f"CCC with {rung['against']} {scores(rung['ccc'])} "
        f"({rung['n']} clips of {rung['recordings'] or 'no'} recordings)"
        for rung in result["ladder"]
    ]
    return "\n".join([*lines, f"{result['bytes']:,} bytes, weights {result['licence']}, data {result['data_licence']}"])
