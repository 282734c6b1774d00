"""A sweep: checked as a whole, tried before it is trained, run by the ablation's loop, told as JSON and pages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from benchmarks import sweep as module
from benchmarks.budget import budget
from benchmarks.sweep import read_sweep, sweep
from benchmarks.sweep_report import read_made
from benchmarks.units import NOTHING
from distill import ablation, cli
from distill.errors import DistillError
from distill.synthesis import write_corpus
from tests.distill.stages import Stages

Captured = pytest.CaptureFixture[str]

RECIPE = """
prepare: {{label: {{source: a, output: {tmp}/labels}}}}
train-student: {{labels: {tmp}/labels, epochs: 2}}
evaluate: {{people: {{truth: r.csv}}}}
seeds: 1
folder: {tmp}/runs
members:
  lite: wav2small-lite
  narrow: {{hop: 16, n_fft: 256, channels: [4, 8], pool: [mean, channels]}}
  toy: tests.toys.student:Bands
"""

NAMES = ["lite", "narrow, channels 4, pool mean", "narrow, channels 4, pool channels", "narrow, channels 8, pool mean",
         "narrow, channels 8, pool channels", "toy"]  # fmt: skip


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    stand_in = Stages()
    stand_in.surest = "/narrow-channels-8-pool-mean/"
    monkeypatch.setattr(ablation, "run_command", stand_in)
    return stand_in


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the members whose export was tried."""
    names: list[str] = []
    monkeypatch.setattr("export.check.export_untrained", lambda _, name: names.append(name))
    return names


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(RECIPE.format(tmp=tmp_path))
    return path


def test_a_list_is_a_member_a_value_and_lists_are_every_combination(recipe: Path) -> None:
    read = read_sweep(recipe)
    assert list(read.variants) == NAMES
    assert read.variants["lite"] == {"arch": "wav2small-lite"}
    assert read.variants[NAMES[4]] == {"arch": "wav2small:hop=16,n_fft=256,channels=8,pool=channels"}


def test_all_are_tried_then_trained_and_told(recipe: Path, stages: Stages, tried: list[str], tmp_path: Path) -> None:
    record = sweep(recipe, output=tmp_path / "sweep")
    assert tried == NAMES
    assert [typed[typed.index("--arch") + 1] for typed in stages.typed if typed[0] == "train-student"][:2] == [
        "wav2small-lite", "wav2small:hop=16,n_fft=256,channels=4,pool=mean",
    ]  # fmt: skip
    assert record == json.loads((tmp_path / "sweep" / "sweep.json").read_text()) == read_made(tmp_path / "sweep")
    told = {member["name"]: member for member in record["members"]}
    assert list(told) == NAMES and record["failed"] == [] and record["seeds"] == 1
    lite, best, toy = told["lite"], told[NAMES[3]], told["toy"]
    assert (lite["parameters"], lite["hop_ms"], lite["derived"]) == (67_395, 16, ["dominance"])
    assert lite["flash_bytes"] == sum(lite["flash"].values()) > 10_000 and lite["ram_bytes"] == sum(
        lite["ram"].values()
    )
    assert toy["flash"] is toy["ram"] is toy["flash_bytes"] is toy["ram_bytes"] is None, "of another make"
    arousal = best["ccc"]["people"]["arousal"]
    assert arousal["interval"]["low"] < arousal["mean"] < arousal["interval"]["high"]
    assert best["difference"]["people"]["arousal"]["value"] > 0.1
    front = record["fronts"]["macs_per_second"]["people"]
    assert set(front) == {"arousal", "dominance"} and NAMES[3] in front["arousal"] and "lite" not in front["arousal"]
    assert record["recipe"]["train-student"] == {"labels": f"{tmp_path}/labels", "epochs": 2}


def test_the_pages_tell_what_the_json_holds(recipe: Path, stages: Stages, tried: list[str], tmp_path: Path) -> None:
    record = sweep(recipe, output=tmp_path / "sweep")
    shown, plain = ((tmp_path / "sweep" / name).read_text() for name in ("report.html", "report.md"))
    costs = ("multiply-accumulates a second of audio", "parameters", "memory of a streaming engine, estimated")
    for title in (*(f"CCC with people against {cost}" for cost in costs), "Agreement with people"):
        assert f"<h2>{title}</h2>" in shown and f"## {title}\n" in plain
    assert shown.count("<svg") == 3 and "<script" not in shown
    assert all(shown.count(name) >= 5 for name in NAMES)
    arousal = record["members"][3]["ccc"]["people"]["arousal"]
    cell = f"{arousal['mean']:.2f} ({arousal['interval']['low']:.2f} to {arousal['interval']['high']:.2f})"
    assert cell in shown and cell in plain and "Derived, not measured: dominance." in plain
    gained = record["members"][3]["difference"]["people"]["arousal"]
    assert f"{gained['value']:+.3f} ({gained['low']:+.3f} to {gained['high']:+.3f})" in plain
    assert "## Against lite, with people\n" in plain
    assert f"| toy | {NOTHING} | {NOTHING} | " in plain, "unknown is a dash"
    assert "\n| arousal | " in plain and f" · {NAMES[3]} |" in plain


