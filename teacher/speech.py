"""Where speech is in a recording: silero-vad, block by block; joined over short pauses, cut to what a teacher takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from distill.audio import SAMPLING_RATE, Span, blocks, windows
from distill.errors import AudioError, DistillError

#: Samples (32 ms) that the model judges at once, and those before them that it hears again.
FRAME, _CONTEXT = 512, 64

#: Speech begins at the threshold and ends where the model falls below it by this much, as silero-vad does it.
_HYSTERESIS = 0.15

#: What is taken for speech if nobody says otherwise: the probability, and seconds of pause that belong to it.
THRESHOLD, PAUSE = 0.5, 0.3

#: Seconds that are kept on both sides of speech: its first and last sounds are quiet.
PADDING = 0.1


@dataclass(frozen=True)
class SpeechFinder:
    """Finds the speech in recordings.

    shortest, window: seconds, what is shorter is left out, what is longer is cut, one window every `hop`;
    pause: seconds, shorter pauses belong to the speech around them; threshold: probability from which it is speech.
    """

    shortest: float
    window: float
    hop: float
    pause: float = PAUSE
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise DistillError(f"--vad-threshold {self.threshold:g}: must be between 0 and 1")
        if not 0 <= self.pause <= self.window:
            raise DistillError(f"--vad-pause {self.pause:g}: must be from 0 to the window of {self.window:g} s")
        _model()  # fail before the work

    def settings(self) -> dict[str, Any]:
        """What decides which spans are found, for two runs to be one."""
        return {"model": f"silero-vad {metadata.version('silero-vad')}", "threshold": self.threshold,
                "pause": self.pause, "padding": PADDING}  # fmt: skip

    def __call__(self, path: Path, within: Span) -> list[Span]:
        """The spans of speech in a part of a recording, each at least `shortest` and at most `window` long.

        Raises:
            AudioError: there is none, or the recording cannot be read.
        """
        speech = self._joined(_runs(_probabilities(blocks(path, within)), self.threshold), within.end - within.start)
        spans = [
            Span(round(within.start + start + part.start, 6), round(within.start + start + part.end, 6))
            for start, end in speech
            if end - start >= self.shortest
            for part in windows(end - start, self.window, self.hop)
        ]
        if not spans:
            raise AudioError("no speech found")
        return spans

    def _joined(self, runs: Iterable[tuple[float, float]], length: float) -> Iterator[tuple[float, float]]:
        """Runs of speech with their padding, put together where the pause between them is short; seconds."""
        joined: list[list[float]] = []
        for start, end in runs:
            if joined and start - joined[-1][1] < self.pause:
                joined[-1][1] = end
            else:
                joined.append([start, end])
        before = 0.0
        for number, (start, end) in enumerate(joined):
            after = joined[number + 1][0] if number + 1 < len(joined) else length
            start, before = max(start - PADDING, before), min(end + PADDING, (end + after) / 2, length)
            yield start, before


def _runs(probabilities: Iterable[float], threshold: float) -> Iterator[tuple[float, float]]:
    """Start and end (seconds) of each run of frames that are speech."""
    start, number = None, 0
    for number, probability in enumerate(probabilities, start=1):
        if start is None and probability >= threshold:
            start = number - 1
        elif start is not None and probability < max(threshold - _HYSTERESIS, 0.01):
            yield start * FRAME / SAMPLING_RATE, (number - 1) * FRAME / SAMPLING_RATE
            start = None
    if start is not None:
        yield start * FRAME / SAMPLING_RATE, number * FRAME / SAMPLING_RATE


def _probabilities(signals: Iterable[np.ndarray]) -> Iterator[float]:
    """The probability of speech of every frame; the last one is filled up with zeros."""
    model, rate = _model(), np.array(SAMPLING_RATE, np.int64)
    state, heard = np.zeros((2, 1, 128), np.float32), np.zeros(_CONTEXT, np.float32)
    for frame in _frames(signals):
        heard = np.concatenate([heard[-_CONTEXT:], frame])
        answer, state = model.run(None, {"input": heard[None], "state": state, "sr": rate})
        yield float(answer[0, 0])


def _frames(signals: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    left = np.zeros(0, np.float32)
    for signal in signals:
        left = np.concatenate([left, signal])
        whole = len(left) - len(left) % FRAME
        yield from left[:whole].reshape(-1, FRAME)
        left = left[whole:]
    if len(left):
        yield np.pad(left, (0, FRAME - len(left)))


@cache
def _model() -> Any:
    """The ONNX model that the package silero-vad brings; its own code, which needs torch, is not run.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    import onnxruntime

    found = util.find_spec("silero_vad")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'silero_vad'", name="silero_vad")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # a frame is too little for two
    model = Path(found.submodule_search_locations[0], "data", "silero_vad.onnx")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
