"""The estimate of flash and memory, against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.footprint import footprint
from students.catalogue import build
from tests.toys.student import Bands

#: What the C engine takes of emulated cores.
MEASURED = Path(__file__).parents[2] / "benchmarks" / "emulated" / "engine.json"


def test_the_smallest_by_hand():
    told = footprint(build("wav2small:hop=16,n_fft=256,mels=20,channels=8,depth=2+2,pool=mean"))
    assert told is not None
    # convolutions 1 -> 8 and three of 8 -> 8; a head of 8 channels of 10 bands
    assert told.flash["weights"] == 9 * (8 + 3 * 64) + 3 * 80
    assert told.flash["scales"] == 6 * (4 * 8 + 3)
    # three rows of 20 bands, of 8 channels of them before the second layer and the pool, of 10 bands behind it
    assert told.ram["rows"] == 3 * (20 + 160 + 160 + 80 + 80)
    assert told.ram["pooling"] == 4 * 80 and told.ram["front_end"] == 6 * 256
    assert told.ram_bytes == sum(told.ram.values()) and told.flash_bytes == sum(told.flash.values())


def test_a_weighted_pooling_keeps_its_weights_and_the_largest_score():
    whole, mean = (footprint(build(f"wav2small:mels=20,pool={pool}")) for pool in ("softmax", "mean"))
    assert whole is not None and mean is not None
    assert whole.ram["pooling"] == 3 * mean.ram["pooling"]
    assert whole.flash["weights"] - mean.flash["weights"] == 2 * 130 * 130, "lin and sof, at 8 bits"


def test_the_published_trunk_keeps_lin_and_sof_in_four_bits():
    told = footprint(build("wav2small"))
    assert told is not None
    assert told.flash["weights"] == 9 * (13 + 6 * 169) + 2 * 14_281 + 3 * 169, "169 rows of 169 halves of a byte"


@pytest.mark.parametrize("name", ["wav2small", "wav2small-lite", "wav2small-17k"])
@pytest.mark.parametrize(("core", "flash"), [("cortex-m3", 40_000), ("cortex-m4", 40_000), ("cortex-m55", 12_000)])
def test_the_engine_takes_what_is_estimated_and_its_own_on_top(name, core, flash):
    """As docs/sweep.md has it, of what was measured on emulated cores."""
    measured = json.loads(MEASURED.read_text())[name][core]
    told = footprint(build(name))
    assert told is not None
    assert flash - 5_000 < measured["flash_bytes"] - told.flash_bytes < flash
    assert 6_000 < measured["ram_bytes"] - told.ram_bytes < 8_100


def test_memory_does_not_know_the_hop_and_flash_does_not_know_the_weights():
    network = build("wav2small:hop=8,n_fft=256")
    with torch.no_grad():
        network.head.weight.zero_()
    assert footprint(network) == footprint(build("wav2small:hop=16,n_fft=256"))


@pytest.mark.parametrize("make", [Bands, lambda: build("mobilenetv3-small")])
def test_of_another_make_nothing_is_made_up(make):
    assert footprint(make()) is None