def test_done_members_are_recognised(
    recipe: Path, stages: Stages, tried: list[str], tmp_path: Path, capsys: Captured
) -> None:
    stages.fails["channels=8,pool=mean"] = click.Abort()
    with pytest.raises(click.Abort):
        sweep(recipe, output=tmp_path / "sweep")
    stages.fails.clear()
    tried.clear()
    sweep(recipe, output=tmp_path / "sweep")
    assert tried == NAMES[3:], "what is trained has been exported"
    assert "(3 of 6 runs to train" in capsys.readouterr().err
    stages.typed.clear()
    tried.clear()
    recipe.write_text(recipe.read_text().replace("toy:", "first: wav2small\n  toy:"))
    record = sweep(recipe, output=tmp_path / "sweep", only=["first"])
    assert tried == ["first"] == [Path(name).parent.as_posix() for name in stages.named("train-student")]
    assert [bool(member["ccc"]) for member in record["members"]] == [True] * 7


def test_who_fails_is_named_and_stops_no_other(
    recipe: Path, stages: Stages, tried: list[str], tmp_path: Path, capsys: Captured
) -> None:
    stages.fails["channels=4,pool=mean"] = RuntimeError("out of memory")
    with pytest.raises(SystemExit, match="1"):
        cli.main(["sweep", str(recipe), "-o", str(tmp_path / "sweep"), "--fits", "mmacs=100"])
    out = capsys.readouterr().out
    assert f"failed: {NAMES[1]}, seed 0: RuntimeError: out of memory" in out
    assert f"  {NAMES[3]} (best, " in out and f"  not {NAMES[1]}: not measured" in out
    record = read_made(tmp_path / "sweep")
    assert [bool(member["ccc"]) for member in record["members"]] == [True, False, True, True, True, True]
    assert "RuntimeError: out of memory" in (tmp_path / "sweep" / "report.md").read_text()


def test_a_budget_that_none_can_meet_is_refused_before_anything_is_trained(
    recipe: Path, stages: Stages, tried: list[str], tmp_path: Path, capsys: Captured
) -> None:
    with pytest.raises(DistillError, match=f"none of 6 members fits flash 50 B; nearest is {NAMES[1]}"):
        sweep(recipe, output=tmp_path / "sweep", fits=budget("flash=50"))
    assert stages.typed == tried == [] and not (tmp_path / "sweep").exists()
    sweep(recipe, output=tmp_path / "sweep", fits=budget("flash=20k"))
    told = capsys.readouterr().err
    assert "lite can never fit: flash 41.9 kB of 20.0 kB" in told and "toy can never fit: flash not known" in told


def test_one_that_cannot_be_exported_is_told_before_anything_is_trained(
    recipe: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuses(_: Any, name: str) -> None:
        if name == "toy":
            raise DistillError("toy cannot be exported: no such operator")

    monkeypatch.setattr("export.check.export_untrained", refuses)
    with pytest.raises(DistillError, match="toy cannot be exported"):
        sweep(recipe, output=tmp_path / "sweep")
    assert stages.typed == []


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("members:", "variants:", "no key 'variants'; a sweep has prepare, train-student, .*, members"),
        ("seeds: 1", "seeds: 0", "seeds is 0"),
        ("wav2small-lite", "wav2small-light", "lite: wav2small-light: no such student"),
        ("hop: 16", "hops: 16", "narrow, channels 4, pool mean: wav2small:hops=16.*'hops=16' is no key=value"),
        ("channels: [4, 8]", "channels: []", "narrow: the list of channels is empty"),
        ("channels: [4, 8]", "channels: [4, 4]", "two members would go by one name"),
        ("lite: wav2small-lite", "lite: 7", "lite needs a student's name, or what it is made of"),
        ("lite: wav2small-lite", "lite: {}", "lite needs a student's name"),
        ("toy:", "LITE:", "would share a folder"),
        ("epochs: 2", "epochs: 2, seed: 1", "'seed' is set for each run"),
        ("epochs: 2", "epochs: 2, arch: wav2small", "'arch' is set for each member"),
    ],
)
def test_everything_is_checked_before_anything_runs(
    recipe: Path, stages: Stages, tried: list[str], tmp_path: Path, before: str, after: str, reason: str
) -> None:
    assert before in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(before, after, 1))
    with pytest.raises(DistillError, match=reason):
        sweep(recipe, output=tmp_path / "sweep")
    assert stages.typed == tried == []


@pytest.mark.parametrize("members", ["", "members:", "members: [wav2small]", "members: {}"])
def test_a_sweep_of_nobody_is_refused(recipe: Path, tmp_path: Path, members: str) -> None:
    recipe.write_text(recipe.read_text().split("members:")[0] + members)
    with pytest.raises(DistillError, match="members is missing, or names nobody"):
        sweep(recipe, output=tmp_path / "sweep")


