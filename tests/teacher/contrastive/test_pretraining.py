"""Pre-training from end to end, the tuning of what came of it, and the comparison at few labels."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill.cli import main
from distill.errors import DistillError, Refused
from distill.evaluation import evaluate
from distill.files import read_json
from distill.runs import read_config
from teacher.catalogue import card_of, open_teacher
from teacher.contrastive import pretraining
from teacher.contrastive.commands import _pretrained
from teacher.contrastive.few_labels import draw, few_labels
from teacher.contrastive.functionals import KINDS
from teacher.contrastive.pretraining import pretrain_views
from teacher.contrastive.report import as_table
from teacher.labelling import label
from teacher.prosody.features import functionals
from teacher.training import train_teacher
from teacher.tuning.backbone import find_backbone, open_backbone
from tests.teacher.contrastive.conftest import QUICK
from tests.teacher.tuning import backbones

TUNED: dict[str, Any] = {"method": "full", "epochs": 2, "batch_size": 16, "micro_batch": 16, "device": "cpu"}


def lines(folder: Path) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in told]


# --- pre-training ----------------------------------------------------------------------------------------------------


def test_views_come_to_agree(views: Path) -> None:
    result, told = read_json(views / "result.json"), lines(views)
    assert result["views"] == ["log-mel", "functionals"] and len(told) == result["epochs"] == 8
    assert told[-1]["loss"] < 0.7 * told[0]["loss"]
    assert result["chance"] == 1 / result["n"] and result["train"] + result["n"] > 48  # some are cut in two
    assert np.mean(list(result["retrieval"].values())) > 2 * result["chance"]
    assert result["retrieval"] in [line["retrieval"] for line in told]


def test_the_folder_says_what_it_is(views: Path, on_speech: Path, wavlm: Path) -> None:
    assert {path.name for path in views.iterdir()} == {
        ".lock", "README.md", "config.json", "config.yaml", "env.json", "metrics.jsonl", "model.safetensors",
        "result.json",
    }  # fmt: skip
    origin = find_backbone(str(views))
    assert (origin.family, origin.licence) == ("distill-views", "MIT")
    assert read_json(views / "config.json")["data_licence"] == "CC0-1.0"
    said = read_json(on_speech / "config.json")
    assert said["backbone"]["name"] == str(wavlm) and said["speech"] == 64
    assert not any(name.startswith("speech") for name in load_file(on_speech / "model.safetensors"))


def test_the_command_says_what_was_found_again(views: Path) -> None:
    said = _pretrained({**read_json(views / "result.json"), "output": "views"}).splitlines()
    assert said[0].startswith("views: log-mel, functionals, 364,672 parameters, 8 epochs in ")
    assert len(said) == 4 and said[2].startswith("  log-mel to functionals: 0.")


def test_an_interrupted_pre_training_ends_the_same_to_the_bit(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    pretrain_views(recordings, output=whole, **QUICK)
    calls: list[int] = []

    class Dies(pretraining.Retrieval):
        def __call__(self, projected: np.ndarray, target: np.ndarray) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return super().__call__(projected, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pretraining, "Retrieval", Dies)
        pretrain_views(recordings, output=pieces, **QUICK)
    assert not (pieces / "config.json").exists() and len(lines(pieces)) == 1
    monkeypatch.setattr(pretraining, "described", lambda *given: pytest.fail("functionals are computed again"))
    pretrain_views(recordings, output=pieces, **QUICK)
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, pieces))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert lines(whole) == lines(pieces)


def test_a_finished_one_is_recognised_and_another_refused(
    recordings: Path, on_speech: Path, wavlm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = pretrain_views(recordings, output=on_speech, backbone=str(wavlm), **{**QUICK, "epochs": 1})
    assert "already trained" in capsys.readouterr().err and len(again["views"]) == 3
    with pytest.raises(Refused, match="was begun with seed 0, now it is 1"):
        pretrain_views(recordings, output=on_speech, backbone=str(wavlm), seed=1, **{**QUICK, "epochs": 1})


def test_what_cannot_be_read_is_named_and_stops_nothing(recordings: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(recordings, mixed)
    (mixed / "broken.wav").write_bytes(b"no sound")
    result = pretrain_views(mixed, output=tmp_path / "views", **{**QUICK, "epochs": 1})
    with (tmp_path / "views" / "left_out.csv").open() as handle:
        assert [row["file"] for row in csv.DictReader(handle)] == ["broken.wav"]
    assert result["train"] > 40


@pytest.mark.parametrize(("options", "said"), [
    ({"batch_size": 1}, "--batch-size 1: a clip has to be found among others"),
    ({"temperature": 0.0}, "--temperature 0: must be above 0"),
    ({"longest": 0.1}, r"--longest 0\.1: clips are at least 0\.3 s long"),
    ({"functionals": "theirs"}, "--functionals theirs: there are own, egemaps"),
    ({"backbone": "nowhere at all"}, "--backbone nowhere at all: no such folder"),
    ({"audio": "nowhere"}, "nowhere: no such file or folder"),
    ({"speaker_from": r"(s)\d-"}, "all clips belong to one group"),
    ({"require_licence": "permissive"}, "the views: unknown is unknown"),
])  # fmt: skip
def test_what_cannot_work_is_said_before_the_first_step(
    options: dict[str, Any], said: str, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(DistillError, match=said):
        pretrain_views(**{"audio": recordings, **QUICK, **options}, output=tmp_path / "views")
    assert not (tmp_path / "views").exists()


def test_views_do_not_stand_on_views(views: Path, recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="holds views itself"):
        pretrain_views(recordings, output=tmp_path / "views", backbone=str(views), **QUICK)


def test_what_opensmile_made_is_not_for_commercial_use(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for openSMILE: the licence is that of what the name says."""
    monkeypatch.setitem(KINDS, "egemaps", replace(KINDS["egemaps"], describe=lambda signal: functionals(signal)[:88]))
    asked = {**QUICK, "epochs": 1, "functionals": "egemaps", "licence": "MIT", "data_licence": "CC0-1.0"}
    with pytest.raises(Refused, match="is non-commercial, and permissive is required"):
        pretrain_views(recordings, output=tmp_path / "views", require_licence="permissive", **asked)
    pretrain_views(recordings, output=tmp_path / "views", **asked)
    assert find_backbone(str(tmp_path / "views")).licence == KINDS["egemaps"].licence
    assert not open_backbone(find_backbone(str(tmp_path / "views"))).normalises


