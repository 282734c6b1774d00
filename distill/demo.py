"""The demo: the whole chain as a user would type it, on synthesised speech or on the user's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.progress import say
from distill.recipe import run_command
from distill.synthesis import LICENCE, write_corpus

#: The synthesised corpus: many voices, a few minutes in all.
SPEAKERS, CLIPS_EACH = 24, 12


def demo(
    *, output: Path, audio: Path | None = None, minutes: float = 1.2, seed: int = 0, quiet: bool = False
) -> list[dict[str, Any]]:
    """Label, train, export, benchmark, predict, into `output`; each command is printed before it runs.

    audio: a folder or manifest of recordings; by default speech-like audio is synthesised into `output`/audio.
    minutes: of training. quiet: what the stages print goes to standard error. An earlier demo there is gone on with.

    Returns {command, result} of every stage.
    """
    source = audio or _synthesised(output / "audio", seed)
    labels, run = output / "labels", output / "run"
    student, report = output / "student.onnx", output / "report"
    licence = [] if audio else ["--data-licence", LICENCE]
    stages = [
        run_command(["label", f"{source}", "-o", f"{labels}", "--teacher", "prosody", *licence], quiet=quiet),
        run_command(
            ["train-student", "--arch", "wav2small", "--labels", f"{labels}", "-o", f"{run}",
             "--max-minutes", f"{minutes:g}", "--seed", f"{seed}"], quiet=quiet,
        ),
        run_command(["export", f"{run}", "--int8", "-o", f"{student}"], quiet=quiet),
        run_command(["benchmark", f"{student}", "-o", f"{report}"], quiet=quiet),
        run_command(["predict", f"{_first_clip(labels)}", "--student", f"{student}"], quiet=quiet),
    ]  # fmt: skip
    say(f"the student is {student}, its report {report / 'report.html'}")
    return stages


def _synthesised(folder: Path, seed: int) -> Path:
    say(f"synthesising {SPEAKERS * CLIPS_EACH} clips of {SPEAKERS} voices into {folder} (--audio DIR takes recordings)")
    return write_corpus(folder, speakers=SPEAKERS, clips=CLIPS_EACH, seed=seed)


def _first_clip(labels: Path) -> Path:
    from distill import table

    made = table.read(labels)
    return made.root / str(made.column("file")[0])
