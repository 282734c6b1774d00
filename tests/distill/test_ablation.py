"""An ablation: read and checked as a whole, run seed by seed, gone on with after an interruption, and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from distill import ablation, cli
from distill.ablation import ablate, read_ablation, slug
from distill.errors import DistillError
from distill.metrics import ccc
from distill.synthesis import write_corpus
from tests.distill.stages import TRUTH, Stages

RECIPE = """
prepare:
  train-teacher: {{labels: r.csv, output: {tmp}/teacher}}
  label: [{{source: a, output: {tmp}/one}}, {{source: a, output: {tmp}/two}}]
train-student: {{labels: [{tmp}/one, {tmp}/two], augment: [noise=0.3, room=0.1], online: true, epochs: 2}}
evaluate:
  people: {{truth: r.csv, where: speaker=3}}
seeds: 2
folder: {tmp}/runs
variants:
  the recipe:
  offline, no noise: {{online: false, augment: noise=0, labels: {tmp}/two}}
"""


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    stand_in = Stages()
    monkeypatch.setattr(ablation, "run_command", stand_in)
    return stand_in


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "ablation.yaml"
    path.write_text(RECIPE.format(tmp=tmp_path))
    return path


def test_seeds_come_outermost_and_options_of_a_variant_replace_the_common_ones(
    recipe: Path, stages: Stages, tmp_path: Path
) -> None:
    ablate(recipe, output=tmp_path / "out.json")
    assert [typed[0] for typed in stages.typed[:6]] == ["train-teacher", "label", "label", "train-student", "export",
                                                       "evaluate"]  # fmt: skip
    assert stages.named("train-student") == [
        f"{name}/seed-{seed}" for seed in (0, 1) for name in ("the-recipe", "offline-no-noise")
    ]
    common, changed = (" ".join(typed) for typed in stages.typed if typed[0] == "train-student" and typed[-1] == "1")
    assert "--augment noise=0.3 --augment room=0.1 --online" in common and "--labels" in common
    assert "--augment noise=0 " in changed and "room" not in changed and "--online" not in changed
    assert changed.count("--labels") == 1 and "--epochs 2" in changed


def test_the_result_tells_each_variant_and_what_it_gains(recipe: Path, stages: Stages, tmp_path: Path) -> None:
    ablate(recipe, output=tmp_path / "out.json")
    result = json.loads((tmp_path / "out.json").read_text())
    first, other = result["variants"].values()
    arousal = first["truths"]["people"]["arousal"]
    noise = [np.random.default_rng(seed).normal(size=TRUTH.shape)[:, 0] for seed in (0, 1)]
    values = [float(ccc(TRUTH[:, 0] + 0.1 * of, TRUTH[:, 0])) for of in noise]
    np.testing.assert_allclose(arousal["values"], values, atol=1e-5)
    assert arousal["mean"] == pytest.approx(np.mean(arousal["values"])) and arousal["n"] == 40
    assert [arousal["low"], arousal["high"]] == sorted(arousal["values"])
    assert arousal["interval"]["low"] < arousal["mean"] < arousal["interval"]["high"]
    assert "valence" not in first["truths"]["people"]  # nobody rated it
    assert first["difference"] == {} and first["seconds"] == 60 and first["seeds"] == [0, 1]
    lost = other["difference"]["people"]["arousal"]
    shared = [[float(ccc((TRUTH[:, 0] + by * of)[1:], TRUTH[1:, 0])) for of in noise] for by in (0.3, 0.1)]
    assert lost["value"] == pytest.approx(np.mean(shared[0]) - np.mean(shared[1]), abs=1e-5)
    assert lost["low"] < lost["value"] < lost["high"] < 0
    assert other["options"]["augment"] == "noise=0" and result["failed"] == []
    assert str(tmp_path) not in json.dumps(result["recipe"]["sha256"]) and result["recipe"]["file"] == "ablation.yaml"


def test_the_table_has_a_row_a_variant(recipe: Path, stages: Stages, tmp_path: Path) -> None:
    result = ablate(recipe, output=tmp_path / "out.json")
    rows = [line for line in (tmp_path / "out.md").read_text().splitlines() if line.startswith("|")]
    assert rows[0] == "| variant | people: arousal | people: dominance | minutes |"
    mean = result["variants"]["the recipe"]["truths"]["people"]["arousal"]["mean"]
    assert rows[2].startswith(f"| the recipe | {mean:.3f} (") and ";" not in rows[2] and rows[2].endswith("| 1.0 |")
    assert "; -0." in rows[3] and len(rows) == 4


def test_interrupted_it_goes_on(
    recipe: Path, stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.fails["offline-no-noise/seed-0 --seed"] = click.Abort()
    with pytest.raises(click.Abort):
        ablate(recipe, output=tmp_path / "out.json")
    stages.fails.clear()
    stages.typed.clear()
    capsys.readouterr()
    ablate(recipe, output=tmp_path / "out.json")
    assert "train-teacher" not in [typed[0] for typed in stages.typed]  # its card is there
    assert "the-recipe/seed-0" not in [Path(name).parent.as_posix() for name in stages.named("export")]
    assert [typed[1].split("/")[-2:] for typed in stages.typed if typed[0] == "export"] == [
        ["offline-no-noise", "seed-0"], ["the-recipe", "seed-1"], ["offline-no-noise", "seed-1"],
    ]  # fmt: skip
    told = capsys.readouterr().err.splitlines()
    assert "seed 1 of 2, offline, no noise: training (3 of 4 runs to train)" in told
    assert any(line.startswith("seed 2 of 2, the recipe: training (2 of 4 runs to train, about ") for line in told)


def test_a_variant_that_fails_is_named_and_stops_no_other(
    recipe: Path, stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.fails["offline-no-noise/seed-1 --seed"] = RuntimeError("out of memory")
    with pytest.raises(SystemExit, match="1"):
        cli.main(["ablate", str(recipe), "-o", str(tmp_path / "out.json")])
    out = capsys.readouterr().out
    assert "| offline, no noise (1 of 2 seeds) |" in out
    assert "- failed: offline, no noise, seed 1: RuntimeError: out of memory" in out
    kept = json.loads((tmp_path / "out.json").read_text())
    assert kept["failed"] == [{"variant": "offline, no noise", "seed": 1, "reason": "RuntimeError: out of memory"}]
    assert kept["variants"]["offline, no noise"]["seeds"] == [0]


def test_only_some_variants_run_and_the_others_are_told_as_they_are(
    recipe: Path, stages: Stages, tmp_path: Path
) -> None:
    ablate(recipe, output=tmp_path / "out.json", only=["the recipe"])
    assert {name.split("/")[0] for name in stages.named("train-student")} == {"the-recipe"}
    result = ablate(recipe, output=tmp_path / "out.json", only=["offline, no noise"])
    assert all(of["seeds"] == [0, 1] for of in result["variants"].values())
    with pytest.raises(DistillError, match="no variant 'without'; there are the recipe, offline, no noise"):
        ablate(recipe, output=tmp_path / "out.json", only=["without"])


def test_runs_made_by_other_commands_are_not_told_as_this_variant(recipe: Path, stages: Stages, tmp_path: Path) -> None:
    ablate(recipe, output=tmp_path / "out.json")
    recipe.write_text(recipe.read_text().replace("augment: noise=0,", "augment: noise=0.1,"))
    result = ablate(recipe, output=tmp_path / "out.json", only=["the recipe"])
    assert [of["seeds"] for of in result["variants"].values()] == [[0, 1], []]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("seeds: 2", "seeds: 0", "seeds is 0; it must be a number from 1"),
        ("seeds: 2", "seeds: 2\nseed: 1", "no key 'seed'; an ablation has prepare, "),
        ("folder:", "# folder:", "folder must say where"),
        ("evaluate:\n  people:", "evaluate: {}\n#", "evaluate is missing"),
        ("online: false", "onlin: false", "train-student has no option 'onlin'"),
        ("online: false", "epochs: many", "train-student: Invalid value for '--epochs'"),
        ("online: false", "seed: 3", "train-student: 'seed' is set for each run"),
        ("where: speaker=3", "student: x.onnx", "evaluate: 'student' is set for each run"),
        ("where: speaker=3", "where: speaker", "evaluate: Invalid value for '--where'"),
        ("label: [", "lable: [", "no stage 'lable'"),
        ("the recipe:", "Offline no noise:", "would share a folder"),
        ("the recipe:", "offline, no noise:", "offline, no noise stands twice"),
        ("the recipe:", "the recipe: [x]", "the recipe needs its options as key: value"),
    ],
)
def test_everything_is_checked_before_anything_runs(
    recipe: Path, stages: Stages, tmp_path: Path, before: str, after: str, reason: str
) -> None:
    assert before in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(before, after, 1))
    with pytest.raises(DistillError, match=reason):
        ablate(recipe, output=tmp_path / "out.json")
    assert stages.typed == []


def test_a_name_becomes_a_folder() -> None:
    assert slug("With noise (0.5), CCC+MSE") == "with-noise-0-5-ccc-mse" and slug("+") == "variant"


def test_the_committed_recipe_can_be_run_and_leaves_the_dev_speakers_alone() -> None:
    committed = read_ablation(Path(__file__).parents[2] / "benchmarks" / "recipes" / "ablation.yaml")
    assert len(committed.runs) == len(committed.variants) * committed.seeds > 0
    commands = [*committed.prepare, *(command for run in committed.runs for command in run.commands)]
    rated = [typed for typed in commands if any(word.endswith("emodb/ratings.csv") for word in typed)]
    chosen = {typed[typed.index("--where") + 1] for typed in rated}
    assert len(rated) > 5 and chosen == {"speaker=09|10|11|13", "speaker=03|08"}


def test_a_real_one(
    tmp_path: Path, quick: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("export.check.export_untrained", lambda *_: None)  # a trained one is exported anyway
    write_corpus(tmp_path / "audio", speakers=4, clips=3, seconds=(0.6, 0.8), seed=0)
    recipe = tmp_path / "ablation.yaml"
    recipe.write_text(f"""
