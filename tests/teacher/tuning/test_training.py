"""Tuning from end to end on small backbones: it learns, saves what learned, and labels at once."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from distill.audio import SAMPLING_RATE, padded, read
from distill.errors import DistillError, Refused
from distill.evaluation import evaluate
from distill.files import sha256_of
from distill.learning.loss import ccc_loss
from teacher.catalogue import card_of, open_teacher
from teacher.fusing import fuse_teachers
from teacher.labelling import label
from teacher.training import train_teacher
from teacher.tuning import training
from teacher.tuning.backbone import find_backbone, open_backbone
from teacher.tuning.lessons import read_lessons
from teacher.tuning.options import METHODS
from teacher.tuning.saving import open_tuned, read_network
from tests.teacher.test_hub import COMMIT, keep
from tests.teacher.tuning import backbones

COLUMNS = ("file", "speaker", "arousal", "valence", "category")
QUICK: dict[str, Any] = {
    "epochs": 4, "batch_size": 6, "micro_batch": 3, "learning_rate": 3e-3, "patience": None, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return {kind: backbones.write(kind, root / kind) for kind in backbones.KINDS}


def rated_tones(root: Path) -> Path:
    """ratings.csv and 24 clips of 0.5 to 0.7 s of six speakers: arousal is pitch, valence is how clean it is."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(24):
        arousal, valence = draw.uniform(0.1, 0.9, 2)
        time = np.arange(int(SAMPLING_RATE * draw.uniform(0.5, 0.7))) / SAMPLING_RATE
        tone = np.sign(np.sin(2 * np.pi * (100 + 400 * arousal) * time))
        signal = valence * tone + (1 - valence) * draw.standard_normal(len(time))
        soundfile.write(root / f"{number}.wav", 0.1 * signal, SAMPLING_RATE)
        category = "calm" if arousal < 0.5 else "stirred"
        rows.append([f"{number}.wav", f"s{number % 6}", f"{arousal:.3f}", f"{valence:.3f}", category])
    with (root / "ratings.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([COLUMNS, *rows])
    return root


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rated_tones(tmp_path_factory.mktemp("corpus"))


def tuned(backbone: Path, corpus: Path, output: Path, method: str = "lora", **options: Any) -> dict[str, Any]:
    return train_teacher(
        options.pop("labels", corpus / "ratings.csv"), backbone=str(backbone), output=output, method=method,
        **{**QUICK, **({"top_layers": 1} if method == "partial" else {}), **options},
    )  # fmt: skip


def signals(corpus: Path) -> list[np.ndarray]:
    return [read(corpus / f"{number}.wav") for number in range(4)]


def answers(annotator: Any, clips: list[np.ndarray]) -> np.ndarray:
    return np.asarray(annotator.annotate(padded(clips), [len(clip) for clip in clips], SAMPLING_RATE).adv)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def proven(kind: str, method: str, folders: dict[str, Path], corpus: Path, output: Path) -> None:
    """It lowers the loss, leaves what is frozen alone, saves what learned, loads strictly, answers otherwise."""
    result = tuned(folders[kind], corpus, output, method)
    assert len(losses(output)) == 4
    network, untouched = read_network(output), open_backbone(find_backbone(str(folders[kind])))
    learned = load_file(output / "learned.safetensors")
    assert result["trainable"] == sum(tensor.numel() for tensor in learned.values())
    theirs = untouched.state_dict()
    own = {name.replace("base_layer.", "").replace("feed_forward.feed_forward.", "feed_forward."): tensor
           for name, tensor in network.backbone.state_dict().items() if f"backbone.{name}" not in learned}  # fmt: skip
    kept = [name for name in own if name in theirs]
    assert kept and all(torch.equal(own[name], theirs[name]) for name in kept)
    if method not in ("full", "partial"):
        assert set(kept) == set(theirs)
    torch.manual_seed(0)
    start = training._network(network.design, find_backbone(str(folders[kind])), checkpointing=False).eval()
    clips = [read(corpus / f"{number}.wav") for number in range(24)]
    with (corpus / "ratings.csv").open() as handle:
        rated = [(float(row["arousal"]), np.nan, float(row["valence"])) for row in csv.DictReader(handle)]
    start.start_near(torch.tensor(rated))
    with torch.inference_mode():
        before = torch.cat([start(torch.from_numpy(clip)[None])[:, :3] for clip in clips])
    after = torch.from_numpy(answers(open_teacher(str(output), "cpu"), clips))
    assert float(ccc_loss(after, torch.tensor(rated))) < float(ccc_loss(before, torch.tensor(rated)))
    assert (after - before)[:, [0, 2]].abs().max() > 1e-2 and torch.isnan(after[:, 1]).all()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_teacher(method: str, folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    proven("wavlm", method, folders, corpus, tmp_path / "mine")


@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert", "whisper"])
def test_of_every_family_a_teacher_is_made(kind: str, folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    proven(kind, "lora", folders, corpus, tmp_path / "mine")


@pytest.mark.long
@pytest.mark.parametrize("kind", backbones.KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_family(
    kind: str, method: str, folders: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    proven(kind, method, folders, corpus, tmp_path / "mine")


@pytest.fixture(scope="module")
def mine(folders: dict[str, Path], corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of axes and categories."""
    output = tmp_path_factory.mktemp("teachers") / "mine"
    tuned(folders["hubert"], corpus, output, "adapter", task="both", data_licence="CC0-1.0")
    return output


def test_the_result_says_what_was_learned_and_how_well(mine: Path) -> None:
    result = json.loads((mine / "result.json").read_text())
    assert result["axes"] == ["arousal", "valence"] and result["missing"] == ["dominance"]
    assert result["classes"] == {"category": ["calm", "stirred"]} and set(result["ccc"]) == {"arousal", "valence"}
    recall = result["uar"]["category"]
    assert 0 <= recall["low"] <= recall["value"] <= recall["high"] <= 1
    assert result["split"]["by"] == "speaker" and len(result["split"]["held_out_groups"]) == 1
    assert result["split"]["train"] + result["split"]["held_out"] == 24
    lines = [json.loads(line) for line in (mine / "metrics.jsonl").read_text().splitlines()]
    assert all({"arousal", "valence"} == set(line["ccc"]) and set(line["uar"]) == {"category"} for line in lines)


def test_the_folder_holds_what_learned_and_nothing_else(mine: Path) -> None:
    assert {path.name for path in mine.iterdir()} == {
        ".lock", "README.md", "config.yaml", "env.json", "learned.safetensors", "metrics.jsonl", "result.json",
        "teacher.json",
    }  # fmt: skip
    names = set(load_file(mine / "learned.safetensors"))
    assert {"head.each.0.weight", "head.each.0.bias", "readouts.0.hidden.0.weight"} <= names
    assert not any(".attention." in name for name in names)


def test_what_is_opened_answers_as_what_was_scored(mine: Path, corpus: Path) -> None:
    result = json.loads((mine / "result.json").read_text())
    held = result["split"]["held_out_groups"]
    found = evaluate(
        truth=corpus / "ratings.csv", teacher=str(mine), where={"speaker": "|".join(held)},
        open_teacher=lambda name: open_teacher(name, "cpu"),
    )  # fmt: skip
    assert found["n"] == result["n"]
    for axis, scored in result["ccc"].items():
        assert found["ccc"][axis]["value"] == pytest.approx(scored["value"], abs=1e-3)


def test_licences_are_the_strictest_parents(mine: Path, folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    card = card_of(str(mine))
    assert card is not None and (card.licence, card.data_licence) == ("mit", "unknown")
    result = tuned(
        folders["hubert"], corpus, tmp_path / "t", "head", licence="CC-BY-NC-4.0", data_licence="CC0-1.0",
        backbone_data_licence="CC BY 4.0", epochs=1,
    )  # fmt: skip
    assert (result["licence"], result["data_licence"]) == ("CC-BY-NC-4.0", "CC BY 4.0; CC0-1.0")
    assert 'license: "CC-BY-NC-4.0"' in (tmp_path / "t" / "README.md").read_text()
    with pytest.raises(Refused, match="what it learns from: unknown is unknown, and permissive is required"):
        tuned(folders["hubert"], corpus, tmp_path / "u", require_licence="permissive")
    assert not (tmp_path / "u").exists()


def test_it_is_at_once_a_teacher(mine: Path, corpus: Path, tmp_path: Path) -> None:
    result = label(corpus, output=tmp_path / "labels", teacher=str(mine), device="cpu", jobs=1)
    assert result["labelled"] == 24 and not result["failed"]
    info = json.loads((tmp_path / "labels" / "labels.json").read_text())
    assert info["axes"] == ["arousal", "valence"] and info["teacher"]["name"] == "mine"
    assert info["teacher"]["revision"] == json.loads((mine / "teacher.json").read_text())["card"]["revision"]


def test_what_stands_behind_a_clip_changes_no_answer(mine: Path, corpus: Path) -> None:
    teacher, clips = open_tuned(mine, "cpu"), signals(corpus)
    teacher.together = 4
    batch = padded(clips)
    for row, clip in zip(batch, clips, strict=True):
        row[len(clip) :] = np.nan
    together = teacher.annotate(batch, [len(clip) for clip in clips], SAMPLING_RATE).adv
    alone = np.concatenate([answers(teacher, [clip]) for clip in clips])
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_an_interrupted_tuning_ends_the_same_to_the_bit(
    folders: dict[str, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pieces = tmp_path / "a" / "mine", tmp_path / "b" / "mine"
    tuned(folders["wavlm"], corpus, whole)
    original = training.score
    calls: list[int] = []

    def dies(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*given, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "score", dies)
        tuned(folders["wavlm"], corpus, pieces)
    tuned(folders["wavlm"], corpus, pieces)
    first, second = (load_file(folder / "learned.safetensors") for folder in (whole, pieces))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert losses(whole) == losses(pieces)


def test_a_finished_one_is_recognised_and_another_refused(
    mine: Path, folders: dict[str, Path], corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (mine / "learned.safetensors").stat().st_mtime_ns
    again = tuned(folders["hubert"], corpus, mine, "adapter", task="both", data_licence="CC0-1.0")
    assert "already trained" in capsys.readouterr().err and again["method"] == "adapter"
    assert (mine / "learned.safetensors").stat().st_mtime_ns == before
    with pytest.raises(Refused, match="was begun with"):
        tuned(folders["hubert"], corpus, mine, "lora", task="both", data_licence="CC0-1.0")


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_other_weights_than_it_was_saved_with_are_refused(mine: Path, tmp_path: Path) -> None:
    damaged = copied(mine, tmp_path / "damaged")
    tensors = load_file(damaged / "learned.safetensors")
    save_file({**tensors, "head.each.0.bias": tensors["head.each.0.bias"] + 1}, damaged / "learned.safetensors")
    with pytest.raises(DistillError, match=r"learned\.safetensors: is not the file that teacher\.json speaks of"):
        open_teacher(str(damaged), "cpu")


@pytest.mark.parametrize("change", [
    lambda tensors: {name: x for name, x in tensors.items() if name != "head.each.0.bias"},
    lambda tensors: {**tensors, "wings": torch.zeros(2)},
    lambda tensors: {**tensors, "head.each.0.bias": torch.zeros(9)},
])  # fmt: skip
def test_a_tensor_more_or_less_or_misshaped_is_named(
    change: Callable[[dict[str, Any]], dict[str, Any]], mine: Path, tmp_path: Path
) -> None:
    damaged = copied(mine, tmp_path / "damaged")
    save_file(change(load_file(damaged / "learned.safetensors")), damaged / "learned.safetensors")
    said = json.loads((damaged / "teacher.json").read_text())
    said["learned"]["sha256"] = sha256_of(damaged / "learned.safetensors")
    (damaged / "teacher.json").write_text(json.dumps(said))
    with pytest.raises(DistillError, match=r"the tensor (head\.each\.0\.bias|wings)"):
        open_teacher(str(damaged), "cpu")


def test_another_backbone_than_it_was_tuned_on_is_refused(
    folders: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    backbone = backbones.write("wavlm", tmp_path / "backbone")
    tuned(backbone, corpus, tmp_path / "mine", "head", epochs=1)
    backbones.write("wavlm", backbone, seed=1)
    with pytest.raises(DistillError, match="holds other weights"):
        open_teacher(str(tmp_path / "mine"), "cpu")
    backbone.rename(tmp_path / "moved")
    with pytest.raises(DistillError, match=r"is not there; put it there, or write its place into teacher\.json"):
        open_teacher(str(tmp_path / "mine"), "cpu")
    assert card_of(str(tmp_path / "mine")) is not None


# --- before the first step -------------------------------------------------------------------------------------------


def table_of(corpus: Path, path: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> Path:
    with (corpus / "ratings.csv").open() as handle:
        rows = [changed for row in csv.DictReader(handle) if (changed := change(row)) is not None]
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def without(*columns: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda row: {name: value for name, value in row.items() if name not in columns}


@pytest.mark.parametrize(("change", "options", "said"), [
    (without("arousal", "valence"), {}, "has no ratings of arousal, dominance, valence"),
    (without("speaker"), {}, "of 24 of 24 clips the speaker is not known"),
    (without("category"), {"task": "both"}, "telling 'category' apart needs such a column"),
    (lambda row: {**row, "arousal": "4.5"}, {}, "ratings are numbers from 0 to 1"),
    (lambda row: {**row, "arousal": "high"}, {}, "arousal is 'high'"),
    (lambda row: {**row, "arousal": "0.5"}, {}, "arousal is the same in all"),
    (lambda row: {**row, "file": f"no-{row['file']}"}, {}, "none of its 24 recordings is there"),
    (lambda row: {**row, "speaker": "one"}, {}, "all clips belong to one group"),
    (lambda row: row, {"task": "all"}, "--task all"),
    (lambda row: row, {"ccc_over": "clip"}, "--ccc-over clip"),
    (lambda row: row, {"batch_size": 0}, "--batch-size 0: must be above 0"),
    (lambda row: row, {"top_layers": 5, "method": "partial"}, "the backbone has 2 layers"),
    (lambda row: row, {"top_layers": 1, "method": "head"}, "--top-layers goes with --method partial, not with head"),
    (lambda row: row, {"batch_size": 1}, "--batch-size 1: CCC is taken over the clips of one; at least 2"),
    (lambda row: row, {"micro_batch": 1, "ccc_over": "micro-batch"}, "--micro-batch 1: CCC is taken over"),
    (lambda row: {**row, "arousal": "nan"}, {}, "ratings are numbers from 0 to 1, or empty"),
])  # fmt: skip
def test_what_cannot_work_is_said_before_the_first_step(
    change: Any, options: dict[str, Any], said: str, folders: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    labels = table_of(corpus, tmp_path / "t.csv", change)
    with pytest.raises(DistillError, match=said):
        tuned(folders["hubert"], corpus, tmp_path / "mine", labels=labels, audio=corpus, **options)
    assert not (tmp_path / "mine" / "metrics.jsonl").exists()


def test_a_disk_that_is_too_small_is_said_before_the_first_step(
    folders: dict[str, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_BYTES_A_NUMBER", 10**15)
    with pytest.raises(DistillError, match="MB are needed"):
        tuned(folders["hubert"], corpus, tmp_path / "mine")


def test_what_cannot_be_saved_is_said_before_the_first_step(
    folders: dict[str, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.saving, "put_learned", lambda network, path: None)
    with pytest.raises(DistillError, match="comes back changed"):
        tuned(folders["hubert"], corpus, tmp_path / "mine")


def test_speakers_may_stand_in_the_paths(folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    labels = table_of(corpus, tmp_path / "t.csv", without("speaker"))
    result = tuned(
        folders["hubert"], corpus, tmp_path / "mine", "head", labels=labels, audio=corpus, speaker_from=r"(\d)\.wav",
        epochs=1,
    )  # fmt: skip
    assert result["split"]["by"] == "speaker" and set(result["split"]["held_out_groups"]) <= set("0123456789")


def test_a_split_that_the_table_gives_is_kept_to(folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    sides = {"s0": "Train", "s1": "Train", "s2": "Development", "s3": "Test1", "s4": "Train", "s5": "Train"}
    labels = table_of(
        corpus, tmp_path / "t.csv", lambda row: {**without("speaker")(row), "split": sides[row["speaker"]]}
    )
    result = tuned(folders["hubert"], corpus, tmp_path / "mine", "head", labels=labels, audio=corpus, epochs=1)
    assert result["split"] == {"by": "the column split", "held_out_groups": result["split"]["held_out_groups"],
                               "train": 16, "held_out": 4}  # fmt: skip


def test_rows_for_testing_are_not_learned_from_where_nobody_says_who_is_held_out(
    folders: dict[str, Path], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = table_of(corpus, tmp_path / "t.csv", lambda row: {**row, "split": "test" if row["speaker"] in ("s0", "s1")
                                                               else "train"})  # fmt: skip
    result = tuned(folders["hubert"], corpus, tmp_path / "mine", "head", labels=labels, audio=corpus, epochs=1)
    assert "left out by the column split: 8 of test" in capsys.readouterr().err
    assert result["split"]["by"] == "speaker" and result["split"]["train"] + result["split"]["held_out"] == 16
    assert not {"s0", "s1"} & set(result["split"]["held_out_groups"])
    assert result["trained_on"] == f"t.csv: {result['split']['train']} clips of 3 speakers"


def test_a_split_with_speakers_on_both_sides_is_told(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = iter(range(24))
    labels = table_of(
        corpus, corpus / "both.csv", lambda row: {**row, "split": ("train", "dev")[next(numbers) % 5 == 0]}
    )
    read_lessons(labels)
    assert "speakers are learned from and scored on (s0)" in capsys.readouterr().err


def test_a_class_whose_only_clip_cannot_be_read_is_told(folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    soundfile.write(corpus / "short.wav", np.full(800, 0.1), SAMPLING_RATE)
    first = iter([True])

    def change(row: dict[str, str]) -> dict[str, str]:
        return {**row, "file": "short.wav", "category": "rare"} if next(first, False) else row

    labels = table_of(corpus, tmp_path / "t.csv", change)
    with pytest.raises(DistillError, match="no training clip is of the category 'rare'"):
        tuned(folders["hubert"], corpus, tmp_path / "mine", "head", labels=labels, audio=corpus, task="both", seed=1)


def test_a_run_whose_clips_are_described_otherwise_is_another(
    folders: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    def told(sexes: str) -> Path:
        numbers = iter(range(24))
        return table_of(corpus, tmp_path / "t.csv", lambda row: {**row, "sex": sexes[next(numbers) % len(sexes)]})

    how: dict[str, Any] = {"condition": "gender", "audio": corpus, "epochs": 1}
    tuned(folders["hubert"], corpus, tmp_path / "mine", "head", labels=told("fm"), **how)
    with pytest.raises(Refused, match="was begun with told_sha256"):
        tuned(folders["hubert"], corpus, tmp_path / "mine", "head", labels=told("ff"), **how)


def test_a_folder_keeps_the_teacher_that_it_holds(mine: Path, corpus: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in mine.iterdir())
    with pytest.raises(Refused, match="holds a tuned teacher; choose another folder"):
        train_teacher(corpus / "ratings.csv", output=mine)
    with pytest.raises(Refused, match="holds a tuned teacher; choose another folder"):
        fuse_teachers([str(mine), "prosody"], truth=corpus / "ratings.csv", output=mine)
    assert sorted(path.name for path in mine.iterdir()) == before


def test_it_ends_early_where_held_out_speakers_gain_nothing(
    folders: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    result = tuned(folders["hubert"], corpus, tmp_path / "mine", "head", epochs=50, patience=2, learning_rate=1e-9)
    assert result["epochs"] < 50


def test_prosody_is_still_a_method_and_takes_its_own_options_alone(corpus: Path, tmp_path: Path) -> None:
    result = train_teacher(corpus / "ratings.csv", output=tmp_path / "p", where={"speaker": "s0|s1|s2"})
    assert set(result["loso_ccc"]) == {"arousal", "valence"}
    with pytest.raises(DistillError, match="prosody takes no --epochs"):
        train_teacher(corpus / "ratings.csv", output=tmp_path / "q", epochs=3)
    with pytest.raises(DistillError, match="--method lora tunes a backbone"):
        train_teacher(corpus / "ratings.csv", output=tmp_path / "q", method="lora")


@pytest.mark.parametrize("kind", ["wavlm", "hubert-base", "whisper"])
def test_products_may_be_in_half_precision(kind: str, folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    result = tuned(folders[kind], corpus, tmp_path / "mine", "lora", precision="bfloat16", checkpointing=True, epochs=2)
    assert all(np.isfinite(losses(tmp_path / "mine"))) and result["epochs"] == 2


def test_a_backbone_of_the_hub_is_found_again_at_its_commit_on_another_machine(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backbones.write("hubert", tmp_path / "made")
    for machine in ("here", "there"):
        keep(tmp_path / machine, "owner/backbone", made)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "here"))
    result = train_teacher(
        corpus / "ratings.csv", backbone="owner/backbone", output=tmp_path / "mine", **{**QUICK, "epochs": 1}
    )  # fmt: skip
    assert (result["method"], result["backbone"], result["licence"]) == ("lora", "owner/backbone", "mit")
    said = json.loads((tmp_path / "mine" / "teacher.json").read_text())
    assert said["backbone"]["revision"] == COMMIT
    before = answers(open_teacher(str(tmp_path / "mine"), "cpu"), signals(corpus))
    (tmp_path / "here").rename(tmp_path / "gone")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "there"))
    np.testing.assert_array_equal(answers(open_teacher(str(tmp_path / "mine"), "cpu"), signals(corpus)), before)
