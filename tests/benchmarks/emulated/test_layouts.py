"""What is recorded of the C engine: it is still so, it holds its budgets, and the documentation tells it."""

from pathlib import Path

import pytest

from benchmarks.emulated.cores import CORES
from distill.files import read_json

ROOT = Path(__file__).parents[3]
ENGINE = read_json(ROOT / "benchmarks" / "emulated" / "engine.json")
PEERS = read_json(ROOT / "benchmarks" / "results" / "peers.json")
TOLD = (ROOT / "docs" / "benchmarking.md").read_text()


def test_what_is_recorded_is_still_so(arm):
    """One layout on one core: within a twentieth, for compilers differ a little."""
    pytest.importorskip("torch")
    from benchmarks.emulated.layouts import benchmark_engine

    found = benchmark_engine(layouts=["wav2small-lite"], cores=["cortex-m4"])["wav2small-lite"]["cortex-m4"]
    recorded = ENGINE["wav2small-lite"]["cortex-m4"]
    for key in ("instructions_per_second", "flash_bytes", "ram_bytes"):
        assert found[key] == pytest.approx(recorded[key], rel=0.05), key


@pytest.mark.parametrize(("core", "millions"), [("cortex-m3", 220), ("cortex-m4", 130), ("cortex-m55", 32)])
def test_wav2small_holds_its_budgets(core, millions):
    device = ENGINE["wav2small"][core]
    assert device["instructions_per_second"] < millions * 1e6
    assert device["ram_bytes"] < 24_000 and device["flash_bytes"] < 100_000


def test_the_lite_student_fits_forty_megahertz():
    device = ENGINE["wav2small-lite"]["cortex-m4"]
    assert device["cycles_per_second"]["high"] < 40e6 and device["ram_bytes"] < 16_384


def test_the_documentation_tells_the_recorded_figures_of_the_engine():
    for layout, cores in ENGINE.items():
        assert set(cores) == set(CORES)
        for core, device in cores.items():
            cycles = device["cycles_per_second"]
            bracket = f" {cycles['low'] / 1e6:.1f} to {cycles['high'] / 1e6:.1f}" if cycles else ""
            row = f"| `{layout}` | {core} | {device['instructions_per_second'] / 1e6:.1f} |{bracket} | "
            assert f"{row}{device['flash_bytes']:,} | {device['ram_bytes']:,} |" in TOLD


def test_the_documentation_tells_the_recorded_figures_of_the_peers():
    for core, found in PEERS["cores"].items():
        ours = found["distill int8"]["instructions"]
        for who, one in found.items():
            row = f"| {core} | {who} | {one['instructions'] / 1e6:.1f} | {one['instructions'] / ours:.1f} | "
            assert f"{row}{one['ram_bytes'] / 1e3:,.1f} | {one['flash_bytes'] / 1e3:.1f} |" in TOLD


def test_every_peer_answers_as_onnxruntime_does_and_takes_more():
    for found in PEERS["cores"].values():
        ours = found.pop("distill int8")
        for one in found.values():
            assert one["largest_difference"] < 1e-3
            assert one["instructions"] > 5 * ours["instructions"] and one["ram_bytes"] > 100 * ours["ram_bytes"]
