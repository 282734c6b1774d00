"""Text read out without any emotion, by espeak-ng, a program of its own (Debian's package `espeak-ng`).

A formant synthesiser by rules: what it says with it says by the spelling alone, whatever a sentence means.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from distill.audio import read
from distill.errors import DistillError

#: The program, and what it reads with: American and British, a woman and a man each. A variant that a voice does not
#: take (as `en-gb` takes none) is ignored without a word.
PROGRAM = "espeak-ng"
VOICES = ("en-us+f2", "en-us+m3", "en-gb-x-rp+f4", "en-gb-x-rp+m7")

#: Seconds after which a sentence will not come any more.
_PATIENCE = 60


def reject_no_espeak(why: str) -> None:
    """Find out before the work whether there is somebody to read, in every voice. why: what it is for.

    Raises:
        DistillError: the program is not there, or lacks a voice.
    """
    if shutil.which(PROGRAM) is None:
        raise DistillError(f"{why} needs the program {PROGRAM}, which reads the sentences: apt-get install {PROGRAM}")
    for voice in VOICES:
        read_out("one", voice)


def version() -> str:
    """The program and its version."""
    said = _run([PROGRAM, "--version"]).stdout.split()
    return f"{PROGRAM} {next((word for word in said if word[:1].isdigit()), 'of unknown version')}"


def read_out(text: str, voice: str) -> np.ndarray:
    """`text` in one of `VOICES`, the same every time: float32 [samples], mono 16 kHz.

    Raises:
        DistillError: the program cannot do it.
    """
    with TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        command = [PROGRAM, "-v", voice, "-w", str(spoken), "--", text]
        done = _run(command)
        if done.returncode != 0 or not spoken.is_file():
            said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise DistillError(f"{PROGRAM} in the voice {voice}: {said}")
        return read(spoken)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE)
