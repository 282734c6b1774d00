"""Small speech-like recordings, a backbone of random weights, and views that were pre-trained on both."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.audio import SAMPLING_RATE
from teacher.contrastive.pretraining import pretrain_views
from tests.teacher.tuning import backbones

#: Of a pre-training that takes a second.
QUICK: dict[str, Any] = {
    "epochs": 3, "batch_size": 12, "micro_batch": 24, "learning_rate": 3e-3, "longest": 0.5, "speaker_from": r"(s\d)-",
    "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 clips of 0.4 to 0.7 s of eight speakers, and ratings.csv: arousal is pitch, valence is how clean it is."""
    root = tmp_path_factory.mktemp("recordings")
    rows, random = [], np.random.default_rng(0)
    for number in range(48):
        arousal, valence = random.uniform(0.1, 0.9, 2)
        time = np.arange(int(SAMPLING_RATE * random.uniform(0.4, 0.7))) / SAMPLING_RATE
        tone = np.sign(np.sin(2 * np.pi * (100 + 200 * arousal) * time)) * np.sin(2 * np.pi * 3 * time) ** 2
        signal = valence * tone + (1 - valence) * random.standard_normal(len(time))
        speaker = number % 8
        name = f"s{speaker}-{number}.wav"
        soundfile.write(root / name, 0.1 * signal, SAMPLING_RATE)
        kind = "calm" if arousal < 0.5 else "stirred"
        rows.append([name, f"s{speaker}", "fm"[speaker % 2], f"{arousal:.6f}", f"{valence:.6f}", kind])
    with (root / "ratings.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("file", "speaker", "sex", "arousal", "valence", "category"), *rows])
    return root


@pytest.fixture(scope="session")
def wavlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbones.write("wavlm", tmp_path_factory.mktemp("backbones") / "wavlm")


@pytest.fixture(scope="session")
def views(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log-mel spectrum and functionals, pre-trained for eight epochs."""
    output = tmp_path_factory.mktemp("views") / "views"
    pretrain_views(recordings, output=output, **{**QUICK, "epochs": 8}, licence="MIT", data_licence="CC0-1.0")
    return output


@pytest.fixture(scope="session")
def on_speech(recordings: Path, wavlm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three views: also the states of a backbone."""
    output = tmp_path_factory.mktemp("views") / "on-speech"
    pretrain_views(recordings, output=output, backbone=str(wavlm), **{**QUICK, "epochs": 1})
    return output
