"""The demo: the whole chain as a user would type it, on synthesised speech or on the user's own folder."""

from __future__ import annotations

from pathlib import Path

from distill.progress import say
from distill.recipe import run_command
from distill.synthesis import write_corpus

#: The synthesised corpus: many voices, a few minutes in all.
SPEAKERS, CLIPS_EACH = 24, 12


def demo(*, output: Path, audio: Path | None = None, minutes: float = 1.2, seed: int = 0) -> None:
    """Label, train, export, benchmark, predict, into `output`; each command is printed before it runs.

    audio: a folder or manifest of recordings; by default speech-like audio is synthesised into `output`/audio.
    minutes: of training. What is there from an earlier demo is gone on with.
    """
    source = audio or _synthesised(output / "audio", seed)
    student, report = output / "student.onnx", output / "report"
    run_command(["label", f"{source}", "-o", f"{output / 'labels'}", "--teacher", "prosody"])
    run_command(
        ["train-student", "--arch", "wav2small", "--labels", f"{output / 'labels'}", "-o", f"{output / 'run'}",
         "--max-minutes", f"{minutes:g}", "--seed", f"{seed}"]
    )  # fmt: skip
    run_command(["export", f"{output / 'run'}", "--int8", "-o", f"{student}"])
    run_command(["benchmark", f"{student}", "-o", f"{report}"])
    run_command(["predict", f"{_first_clip(output / 'labels')}", "--student", f"{student}"])
    say(f"the student is {student}, its report {report / 'report.html'}")


def _synthesised(folder: Path, seed: int) -> Path:
    say(f"synthesising {SPEAKERS * CLIPS_EACH} clips of {SPEAKERS} voices into {folder} (--audio DIR takes recordings)")
    return write_corpus(folder, speakers=SPEAKERS, clips=CLIPS_EACH, seed=seed)


def _first_clip(labels: Path) -> Path:
    from distill import table

    made = table.read(labels)
    return made.root / str(made.column("file")[0])
