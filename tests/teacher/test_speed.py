"""The benchmark of labelling: what it counts, what it compares, what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
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


def turn(wall: float, processor: float = 1.0, states: Any = (1.0, 2.0)) -> speed.Turn:
    return speed.Turn(wall, processor, np.array(states))


def test_a_way_is_compared_round_by_round() -> None:
    ours, plain = [turn(50.0, 80.0), turn(25.0, 40.0), turn(50.0, 80.0)], [turn(100.0, 160.0)] * 3
    found = speed._compared(ours, plain, 5.0)
    assert (found["median"], found["ratio"], found["rtf"]) == (50.0, 2.0, 0.01)
    assert found["ratio_p10"] == 2.0 and found["ratio_p90"] == pytest.approx(3.6)
    assert (found["processor"], found["processor_ratio"]) == (80.0, 2.0)
    assert speed._compared(plain, plain, 5.0)["ratio"] == speed._compared(plain, plain, 5.0)["ratio_p90"] == 1.0


def test_a_difference_of_states_is_relative_to_those_wanted() -> None:
    wanted = np.array([3.0, 4.0])
    assert speed._relative_rms(wanted, wanted) == 0
    assert speed._relative_rms(1.1 * wanted, wanted) == pytest.approx(0.1)
    assert speed._relative_rms(np.zeros(2), wanted) == 1.0


def test_a_share_is_of_the_rate_of_large_products() -> None:
    assert speed._share(1e12, [turn(100.0), turn(50.0), turn(200.0)], 2e13) == pytest.approx(0.5)
    assert speed._share(1e12, [turn(100.0)], None) is None


@pytest.mark.parametrize(
    ("bfloat16", "processes", "cores", "names"),
    [(False, False, 4, ["plain loop", "float32"]), (True, False, 4, ["plain loop", "float32", "bfloat16"]),
     (False, True, 4, ["plain loop", "float32", "plain loop, 4 processes", "float32, 4 processes"]),
     (False, True, 1, ["plain loop", "float32"])],
)  # fmt: skip
def test_ways_are_those_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, bfloat16: bool, processes: bool, cores: int, names: list[str]
) -> None:
    monkeypatch.setattr(speed, "multiplies_bfloat16", lambda where: bfloat16)
    monkeypatch.setattr(speed.os, "cpu_count", lambda: cores)
    ways = speed._ways(torch.device("cpu"), 3, processes=processes)
    assert list(ways) == names
    assert all(way.threads * way.processes == (cores if "processes" in name else 3) for name, way in ways.items())
    assert all((way.dtype is None) == name.startswith("plain") and way.batch == 1 for name, way in ways.items())


def test_on_a_gpu_batches_are_tried_and_each_precision_has_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "multiplies_bfloat16", lambda where: True)
    monkeypatch.setattr(speed, "product_rate", lambda dtype, where: float(dtype.itemsize))
    ways = speed._ways(torch.device("cuda"), 1, processes=True)
    assert len(ways) == 1 + 2 * len(speed.BATCHES) and ways["bfloat16, 64 together"].batch == 64
    rates = speed._product_rates(ways.values(), torch.device("cuda"))
    assert rates == {"float32, 1 threads": 4.0, "bfloat16, 1 threads": 2.0}
    assert speed._product_rates(ways.values(), torch.device("cpu")) == {}
    assert speed._products_of(speed.Way(None, 2, processes=3)) == "float32, 6 threads"


def test_clips_are_noise_of_their_length_and_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, again = (speed._clips(folder, 0.25, 2) for folder in (tmp_path, tmp_path / "again"))
    one, other = (soundfile.read(path)[0] for path in first)
    assert len(one) == 4000 and 0.05 < one.std() < 0.2 and not np.array_equal(one, other)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