@pytest.mark.skipif(find_spec("opensmile") is not None, reason="openSMILE is installed")
def test_the_extra_that_brings_opensmile_is_named(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["pretrain-views", "--audio", str(recordings), "--functionals", "egemaps", "-o", str(tmp_path / "views")])
    assert left.value.code == 1 and capsys.readouterr().err.strip().endswith("pip install '.[opensmile]'")


# --- tuning ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few(on_speech: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("teachers") / "few"
    train_teacher(recordings / "ratings.csv", backbone=str(on_speech), output=output, task="both", **TUNED)
    return output


def test_what_is_tuned_is_at_once_a_teacher(few: Path, recordings: Path, tmp_path: Path) -> None:
    config, result = read_config(few), read_json(few / "result.json")
    assert (config["learning_rate"], config["design"]["layers"]) == (1e-3, "last")
    names = set(load_file(few / "learned.safetensors"))
    assert "backbone.encoders.described.layers.0.weight" in names and not any(".speech." in name for name in names)
    labelled = label(recordings, output=tmp_path / "labels", teacher=str(few), device="cpu", jobs=1)
    assert labelled["labelled"] == 48 and not labelled["failed"]
    card = card_of(str(few))
    assert card is not None and card.licence == "mit"
    assert "the encoders of all views" in (few / "README.md").read_text()
    found = evaluate(
        truth=recordings / "ratings.csv", teacher=str(few),
        where={"speaker": "|".join(result["split"]["held_out_groups"])},
        open_teacher=lambda name: open_teacher(name, "cpu"),
    )  # fmt: skip
    for axis, scored in result["ccc"].items():
        assert found["ccc"][axis]["value"] == pytest.approx(scored["value"], abs=1e-3)


