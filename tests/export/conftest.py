"""Tiny trained runs. Their heads are fitted in closed form: so few steps teach too little for eight bits to keep."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from distill import runs, table
from distill.annotation import AXES
from distill.audio import SAMPLING_RATE, digest, read
from export.exporting import export
from students.catalogue import build
from students.training import train_student

#: Of the shortest and longest clip, in seconds.
SHORTEST, LONGEST = 2.0, 2.5

#: Of the head's regression; larger is smoother.
RIDGE = 0.2


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; not to be changed."""
    return _trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def trained_as(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """trained_as(arch): a finished run of that student; not to be changed."""
    return functools.cache(lambda arch: _trained(tmp_path_factory.mktemp(arch), arch))


@pytest.fixture(scope="session")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The trained run exported: {"float32": an .onnx, "int8": an .onnx}, a .json beside each; not to be changed."""
    folder = tmp_path_factory.mktemp("bundle")
    paths = {precision: folder / f"{precision}.onnx" for precision in ("float32", "int8")}
    for precision, path in paths.items():
        export(trained, output=path, int8=precision == "int8")
    return paths


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the trained run, to be damaged."""
    shutil.copytree(trained, tmp_path / "run")
    yield tmp_path / "run"


def _trained(folder: Path, arch: str = "wav2small") -> Path:
    labels, how = _labels(folder), {"device": "cpu", "precision": "float32"}
    with pytest.MonkeyPatch.context() as one_core:
        one_core.setattr(os, "cpu_count", lambda: 1)  # one thread, and so the same weights everywhere
        train_student(labels, arch=arch, output=folder / "run", epochs=4, batch_size=4, workers=0, longest=0.5, **how)
    _fit_head(folder / "run", table.read(labels), arch)
    return folder / "run"


def _labels(folder: Path, clips: int = 15) -> Path:
    """Noise between dark and bright, and between steady and pulsed."""
    rng = np.random.default_rng(8)
    rows = []
    for number in range(clips):
        dark, pulse = number % 5 / 4, number // 5 / 2
        name, seconds = f"{number:02d}.wav", SHORTEST + (LONGEST - SHORTEST) * number / clips
        (folder / "audio").mkdir(exist_ok=True)
        soundfile.write(folder / "audio" / name, _noise(rng, seconds, dark, pulse), SAMPLING_RATE, "FLOAT")
        signal = read(folder / "audio" / name)
        adv = (1 - dark, (dark + 1 - pulse) / 2, 1 - pulse)
        columns = {"speaker": f"s{(number + number // 5) % 5}"}  # each of several kinds
        rows.append(table.Row(name, 0.0, seconds, digest(signal), adv, (None,) * 3, 1, 1, columns))
    table.write_part(folder / "labels", "0", rows)
    teacher = {"name": "t", "revision": "1", "licence": "CC-BY-NC-SA-4.0", "data_licence": "MIT", "range": [0, 1]}
    info = {"complete": True, "root": (folder / "audio").as_posix(), "audio_licence": "CC0-1.0", "teacher": teacher}
    table.write_info(folder / "labels", {**info, "axes": list(AXES), "derived": ["valence"]})
    return folder / "labels"


def _noise(rng: np.random.Generator, seconds: float, dark: float, pulse: float) -> np.ndarray:
    samples = int(seconds * SAMPLING_RATE)
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLING_RATE).clip(min=60)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * (hertz / 1000) ** (-1.2 * dark), samples)
    beat = 1 + 0.9 * pulse * np.sin(2 * np.pi * 12 * np.arange(samples) / SAMPLING_RATE)
    return np.asarray(0.5 * noise * beat / np.abs(noise * beat).max(), np.float32)


def _fit_head(run: Path, labels: table.LabelTable, arch: str) -> None:
    """Ridge regression of the labels on what the pooling hands to the head; batch norms take the clips' statistics."""
    weights = load_file(run / runs.WEIGHTS)
    model = build(arch)
    model.load_state_dict(weights)
    signals = [read(labels.root / file)[: int(SHORTEST * SAMPLING_RATE)] for file in labels.column("file")]
    batch, target = torch.from_numpy(np.stack(signals)), torch.nan_to_num(torch.from_numpy(labels.adv), nan=0.5)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        model.train()(batch)
        model.eval().head.register_forward_pre_hook(lambda _, pooled: seen.extend(pooled))
        model(batch)
        (pooled,) = seen
        centred = pooled - pooled.mean(0)
        ridge = RIDGE * centred.square().sum() / len(centred.T) * torch.eye(centred.shape[1])
        slope = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ (target - target.mean(0)))
        model.head.weight.copy_(slope.T)
        model.head.bias.copy_(target.mean(0) - pooled.mean(0) @ slope)
    save_file(model.state_dict(), run / runs.WEIGHTS)