prepare: {{label: {{source: {tmp_path}/audio, output: {tmp_path}/labels, teacher: taught, jobs: 1}}}}
train-student: {{labels: {tmp_path}/labels, arch: wav2small-17k, epochs: 1, batch-size: 4, longest: 0.5, workers: 0,
                 device: cpu, precision: float32}}
evaluate: {{teacher: {{truth: {tmp_path}/labels}}}}
seeds: 1
folder: {tmp_path}/runs
variants: {{mse: {{loss: mse}}, wrong: {{augment: nose=0}}}}
""")
    arguments = ["ablate", str(recipe), "-o", str(tmp_path / "out.json"), "--json"]
    with pytest.raises(SystemExit, match="1"):
        cli.main(arguments)
    result = json.loads(capsys.readouterr().out)
    (failed,) = result["failed"]
    assert failed["variant"] == "wrong" and "nose" in failed["reason"]
    told = result["variants"]["mse"]["truths"]["teacher"]
    evaluated = json.loads((tmp_path / "runs/mse/seed-0/against-teacher.json").read_text())
    assert len(told) == 3 and evaluated["n"] == told["arousal"]["n"] == 12
    for axis, score in evaluated["ccc"].items():
        assert told[axis]["values"] == [pytest.approx(score["value"], abs=1e-4)]
    recipe.write_text(recipe.read_text().replace(", wrong: {augment: nose=0}", ""))
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/mse/seed-0").glob("*model*")}
    cli.main(arguments)
    assert json.loads(capsys.readouterr().out)["variants"]["mse"] == result["variants"]["mse"]
    assert made and made == {path: path.stat().st_mtime_ns for path in made}
