"""A tiny labelled corpus: shaped noise whose slope and rhythm are the labels, so that a few steps learn something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill import table
from distill.annotation import AXES
from distill.audio import SAMPLING_RATE, digest, read

MakeLabels = Callable[..., Path]

TEACHER = {
    "name": "shape", "revision": "1", "licence": "MIT", "data_licence": "CC BY 4.0", "range": [0.0, 1.0],
}  # fmt: skip


@pytest.fixture(scope="session")
def make_labels() -> MakeLabels:
    """make_labels(folder, clips=12, speakers=6, axes=AXES, constant=None, dimensions=0) -> the label table, audio
    beside it; dimensions: of the teacher's embedding, 0: none."""
    return _make_labels


def _make_labels(
    folder: Path, *, clips: int = 12, speakers: int | None = 6, axes: tuple[str, ...] = AXES,
    constant: str | None = None, dimensions: int = 0,
) -> Path:  # fmt: skip
    rng = np.random.default_rng(5)
    rows = [_row(folder / "audio", number, speakers, axes, constant, rng) for number in range(clips)]
    if dimensions:
        rows = [replace(row, embedding=_embedding(row, dimensions)) for row in rows]
    table.write_part(folder / "labels", "0", rows)
    info = {"complete": True, "root": (folder / "audio").as_posix(), "audio_licence": "CC0-1.0", "teacher": TEACHER}
    table.write_info(folder / "labels", {**info, "axes": list(axes), "derived": ["dominance"]})
    return folder / "labels"


def _row(
    root: Path, number: int, speakers: int | None, axes: tuple[str, ...], constant: str | None, rng: Any
) -> table.Row:
    dark, pulse = rng.random(2)
    name, seconds = f"{number:02d}.wav", 0.4 + 0.01 * number
    root.mkdir(parents=True, exist_ok=True)
    soundfile.write(root / name, _shaped_noise(rng, seconds, dark, pulse), SAMPLING_RATE, "FLOAT")
    answers = {"arousal": 1 - dark, "dominance": (2 - dark - pulse) / 2, "valence": pulse}
    adv = [None if axis not in axes else 0.5 if axis == constant else answers[axis] for axis in AXES]
    stat, columns = (root / name).stat(), {"speaker": f"s{number % speakers}"} if speakers else {}
    key = (name, 0.0, seconds, digest(read(root / name)))
    return table.Row(*key, tuple(adv), (None,) * 3, stat.st_size, stat.st_mtime_ns, columns)


def _embedding(row: table.Row, dimensions: int) -> np.ndarray:
    """A linear map of the answers, each dimension at its own scale; the last one is the same for every clip."""
    rng = np.random.default_rng(dimensions)
    matrix = (
        rng.normal(size=(3, dimensions)) * np.geomspace(0.1, 10, dimensions) * (np.arange(dimensions) < dimensions - 1)
    )
    return np.asarray(np.array(row.adv, np.float64) @ matrix, np.float16)


def _shaped_noise(rng: Any, seconds: float, dark: float, pulse: float) -> np.ndarray:
    samples = int(seconds * SAMPLING_RATE)
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLING_RATE).clip(min=60)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * (hertz / 1000) ** (-1.5 * dark), samples)
    beat = 1 + pulse * np.sin(2 * np.pi * 8 * np.arange(samples) / SAMPLING_RATE)
    return np.asarray(0.5 * noise * beat / np.abs(noise * beat).max(), np.float32)
