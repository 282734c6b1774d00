"""A rounded network learns the float one's answers."""

from __future__ import annotations

import numpy as np
import torch

from export import tuning
from export.calibration import observe
from students.catalogue import build
from students.quantised import QuantisedVgg, layers_of


def test_tuning_brings_the_answers_nearer_and_leaves_the_student(monkeypatch) -> None:
    monkeypatch.setattr(tuning, "BATCH", 6)
    monkeypatch.setattr(tuning, "SECONDS", 0.3)
    torch.manual_seed(0)
    student = build("wav2small").eval()
    rng = np.random.default_rng(0)
    clips = [(rng.standard_normal(6000) * np.linspace(0.1, level, 6000)).astype(np.float32) for level in (0.2, 1, 3)]
    network = QuantisedVgg(student, dict.fromkeys(layers_of(student), 2), observe(student, clips))
    steps = [step.clone() for step in network.steps()]
    kept = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    pcm = torch.from_numpy(np.stack(clips))

    def off() -> float:
        with torch.no_grad():
            return float((network.pooled(pcm) - student.pooled(pcm)).square().mean())

    before = off()
    tuning.tune(network, student, clips, steps=12)
    assert off() < before
    learned = list(zip(network.steps(), steps, strict=True))
    assert all(torch.equal(after, after.half().float()) and not after.requires_grad for after, _ in learned)
    assert sum(not torch.equal(*pair) for pair in learned) > 0.8 * len(learned), "steps are learned, too"
    assert all(torch.equal(tensor, kept[name]) for name, tensor in student.state_dict().items())
