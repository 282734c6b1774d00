"""The folder c/ of a bundle: the student in C, golden vectors, a test of them, and the ladder's rung for it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.files import sha256_of, whole
from distill.golden import FULL_SCALE, Clip
from distill.progress import say
from export.c.compiled import UNIT, UNTAUGHT, Engine, compiled, compiler, to_samples
from export.c.description import describe
from export.c.numbers import define, table
from export.c.writing import ENGINE, sources
from export.ladder import LIMITS, Answer, Ladder, Rung, session_answer
from export.making import Made
from export.source import Source

#: Beside the ONNX file.
FOLDER = "c"

#: What comes along as it is.
_ALONG = ("CMakeLists.txt", "test_student.c")

#: Golden clips that are longer stay out: a sample takes six bytes of C.
_LONGEST = 6_411

#: What is told where the engine could not be run.
NO_COMPILER = "no C compiler here: the engine was written, and not run"


@dataclass(frozen=True)
class MadeC:
    """Sources in a folder. rung: None where there is no compiler to run them by; engine: the same."""

    folder: Path
    onnx: Answer
    rung: Rung | None
    engine: Engine | None

    def as_dict(self) -> dict[str, Any]:
        """As the JSON has it: {folder, files: {name: {bytes, sha256}}, compiler, unchecked}."""
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in self._files()}
        known = {"compiler": _version()} if self.rung else {"compiler": None, "unchecked": NO_COMPILER}
        return {"folder": FOLDER, "files": files, **known}

    def put_in_place(self, output: Path, clips: Sequence[Clip]) -> None:
        """Copy the sources beside the ONNX file `output`, with golden vectors of those of the clips that are short."""
        beside = output.parent / FOLDER
        short = [clip.pcm for clip in clips if len(clip.pcm) <= _LONGEST]
        texts = {path.name: path.read_text() for path in self._files()}
        for name, text in {**texts, "golden.h": self._golden(short)}.items():
            with whole(beside / name) as path:
                path.write_text(text)

    def _files(self) -> list[Path]:
        return [path for path in sorted(self.folder.iterdir()) if path.suffix in (".c", ".h", ".txt")]

    def _golden(self, clips: Sequence[np.ndarray]) -> str:
        answers = [self.onnx(clip[None] / np.float32(FULL_SCALE)) for clip in clips]
        exact = [self.engine.hear([clip]) if self.engine else np.zeros(3, np.int32) for clip in clips]
        return golden_header(clips, np.concatenate(answers), np.stack(exact), run=self.engine is not None)


def make_c(source: Source, made: Made, ladder: Ladder, folder: Path) -> MadeC:
    """Write the sources of the integers in `made` into a folder of `folder`, and, where there is a compiler, run them
    against the ONNX file, on the ladder's clips in 16 bits.

    Raises:
        DistillError: the compiler refuses, or the engine has no room for the student's scales.
    """
    assert made.integers is not None  # it was asked for a quantised student of these layouts
    folder = folder / FOLDER
    folder.mkdir()
    along = {name: (ENGINE / name).read_text() for name in _ALONG}
    for name, text in {**sources(describe(made.integers, source.network.unanswered)), **along}.items():
        (folder / name).write_text(text)
    onnx = session_answer(made.path)
    if compiler() is None:
        say(NO_COMPILER)
        return MadeC(folder, onnx, None, None)
    engine = compiled(folder)
    return MadeC(folder, onnx, ladder.anew("onnx int8", onnx, in_samples).rung("c", engine), engine)


def in_samples(signal: np.ndarray) -> np.ndarray:
    """A clip as 16 bits have it, float32 at -1..1: what the ONNX file has to hear to be compared.

    >>> in_samples(np.array([0.1, 2.0], np.float32)).tolist()
    [0.100006103515625, 0.999969482421875]
    """
    return np.asarray(to_samples(signal) / np.float32(FULL_SCALE), np.float32)


def golden_header(clips: Sequence[np.ndarray], onnx: np.ndarray, exact: np.ndarray, *, run: bool) -> str:
    """Clips (int16), what the ONNX file answers (float32 [clips, 3]) and what the engine does (int32 [clips, 3]; run:
    whether it was), in C."""
    whole_numbers = np.where(np.isnan(onnx), UNTAUGHT, np.rint(np.nan_to_num(onnx) / UNIT)).astype(np.int64)
    arrays = [table("int16_t", f"CLIP_{number}", clip) for number, clip in enumerate(clips)]
    rows = [
        f"    {{CLIP_{number}, {len(clip)}, {_triple(whole_numbers[number])}, {_triple(exact[number])}}},"
        for number, clip in enumerate(clips)
    ]
    return "\n\n".join([
        "/* Golden vectors: clips, and the answers to them in units of 1 / 65536; made by `distill export`. */\n"
        "#ifndef GOLDEN_H\n#define GOLDEN_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n#include \"student.h\"",
        "/* onnx: what the ONNX file answers; exact: what the engine does, on every target. */\n"
        "struct golden {\n    const int16_t *pcm;\n    size_t samples;\n    int32_t onnx[3], exact[3];\n};",
        "\n".join([
            define("GOLDEN_CLIPS", len(clips)), define("GOLDEN_EXACT", int(run)),
            define("GOLDEN_TOLERANCE", round(LIMITS["c"].max_abs / UNIT)),
        ]),
        *arrays, "static const struct golden GOLDEN[GOLDEN_CLIPS] = {\n" + "\n".join(rows) + "\n};", "#endif\n",
    ])  # fmt: skip


def _triple(values: np.ndarray) -> str:
    return "{" + ", ".join("STUDENT_UNTAUGHT" if value == UNTAUGHT else str(int(value)) for value in values) + "}"


def _version() -> str:
    found = compiler()
    assert found is not None  # it has just compiled
    said = subprocess.run([found, "--version"], capture_output=True, text=True, errors="replace").stdout
    return said.splitlines()[0] if said else found