def test_its_encoders_are_no_longer_those_that_were_pre_trained(few: Path, on_speech: Path) -> None:
    learned, before = load_file(few / "learned.safetensors"), load_file(on_speech / "model.safetensors")
    own = {name.removeprefix("backbone.encoders."): x for name, x in learned.items() if ".encoders." in name}
    assert own and all(name in before and not torch.equal(x, before[name]) for name, x in own.items())


def test_the_head_alone_may_learn(views: Path, recordings: Path, tmp_path: Path) -> None:
    options = {**TUNED, "method": "head"}
    train_teacher(recordings / "ratings.csv", backbone=str(views), output=tmp_path / "head", **options)
    assert not any("encoders" in name for name in load_file(tmp_path / "head" / "learned.safetensors"))


@pytest.mark.parametrize(("options", "said"), [
    ({"method": "lora"}, "--method lora: views have no layers to put it on; there are full, head"),
    ({"method": "partial"}, "--method partial: views have no layers"),
    ({"layers": "weighted"}, "--layers weighted: views are one state; there is last"),
    ({"pooling": "std"}, "--pooling std: views are one state"),
])  # fmt: skip
def test_what_views_do_not_take_is_said_at_once(
    options: dict[str, Any], said: str, views: Path, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(DistillError, match=said):
        train_teacher(recordings / "ratings.csv", backbone=str(views), output=tmp_path / "t", **{**TUNED, **options})
    assert not (tmp_path / "t").exists()


def test_the_speech_backbone_under_them_has_to_be_the_same(recordings: Path, tmp_path: Path) -> None:
    speech = backbones.write("wavlm", tmp_path / "speech")
    output = tmp_path / "views"
    options = {**QUICK, "epochs": 1, "micro_batch": 5, "precision": "bfloat16"}
    pretrain_views(recordings, output=output, backbone=str(speech), **options)
    assert np.isfinite(lines(output)[0]["loss"])
    backbones.write("wavlm", speech, seed=1)
    with pytest.raises(DistillError, match="holds other weights"):
        open_backbone(find_backbone(str(output)))
    speech.rename(tmp_path / "moved")
    with pytest.raises(DistillError, match=r"write its place into their config\.json"):
        open_backbone(find_backbone(str(output)))


# --- few labels ------------------------------------------------------------------------------------------------------

COMPARED: dict[str, Any] = {"k": (16, 24), "seeds": 2, "epochs": 2, "batch_size": 12, "device": "cpu"}


@pytest.fixture(scope="module")
def compared(views: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report") / "report"
    few_labels(views, labels=recordings / "ratings.csv", output=output, **COMPARED)
    return output


def test_the_report_holds_levels_and_gains(compared: Path) -> None:
    result = read_json(compared / "few_labels.json")
    assert set(result["k"]) == {"16", "24"} and set(result["tested"]) == {"0", "1"}
    for measures in result["k"].values():
        assert set(measures) == {"arousal CCC", "valence CCC", "category UAR"}
        for of in measures.values():
            pairs = zip(of["pretrained"]["values"], of["untrained"]["values"], strict=True)
            assert of["gain"]["values"] == pytest.approx([one - other for one, other in pairs])
            assert of["gain"]["low"] <= of["gain"]["value"] == pytest.approx(np.mean(of["gain"]["values"]))
    page = (compared / "few_labels.md").read_text()
    assert (
        page.count("\n| 16 |") == page.count("\n| 24 |") == 3 and "By chance the UAR of category would be 0.500" in page
    )


def test_the_page_says_which_gains_are_none_of_chance() -> None:
    level = {"value": 0.5, "low": 0.4, "high": 0.6}
    gains = {"a": (0.1, 0.05, 0.15), "b": (-0.1, -0.15, -0.05), "c": (0.1, -0.1, 0.3)}
    result = {
        "views": "v", "revision": "1", "trained_on": "speech", "labels": "r.csv", "method": "full", "seeds": 2,
        "speakers": 4, "clips": 9, "classes": {}, "tested": {0: ["x"], 1: ["x"]},
        "k": {5: {name: {"untrained": level, "pretrained": level, "gain": dict(zip(level, gain, strict=True))}
                  for name, gain in gains.items()}},
    }  # fmt: skip
    page = as_table(result)
    assert "| 5 | a | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] | +0.100 [+0.050, +0.150] |" in page
    assert "lies above zero for 1 (a at k = 5), below zero for 1 (b at k = 5), and holds zero for the others" in page
    assert "1 different sets of speakers" in page and "By chance" not in page


def test_no_speaker_is_learned_from_and_tested_on(compared: Path) -> None:
    result = read_json(compared / "few_labels.json")
    for seed, tested in result["tested"].items():
        tables = {}
        for k in (16, 24):
            with (compared / "cells" / f"seed-{seed}" / f"k-{k}" / "labels.csv").open() as handle:
                tables[k] = list(csv.DictReader(handle))
            assert len(tables[k]) == k
            assert not {f"speaker {row['speaker']}" for row in tables[k]} & set(tested) and len(tested) == 2
        assert tables[24][:16] == tables[16]


def test_what_is_done_is_not_done_again(compared: Path, views: Path, recordings: Path) -> None:
    cells = sorted(compared.glob("cells/*/*/*.json"))
    before, page = [cell.stat().st_mtime_ns for cell in cells], (compared / "few_labels.md").read_text()
    assert len(cells) == 8
    lost = cells.pop()
    lost.unlink()
    before.pop()
    few_labels(views, labels=recordings / "ratings.csv", output=compared, **COMPARED)
    assert lost.is_file() and [cell.stat().st_mtime_ns for cell in cells] == before
    assert (compared / "few_labels.md").read_text() == page
    with pytest.raises(Refused, match="was begun with epochs 2, now it is 3"):
        few_labels(views, labels=recordings / "ratings.csv", output=compared, **{**COMPARED, "epochs": 3})


def test_the_command_prints_the_page(
    compared: Path, views: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([
        "few-labels", "--views", str(views), "--labels", str(recordings / "ratings.csv"), "-k", "16", "-k", "24",
        "--seeds", "2", "--epochs", "2", "--batch-size", "12", "--device", "cpu", "-o", str(compared),
    ])  # fmt: skip
    assert capsys.readouterr().out == (compared / "few_labels.md").read_text()


def test_views_that_learned_nothing_gain_nothing(recordings: Path, tmp_path: Path) -> None:
    """Both starts are equal in all but what pre-training changed: the first weights and the standardisation, too."""
    idle = tmp_path / "idle"
    pretrain_views(recordings, output=idle, **{**QUICK, "epochs": 1, "learning_rate": 1e-9})
    options = {**COMPARED, "k": (16,)}
    result = few_labels(idle, labels=recordings / "ratings.csv", output=tmp_path / "report", **options)
    for of in result["k"][16].values():
        assert of["gain"]["values"] == pytest.approx([0, 0], abs=1e-3)


def test_a_draw_spreads_over_speakers_sexes_and_categories() -> None:
    groups = [f"speaker {number % 8}" for number in range(160)]
    sexes = ["female" if number % 8 < 4 else "male" for number in range(160)]
    kinds = [f"{number % 5}" for number in range(160)]
    draws = [draw(groups, sexes, kinds, seed) for seed in range(20)]
    for one in draws:
        tested = {groups[place] for place in one.tested}
        assert len(tested) == 2 and len({sexes[place] for place in one.tested}) == 2
        assert not tested & {groups[place] for place in one.learned} and len(one.tested) + len(one.learned) == 160
        first = {(groups[place], kinds[place]) for place in one.learned[:30]}
        assert len(first) == 30  # six speakers, five categories
    assert len({tuple(one.tested) for one in draws}) > 5


def test_speakers_are_drawn_until_enough_is_left_to_learn_from() -> None:
    groups = ["a"] * 50 + ["b"] * 10 + ["c"] * 10 + ["d"] * 10
    draws = [draw(groups, [""] * 80, [""] * 80, seed, needed=70) for seed in range(20)]
    assert {len(one.learned) for one in draws} == {70} and len({int(one.tested[0]) for one in draws}) == 3


def test_views_say_themselves_what_they_learned_from(views: Path, recordings: Path, tmp_path: Path) -> None:
    made = train_teacher(
        recordings / "ratings.csv", backbone=str(views), output=tmp_path / "t", data_licence="CC BY 4.0",
        require_licence="permissive", epochs=1, batch_size=16, micro_batch=16, device="cpu",
    )  # fmt: skip
    assert (made["licence"], made["data_licence"]) == ("MIT", "CC0-1.0; CC BY 4.0")
    assert made["method"] == "full"  # what views take where nobody says


def test_what_a_backbone_under_views_has_learned_from_is_theirs_too(
    wavlm: Path, recordings: Path, tmp_path: Path
) -> None:
    asked = {**QUICK, "epochs": 1, "backbone": str(wavlm), "licence": "MIT", "data_licence": "CC0-1.0"}
    with pytest.raises(Refused, match=r"what they learn from: unknown is unknown.*--backbone-data-licence"):
        pretrain_views(recordings, output=tmp_path / "no", require_licence="permissive", **asked)
    made = pretrain_views(
        recordings, output=tmp_path / "views", require_licence="permissive", backbone_data_licence="CC BY 4.0", **asked
    )
    assert made["data_licence"] == "CC0-1.0; CC BY 4.0"


def test_a_comparison_that_was_refused_may_be_asked_for_better(views: Path, recordings: Path, tmp_path: Path) -> None:
    asked = {**COMPARED, "labels": recordings / "ratings.csv", "output": tmp_path / "report"}
    with pytest.raises(DistillError, match="take more"):
        few_labels(views, **{**asked, "k": (2,)})
    assert few_labels(views, **{**asked, "k": (16,), "epochs": 1})["seeds"] == 2


@pytest.mark.parametrize(("options", "said"), [
    ({"k": (400,)}, "-k 400: of 48 clips of 8 speakers not so many are left"),
    ({"k": (2,)}, r"-k 2: too few to learn from \(.*with two different values\); take more"),
    ({"views": "wavlm"}, "holds wavlm; `distill pretrain-views` writes views"),
    ({"where": {"speaker": "s0|s1"}}, "-k 24: of 12 clips of 2 speakers not so many"),
])  # fmt: skip
def test_a_comparison_that_cannot_work_is_refused_before_anything_is_tuned(
    options: dict[str, Any], said: str, views: Path, wavlm: Path, recordings: Path, tmp_path: Path
) -> None:
    asked = {"views": views, **COMPARED, **options}
    asked["views"] = wavlm if asked["views"] == "wavlm" else asked["views"]
    with pytest.raises(DistillError, match=said):
        few_labels(**asked, labels=recordings / "ratings.csv", output=tmp_path / "report")
    assert not list(tmp_path.glob("report/cells/*/*/*trained"))


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    results = Path(__file__).parents[3] / "benchmarks" / "results" / "teachers"
    found = sorted(results.glob("few_labels*.json"))
    assert found
    for path in found:
        assert as_table(read_json(path)) + "\n" == path.with_suffix(".md").read_text()
        tested = {speaker for of in read_json(path)["tested"].values() for speaker in of}
        assert tested and not tested & {"speaker 12", "speaker 14"}  # who is read sparingly
