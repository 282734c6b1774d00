"""`distill benchmark`: exported students side by side on this host, as JSON and as two pages that read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import latency, machine, memory, profiles, report
from benchmarks.emulated.cores import CORES
from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import plain, reject_unwritable, sha256_of, write_json, write_text
from distill.progress import Progress
from distill.student import Student
from distill.table import is_table

#: The device that is no core of its own: what this runs on.
HOST = "host"


def benchmark(
    models: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    truth: str | Path | None = None,
    audio: str | Path | None = None,
    rounds: int = 30,
    seconds: Sequence[float] = (1, 3, 5, 10),
    devices: Sequence[str] = (),
    profile: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure exported students, and write benchmark.json, report.html and report.md into the folder `output`, if any.

    models: ONNX files of `distill export`; ratios are to the first. truth: a CSV of ratings with audio, the root of its
    files, or a teacher's label table, which knows its own; without a truth agreement (CCC) is null. rounds: timed
    answers a model and length. seconds: clip lengths. devices: cores (`benchmarks.emulated.cores`), or "host", that the
    first model is measured on as C (its folder c/), too. profile: whose core it is to be judged on
    (`benchmarks.profiles`). seed: draws the order of turns and the noise that is answered. Returns what benchmark.json
    holds.

    Raises:
        DistillError: a model cannot be used, the output cannot be written, the request contradicts itself. All of that
            is found before the clock runs.
    """
    paths = [Path(model) for model in models]
    output, truth, audio = (None if path is None else Path(path) for path in (output, truth, audio))
    _reject_contradictions(paths, truth=truth, audio=audio, rounds=rounds, seconds=seconds)
    if output:
        _reject_unwritable(output)
    students = _open(paths, seconds)
    budget = None if profile is None else profiles.profile(profile)
    _reject_unknown(devices)
    measured = _devices(students[0], devices, budget)
    agreements = _agreements(students, truth, audio)
    with _natives(students[0], devices) as natives:
        taken = latency.measure([*students, *natives], seconds=seconds, rounds=rounds, seed=seed)
        latencies = taken[: len(students)]
        for native, timed in zip(natives, taken[len(students) :], strict=True):
            ratio = latency.ratios(timed, latencies[0])
            measured[HOST] = {"latency_ms": timed, "ratio_to_first": ratio, **native.describe()}
    peaks = _peaks(students)
    record = {
        "machine": machine.describe(),
        "settings": _settings(seconds, rounds=rounds, seed=seed),
        "models": [
            {**_identity(student), "latency_ms": timed, "ratio_to_first": latency.ratios(timed, latencies[0]),
             "peak_rss_bytes": peak, **agreement}
            for student, timed, peak, agreement in zip(students, latencies, peaks, agreements, strict=True)
        ],
        "devices": measured,
        "profile": None if budget is None else profiles.described(budget, measured),
    }  # fmt: skip
    return _written(plain(record), output) if output else dict(plain(record))


def _reject_contradictions(
    models: Sequence[Path], *, truth: Path | None, audio: Path | None, rounds: int, seconds: Sequence[float]
) -> None:
    if not models:
        raise DistillError("no model given; name at least one student.onnx")
    if rounds < 1 or not seconds or min(seconds) <= 0:
        raise DistillError("nothing to time: at least one round and one clip length above zero are needed")
    if (truth is None) != (audio is None) and not (truth is not None and is_table(truth)):
        raise DistillError("agreement needs both: --truth, a CSV of ratings, and --audio, the root of its files")
    if truth is not None and not truth.is_file() and not is_table(truth):
        raise DistillError(f"{truth}: no such file of ratings, and no label table")
    if audio is not None and not audio.is_dir():
        raise DistillError(f"{audio}: no such folder of audio")


def _reject_unwritable(output: Path) -> None:
    try:
        reject_unwritable(output / "benchmark.json")
    except OSError as error:
        raise DistillError(f"{output}: the report cannot be written there ({error.strerror})") from None


def _open(models: Sequence[Path], seconds: Sequence[float]) -> list[Student]:
    students = [Student(model, threads=1) for model in models]
    for student in students:
        _try(student, [length for length in seconds if latency.accepts(student, length)])
    return students


def _try(student: Student, seconds: Sequence[float]) -> None:
    """One answer at every length: what fails here would otherwise fail in the middle of the timing."""
    for length in seconds:
        try:
            shape = student(latency.noise(length, seed=0)).shape
        except Exception as error:  # onnxruntime raises its own types from C++
            reason = str(error).splitlines()[0][:200]
            raise DistillError(f"{student.path}: it does not answer a clip of {length:g} s ({reason})") from None
        if shape != (1, len(AXES)):
            raise DistillError(
                f"{student.path}: it answers a clip of {length:g} s with shape {list(shape)}, not [1, 3]"
            )


def _reject_unknown(devices: Sequence[str]) -> None:
    known = [*CORES, HOST]
    for name in devices:
        if name not in known:
            raise DistillError(f"{name}: no such device; there are {', '.join(known)}")


def _devices(student: Student, names: Sequence[str], budget: profiles.Profile | None) -> dict[str, dict[str, Any]]:
    """What is measured on emulated cores: on those that are named, and on that of the profile."""
    cores = [name for name in dict.fromkeys(names) if name != HOST]
    if budget and budget.core and budget.core not in cores:
        cores.append(budget.core)
    if not cores:
        return {}
    from benchmarks.emulated.devices import measure

    return measure(student, cores)


@contextmanager
def _natives(student: Student, names: Sequence[str]) -> Iterator[list[Any]]:
    """The student in C compiled for this host, where that is asked for."""
    if HOST not in names:
        yield []
        return
    from benchmarks.native import native

    with native(student) as engine:
        yield [engine]


def _agreements(students: Sequence[Student], truth: Path | None, audio: Path | None) -> list[dict[str, Any]]:
    if truth is None:
        return [{"ccc": None, "n_truth": 0} for _ in students]
    from distill.evaluation import evaluate

    results = [evaluate(student=student.path, truth=truth, audio=audio) for student in students]
    return [{"ccc": result["ccc"], "n_truth": result["n"]} for result in results]


def _peaks(students: Sequence[Student]) -> list[dict[str, int]]:
    peaks = []
    with Progress("weighing memory", total=len(students), unit="processes") as progress:
        for student in students:
            peaks.append(memory.in_fresh_process(student.path))
            progress.advance()
    return peaks


def _settings(seconds: Sequence[float], *, rounds: int, seed: int) -> dict[str, Any]:
    return {
        "rounds": rounds,
        "seconds": list(seconds),
        "warmup": latency.WARMUP,
        "interleaved": True,
        "seed": seed,
        "memory_seconds": memory.SECONDS,
    }


def _identity(student: Student) -> dict[str, Any]:
    card = student.card
    return {
        "path": student.path.as_posix(),
        "name": card.name,
        "bytes": student.path.stat().st_size,
        "sha256": sha256_of(student.path),
        "parameters": card.parameters,
        "trainable": card.trainable,
        "macs_per_second": card.macs_per_second,
        "tokens_per_second": card.tokens_per_second,
        "hop_ms": card.hop_ms,
        "licence": card.licence,
        "data_licence": card.data_licence,
        "derived": card.derived,
        "precision": card.precision,
    }


def _written(record: dict[str, Any], output: Path) -> dict[str, Any]:
    """The JSON first: should a page fail, the measurement is not lost."""
    write_json(output / "benchmark.json", record)
    write_text(output / "report.html", report.render(record))
    write_text(output / "report.md", report.markdown(record))
    return record
