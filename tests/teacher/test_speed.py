"""The benchmark of labelling: what it counts, what it compares, what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import WavLMConfig, WavLMModel

from teacher import speed
from teacher.arithmetic import flops
from teacher.overhead import overhead
from teacher.published.encoder import OwnEncoder
from teacher.published.network import WAVLM_LARGE
from tests.teacher.checkpoints import SMALL

SIZES: dict[str, Any] = {**WAVLM_LARGE, **SMALL, "num_hidden_layers": 2}


def test_the_large_encoder_s_operations_are_counted() -> None:
    """About 38 GFLOP a second of audio; of the small one, as many as torch counts."""
    assert flops(WAVLM_LARGE, 5.0) / 5 == pytest.approx(38e9, rel=0.05)
    encoder = WavLMModel(WavLMConfig(**SIZES)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.randn(1, 16_000))
    # Torch counts the gates' small products, too, and one frame more of the positional convolution.
    assert flops(SIZES, 1.0) == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_the_loop_and_our_way_hear_the_same(tmp_path: Path) -> None:
    clips = speed._clips(tmp_path, 1.0, 3)
    torch.manual_seed(0)
    encoder = WavLMModel(WavLMConfig(**SIZES)).eval().requires_grad_(False)
    wanted = speed.plain_loop(encoder, clips)
    given = speed.our_way(OwnEncoder(encoder), clips, torch.device("cpu"))
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_all_but_the_teacher_is_the_whole_of_labelling() -> None:
    measured = overhead(jobs=1, recordings=3)
    assert measured["audio_seconds"] == 30 and measured["times_real_time"] > 0 and measured["jobs"] == 1


@pytest.mark.long
def test_the_command_writes_what_it_measured(tmp_path: Path, distill: Callable[..., Any]) -> None:
    done = distill(
        "benchmark-labelling", "--rounds", "1", "--device", "cpu", "-o", tmp_path / "speed.json", timeout=280
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "speed.json").read_text())
    assert {"plain loop", "float32"} <= set(result["ways"]) and result["ways"]["plain loop"]["ratio"] == 1
    assert result["ways"]["float32"]["relative_rms"] < 1e-5 and result["overhead"]["audio_seconds"] == 5400
    assert result["ways"].get("bfloat16", {"relative_rms": 0.01})["relative_rms"] < 0.03
