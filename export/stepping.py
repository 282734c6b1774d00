"""The second file of a causal student: the same weights, token by token, with a state (`distill.streaming`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from distill.files import sha256_of, whole
from distill.pretrained import STEP
from distill.streaming import TOKEN_SAMPLES, Stream
from export.ladder import Answer, Ladder, Rung
from export.making import Made
from export.onnx import write_metadata
from students.streaming import TOKEN

#: Samples of a piece in which the ladder's clips are heard: no whole number of tokens, nor of frames.
PIECE = 9_999


class Step(NamedTuple):
    """A file that is made, numbers of its state, and how it stands to torch's answers to whole clips."""

    path: Path
    state: int
    rung: Rung

    def as_dict(self) -> dict[str, Any]:
        """As the bundle's JSON has it."""
        made = {"bytes": self.path.stat().st_size, "sha256": sha256_of(self.path)}
        return {**made, TOKEN_SAMPLES: TOKEN, "state": self.state}

    def put_in_place(self, output: Path) -> None:
        """Put it beside the student `output`."""
        with whole(output.with_suffix(STEP)) as beside:
            beside.write_bytes(self.path.read_bytes())


def make_step(made: Made, ladder: Ladder) -> Step | None:
    """Write what answers token by token as the file that is made answers whole clips; None where it hears ahead."""
    if made.step is None:
        return None
    path = made.path.with_suffix(STEP)
    onnx.save(made.step, path)
    write_metadata(path, {**made.data, TOKEN_SAMPLES: TOKEN})
    stream = Stream(path)
    name = "step int8" if made.rung.rung == "onnx int8" else "step"
    return Step(path, stream.state_bytes // 4, ladder.rung(name, stream_answer(stream)))


def stream_answer(stream: Stream) -> Answer:
    """A stream as f(pcm [1, samples]) -> adv [1, 3]: the answer that stands when the clip ends, heard in pieces."""

    def answer(pcm: np.ndarray) -> np.ndarray:
        stream.reset()
        pieces = [pcm[0, start : start + PIECE] for start in range(0, pcm.shape[1], PIECE)]
        *_, (_, adv) = [heard for piece in pieces for heard in stream.push(piece)]
        return adv[None]

    return answer