def test_what_members_cost_is_told_without_a_training(
    recipe: Path, stages: Stages, tried: list[str], capsys: Captured
) -> None:
    cli.main(["sweep", str(recipe), "--figures", "--fits", "mmacs=8"])
    out, err = capsys.readouterr()
    assert "| lite | 41.9 kB | 8.71 kB | 11.6 M | 67,395 |" in out.splitlines()
    assert "lite can never fit: MAC/s 11.6 M of 8.00 M" in err and stages.typed == tried == []


def test_a_sweep_that_was_made_is_picked_from(
    recipe: Path, stages: Stages, tried: list[str], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(recipe, output=tmp_path / "sweep")
    recipe.unlink()
    for name in [name for name in sys.modules if name.split(".")[0] in ("torch", "students", "export")]:
        monkeypatch.setitem(sys.modules, name, None)  # who picks has an edge's environment
    monkeypatch.delitem(sys.modules, "benchmarks.sweep")
    cli.main(["sweep", str(tmp_path / "sweep"), "--fits", "flash=20k", "--json"])
    chosen = json.loads(capsys.readouterr().out)["choice"]
    assert chosen["best"] == NAMES[3] and set(chosen["others"]) == {"lite", "toy"} and chosen["axes"] == ["arousal"]
    with pytest.raises(SystemExit, match="1"):
        cli.main(["sweep", str(tmp_path / "sweep" / "sweep.json"), "--fits", "flash=1"])
    err = capsys.readouterr().err
    assert err.startswith("distill: none of 6 members fits flash 1 B; nearest is ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sweep.yaml"], "Missing option '-o'"),
        (["sweep.yaml", "--figures", "-o", "x"], "--figures trains nothing"),
        (["made", "-o", "x"], "a sweep that was made takes --fits and --json alone"),
        (["made", "--only", "lite"], "a sweep that was made takes --fits"),
        (["made"], "made/sweep.json: "),
        (["other.json"], "other.json: holds no sweep"),
        (["gone.yaml", "-o", "x"], "gone.yaml: no such recipe, and no folder of a sweep"),
        (["gone"], "gone: no such recipe"),
        (["sweep.yaml", "-o", "sweep.yaml"], "sweep.yaml: the report cannot be written there"),
        (["sweep.yaml", "-o", "x", "--only", "heavy"], "no variant 'heavy'; there are lite, narrow"),
        (["sweep.yaml", "-o", "x", "--fits", "flash=big"], "--fits: flash is 'big'"),
    ],
)
def test_what_cannot_be_is_one_line(
    recipe: Path, stages: Stages, tried: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured,
    arguments: list[str], reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(recipe.parent)
    Path("made").mkdir()
    Path("other.json").write_text("{}")
    with pytest.raises(SystemExit):
        cli.main(["sweep", *arguments])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("distill") and reason in last and stages.typed == []


def test_the_committed_recipe_can_be_run_and_leaves_the_dev_speakers_alone() -> None:
    committed = read_sweep(Path(__file__).parents[2] / "benchmarks" / "recipes" / "sweep.yaml")
    assert len(module.members(committed)) == len(committed.runs) >= 8
    commands = [*committed.prepare, *(command for run in committed.runs for command in run.commands)]
    rated = [typed for typed in commands if any(word.endswith("emodb/ratings.csv") for word in typed)]
    assert {typed[typed.index("--where") + 1] for typed in rated} == {"speaker=09|10|11|13", "speaker=03|08"}


def test_a_real_one(tmp_path: Path, quick: Any, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr("export.check.export_untrained", lambda *_: None)  # a trained one is exported anyway
    write_corpus(tmp_path / "audio", speakers=4, clips=3, seconds=(0.6, 0.8), seed=0)
    recipe = tmp_path / "sweep.yaml"
    recipe.write_text(f"""
prepare: {{label: {{source: {tmp_path}/audio, output: {tmp_path}/labels, teacher: taught, jobs: 1}}}}
train-student: {{labels: {tmp_path}/labels, epochs: 1, batch-size: 4, longest: 0.5, workers: 0, device: cpu,
                 precision: float32}}
evaluate: {{teacher: {{truth: {tmp_path}/labels}}}}
seeds: 1
folder: {tmp_path}/runs
members: {{one: {{hop: 32, n_fft: 512, mels: 20, channels: 4, depth: 1+1, pool: mean}}}}
""")
    cli.main(["sweep", str(recipe), "-o", str(tmp_path / "sweep"), "--fits", "flash=96k,ram=24k,mmacs=12"])
    told = capsys.readouterr().out
    assert "within flash 96.0 kB, memory 24.0 kB, MAC/s 12.0 M: 1 of 1 members" in told
    (member,) = read_made(tmp_path / "sweep")["members"]
    evaluated = json.loads((tmp_path / "runs/one/seed-0/against-teacher.json").read_text())
    assert member["ccc"]["teacher"]["valence"]["mean"] == pytest.approx(evaluated["ccc"]["valence"]["value"], abs=1e-4)
    assert member["derived"] == [] and member["seconds"] is not None
    config = (tmp_path / "runs/one/seed-0/config.yaml").read_text()
    assert "arch: wav2small:hop=32,n_fft=512,mels=20,channels=4,depth=1+1,pool=mean\n" in config
