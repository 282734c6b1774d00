"""What every student of the catalogue keeps to: its counts, and the contract of `StudentNetwork`."""

from __future__ import annotations

import copy
import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from distill.cli import main
from distill.errors import DistillError
from students.catalogue import STUDENTS, build, figures
from students.commands import students
from students.network import Quantisation

LENGTHS = (4000, 5217, 9000, 12345)

#: Parameters, those that train, millions of multiply-accumulates, tokens and frames a second of audio.
COUNTS = {
    "wav2small": (72_477, 67_395, 77.64, 250, 500),
    "wav2small-lite": (67_395, 67_395, 11.63, 31.2, 62.5),
    "wav2small-stream": (67_395, 67_395, 11.65, 31.2, 62.5),
    "wav2small-17k": (15_888, 10_806, 64.46, 250, 500),
    "mobilenetv3-small": (1_598_237, 1_593_155, 29.12, 15.8, 500),
    "mobilenetv3-large": (4_824_749, 4_819_667, 96.74, 15.8, 500),
    "mobilenetv4-small": (3_114_173, 3_109_091, 86.64, 15.8, 500),
    "mobilenetv4-medium": (9_055_661, 9_050_579, 287.14, 15.8, 500),
}

#: Members of the family that keep the same contract, one a way of pooling.
MEMBERS = (
    "wav2small:hop=8,n_fft=256,channels=8,depth=1+2",
    "wav2small:hop=16,n_fft=256,mels=31,channels=20,depth=2+2,pool=channels",
    "wav2small:hop=16,n_fft=256,mels=20,channels=8,pool=mean",
)


@pytest.fixture(scope="module", params=[*STUDENTS, *MEMBERS])
def network(request):
    """Random weights near 0.5, batch norms that have seen something; not to be changed."""
    torch.manual_seed(7)
    model = build(request.param)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.stack([noise(8000), noise(8000, seed=1)]))
    model.start_near(torch.full((3,), 0.5))
    return model.eval()


def noise(samples: int, *, seed: int = 0) -> torch.Tensor:
    swell = 0.2 + np.sin(np.arange(samples) / 900) ** 2
    return torch.from_numpy(0.1 * swell * np.random.default_rng([samples, seed]).standard_normal(samples)).float()


def ragged(garbage: float) -> torch.Tensor:
    """Noise of all `LENGTHS` in one batch, `garbage` behind it."""
    batch = torch.full((len(LENGTHS), max(LENGTHS) + 777), garbage)
    for row, samples in zip(batch, LENGTHS, strict=True):
        row[:samples] = noise(samples)
    return batch


@pytest.mark.parametrize("name", STUDENTS)
def test_has_its_counts(name):
    counted = figures(name)
    parameters, trainable, millions, tokens, frames = COUNTS[name]
    assert (counted.parameters, counted.trainable) == (parameters, trainable)
    assert counted.macs_per_second == pytest.approx(1e6 * millions, rel=3e-4)
    assert counted.tokens_per_second == tokens and 1000 / counted.hop_ms == frames


def test_counts_are_the_published_ones():
    """0.4 GMAC for 5 s both; 3.12 M parameters."""
    assert 5 * COUNTS["wav2small"][2] == pytest.approx(390, rel=0.01)
    assert COUNTS["mobilenetv4-small"][0] == pytest.approx(3.12e6, rel=0.002)
    assert 5 * COUNTS["mobilenetv4-small"][2] == pytest.approx(430, rel=0.01)


def test_students_command_lists_every_student():
    rows = json.loads(CliRunner().invoke(students, ["--json"]).stdout)
    assert [row["name"] for row in rows] == list(STUDENTS) == list(COUNTS)
    assert set(rows[0]) == {"name", "parameters", "trainable", "macs_per_second", "tokens_per_second", "hop_ms"}


def test_build_refuses_an_unknown_student():
    with pytest.raises(
        DistillError, match="wav3small: no such student; there are wav2small, wav2small-lite, wav2small-stream"
    ):
        build("wav3small")


@pytest.mark.parametrize("missing", ["timm", "torchvision"])
def test_without_timm_there_is_wav2small_and_one_line(missing, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    build("wav2small")
    with pytest.raises(SystemExit):
        main(["students"])
    line = f"distill: this command needs {missing}; from the checkout: pip install '.[train]'\n"
    assert capsys.readouterr().err == line


def test_a_mixed_batch_answers_as_its_clips_alone(network):
    with torch.inference_mode():
        together = network(ragged(float("nan")), torch.tensor(LENGTHS))
        alone = torch.cat([network(noise(samples)[None]) for samples in LENGTHS])
    assert (together - alone).abs().max() < 1e-4
    assert alone.std(0).max() > 1e-3, "answers alike say nothing"


def test_padding_of_nan_leaves_gradients_finite(network):
    model = copy.deepcopy(network).train()
    model(ragged(float("nan")), torch.tensor(LENGTHS)).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("samples", [4000, 4001, 4127, 4128])
def test_tokens_counts_what_the_pooling_sees(network, samples):
    seen = []
    hook = network.attention.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    with torch.inference_mode():
        network(noise(samples)[None])
    hook.remove()
    (shape,) = seen
    assert network.tokens(samples) == (shape[2] if len(shape) == 4 else shape[1])


def test_an_untrained_network_starts_near_the_mean_of_its_targets(network):
    model, mean = copy.deepcopy(network).train(), torch.tensor([0.6, 0.4, 0.35])
    model.start_near(mean)
    with torch.no_grad():
        assert torch.allclose(model(torch.randn(8, 8000)).mean(0), mean, atol=0.2)


def test_every_student_has_a_learning_rate_and_says_what_is_quantised():
    rates = {name: build(name).learning_rate for name in STUDENTS}
    slow = {"mobilenetv3-large", "mobilenetv4-medium"}
    assert rates == {name: 1e-3 if name in slow else 3e-3 for name in STUDENTS}
    asked = {name: build(name).quantisation for name in STUDENTS}
    assert asked["wav2small"] == Quantisation() and asked["wav2small-17k"].float_modules == ("gram",)
    assert {how.activation_bits for name, how in asked.items() if name.startswith("mobilenetv3")} == {(16,)}
    assert {how.activation_bits for name, how in asked.items() if name.startswith("mobilenetv4")} == {(8, 16)}
