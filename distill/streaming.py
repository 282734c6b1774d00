"""A causal student that listens: audio in pieces of any length in, an answer for every token. Needs no torch.

Beside the file of such a student, which answers whole clips, `distill export` writes another, NAME.step.onnx, which
answers token by token: `pcm` float32 [batch, samples], whole tokens of them, and `state` float32 [batch, n], zeros
before anything was heard, go in; `adv` float32 [batch, tokens, 3] and `next_state` [batch, n] come out.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from distill.errors import DistillError
from distill.pretrained import STEP, path_of
from distill.student import INPUT, OUTPUT, open_session, read_card

#: A step file's input and output beside those of every student: the state before the samples, and behind them.
STATE, NEXT_STATE = "state", "next_state"

#: In the step file's metadata: samples of a token, from one answer to the next.
TOKEN_SAMPLES = "token_samples"

#: Tokens that are answered in one go, at most: the file's sums are products of matrices as large as a piece is long.
AT_ONCE = 64


class Stream:
    """A student at the beginning of a stream.

    student: its ONNX file, the step file itself, or the name of one that comes with the package. threads: onnxruntime's
    intra-op threads. What it keeps of the past is the state (`state_bytes`) and less than a token of audio.

    Raises:
        DistillError: no such student, or one that cannot answer token by token.
    """

    def __init__(self, student: str | Path, *, threads: int = 1) -> None:
        self.path = step_file(student)
        self._session = open_session(self.path, threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card = read_card(self.path, metadata)
        self.token_samples = _token_samples(self.path, metadata, [value.name for value in self._session.get_inputs()])
        self.reset()

    def reset(self) -> None:
        """Begin anew: nothing was heard."""
        size = self._session.get_inputs()[1].shape[1]
        self._state, self._kept, self._answered = np.zeros((1, size), np.float32), np.zeros(0, np.float32), 0

    @property
    def hop(self) -> float:
        """From one answer to the next (seconds)."""
        return self.token_samples / self.card.sampling_rate

    @property
    def state_bytes(self) -> int:
        """Of all that was heard."""
        return int(self._state.nbytes)

    def push(self, pcm: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """pcm: float32 [samples], mono at the card's rate, any number -> the answers that they complete: the second at
        which each was heard out, from the beginning of the stream, and A/D/V, float32 [3]."""
        heard = np.concatenate([self._kept, np.asarray(pcm, np.float32)])
        whole = len(heard) // self.token_samples * self.token_samples
        self._kept = heard[whole:]
        pieces = range(0, whole, AT_ONCE * self.token_samples)
        return [answer for start in pieces for answer in self._answers(heard[start : min(start + pieces.step, whole)])]

    def _answers(self, pcm: np.ndarray) -> list[tuple[float, np.ndarray]]:
        adv, self._state = self._session.run([OUTPUT, NEXT_STATE], {INPUT: pcm[None], STATE: self._state})
        first, self._answered = self._answered, self._answered + adv.shape[1]
        return [((first + number + 1) * self.hop, answer) for number, answer in enumerate(adv[0])]


def step_file(student: str | Path) -> Path:
    """The file that answers token by token, of a student or itself.

    >>> step_file("runs/a.step.onnx").name
    'a.step.onnx'

    Raises:
        DistillError: the student has none.
    """
    path = path_of(student)
    if path.name.endswith(STEP):
        return path
    step = path.with_suffix(STEP)
    if not step.is_file():
        raise DistillError(f"{student}: answers whole clips; live answers need a causal student (wav2small-stream)")
    return step


def _token_samples(path: Path, metadata: dict[str, str], inputs: list[str]) -> int:
    if TOKEN_SAMPLES not in metadata or inputs != [INPUT, STATE]:
        raise DistillError(f"{path}: is no step file of `distill export`; it takes {', '.join(inputs)}")
    return int(json.loads(metadata[TOKEN_SAMPLES]))
