"""Several tasks over one frozen backbone: the adapters as published, the parts in the whole, one pass for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from distill import table
from distill.audio import SAMPLING_RATE, padded, read
from distill.errors import DistillError, Refused
from teacher.catalogue import open_teacher
from teacher.comparing import compare_teachers
from teacher.labelling import label
from teacher.training import train_teacher
from teacher.tuning import training
from teacher.tuning.backbone import backbone_of, find_backbone, open_backbone
from teacher.tuning.composing import PARTS, begin_with
from teacher.tuning.design import Design, columns_of, design_of
from teacher.tuning.lessons import read_lessons
from teacher.tuning.methods import Fused, Stacked, learning
from teacher.tuning.network import TunedNetwork
from teacher.tuning.objective import loss_for
from teacher.tuning.saving import read_network
from tests.teacher.tuning import backbones
from tests.teacher.tuning.test_network import batch, moved
from tests.teacher.tuning.test_training import answers, losses, rated_tones, table_of

CLASSES = (("category", ("calm", "stirred")), ("sex", ("female", "male")))
TASKS = ["adv", "category", "sex"]
QUICK: dict[str, Any] = {
    "epochs": 3, "batch_size": 6, "micro_batch": 3, "learning_rate": 3e-3, "patience": None, "device": "cpu",
}  # fmt: skip


def design(composition: str, method: str = "adapter", **options: Any) -> Design:
    return design_of(method, composition=composition, axes=("arousal", "valence"), classes=CLASSES, **options)


def network(composition: str, kind: str = "wavlm", method: str = "adapter", **options: Any) -> TunedNetwork:
    torch.manual_seed(0)
    return TunedNetwork(design(composition, method, **options), backbone_of(backbones.config(kind)))


# --- as published ----------------------------------------------------------------------------------------------------


def adapted(w: dict[str, Tensor], task: int, x: Tensor) -> Tensor:
    inner = F.relu(F.linear(x, w[f"each.{task}.down.weight"], w[f"each.{task}.down.bias"]))
    return 0.1 * F.linear(inner, w[f"each.{task}.up.weight"], w[f"each.{task}.up.bias"])


def test_of_stacked_adapters_each_hears_what_those_before_it_made() -> None:
    stack = Stacked(12, 3)
    moved(stack)
    x, w = torch.randn(5, 12), {name: value.detach() for name, value in stack.state_dict().items()}
    heard = x
    for task in range(3):
        heard = heard + adapted(w, task, heard)
    torch.testing.assert_close(stack(x), heard - x, atol=1e-5, rtol=1e-5)


def test_a_frame_attends_to_the_adapters_of_all_tasks() -> None:
    fused = Fused(12, 3)
    moved(fused)
    x, w = torch.randn(5, 12), {name: value.detach() for name, value in fused.state_dict().items()}
    expected = []
    for frame in x:
        said = torch.stack([adapted(w, task, frame) for task in range(3)])
        share = F.softmax(F.linear(said, w["key.weight"]) @ F.linear(frame, w["query.weight"]) / 64**0.5, dim=0)
        expected.append(share @ said)
    torch.testing.assert_close(fused(x), torch.stack(expected), atol=1e-5, rtol=1e-5)
    shares = fused.shares(x, torch.stack([adapter(x) for adapter in fused.each], dim=-2))
    torch.testing.assert_close(shares.sum(-1), torch.ones(5))
    assert not torch.allclose(shares[0], shares[1])


@pytest.mark.parametrize("kind", [*backbones.FAMILIES, "hubert-base"])
@pytest.mark.parametrize("method", ["adapter", "adapter-sequential"])
@pytest.mark.parametrize("composition", ["stack", "fuse"])
def test_every_tensor_that_learns_has_a_gradient_and_no_other(composition: str, method: str, kind: str) -> None:
    tuned = network(composition, kind, method).train()
    moved(tuned)
    answered = tuned(*batch())
    assert torch.isnan(answered).tolist() == [[False, True, *[False] * 5]] * 2
    answered.nan_to_num().square().sum().backward()
    learned = learning(tuned)
    for name, parameter in tuned.named_parameters():
        if name in learned:
            assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 1e-9), name
        else:
            assert parameter.grad is None, name


@pytest.mark.parametrize("composition", ["stack", "fuse"])
def test_one_pass_through_the_backbone_answers_all(composition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = network(composition).eval()
    passes: list[int] = []
    tuned.backbone.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    assert tuned(*batch()).shape == (2, 3 + 4) and len(passes) == 1
    assert len(tuned.readouts) == len(tuned.head.each) == 3


@pytest.mark.parametrize("composition", ["stack", "fuse"])
def test_what_stands_behind_a_clip_changes_no_answer(composition: str) -> None:
    tuned = network(composition).eval()
    moved(tuned)
    signals, lengths = batch()
    signals[1, 5_000:] = torch.nan
    with torch.inference_mode():
        alone = tuned(signals[1:, :5_000])
        torch.testing.assert_close(tuned(signals, lengths)[1:], alone, atol=2e-5, rtol=1e-4, equal_nan=True)


def test_a_task_answers_from_its_own_readout_alone() -> None:
    tuned = network("stack").eval()
    features = torch.randn(1, 3 * 256)
    before = tuned.head(features)
    features[:, 256:512] = 0
    changed = (tuned.head(features) != before) & ~torch.isnan(before)
    assert changed.tolist() == [[False, False, False, True, True, False, False]]


def test_the_options_that_do_not_go_together_are_told() -> None:
    with pytest.raises(DistillError, match="--method lora has no adapters; --tasks takes adapter"):
        design("stack", "lora")
    with pytest.raises(DistillError, match="tells the teacher the sex that it is to answer"):
        design("stack", condition="gender")
    assert Design.from_dict(json.loads(json.dumps(design("fuse").as_dict()))) == design("fuse")


# --- from end to end -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbones.write("wavlm", tmp_path_factory.mktemp("backbone") / "wavlm")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As of the tuning of one task, with the sex of six speakers; of every seventh clip nobody knows the category."""
    root = rated_tones(tmp_path_factory.mktemp("corpus"))
    number = iter(range(24))

    def change(row: dict[str, str]) -> dict[str, str]:
        sex = "female" if row["speaker"] in ("s0", "s2", "s4") else "male"
        return {**row, "sex": sex, "category": "" if next(number) % 7 == 0 else row["category"]}

    return table_of(root, root / "all.csv", change).parent


def tuned(backbone: Path, corpus: Path, output: Path, **options: Any) -> dict[str, Any]:
    return train_teacher(
        corpus / "all.csv", backbone=str(backbone), output=output, **{**QUICK, "tasks": TASKS, **options}
    )


@pytest.fixture(scope="module", params=["stack", "fuse"])
def mine(request: Any, backbone: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("teachers") / str(request.param)
    tuned(backbone, corpus, output, fuse=request.param == "fuse")
    return output


def test_each_task_is_learned_by_itself_and_then_with_the_others(mine: Path) -> None:
    result = json.loads((mine / "result.json").read_text())
    assert result["axes"] == ["arousal", "valence"] and result["missing"] == ["dominance"]
    assert result["classes"] == {"category": ["calm", "stirred"], "sex": ["female", "male"]}
    assert set(result["ccc"]) == {"arousal", "valence"} and set(result["uar"]) == {"category", "sex"}
    parts = {task: json.loads((mine / PARTS / task / "result.json").read_text()) for task in TASKS}
    assert {task: (set(part["ccc"]), set(part["uar"])) for task, part in parts.items()} == {
        "adv": ({"arousal", "valence"}, set()), "category": (set(), {"category"}), "sex": (set(), {"sex"}),
    }  # fmt: skip
    assert parts["category"]["split"]["train"] < parts["adv"]["split"]["train"]
    assert len({tuple(part["split"]["held_out_groups"]) for part in [result, *parts.values()]}) == 1
    assert len(losses(mine)) == 3


def test_what_is_learned_lowers_the_loss(mine: Path, backbone: Path, corpus: Path) -> None:
    whole, lessons = read_network(mine), read_lessons(corpus / "all.csv", tasks=TASKS)
    targets = torch.from_numpy(lessons.targets)
    torch.manual_seed(0)
    start = TunedNetwork(whole.design, open_backbone(find_backbone(str(backbone)))).eval()
    start.start_near(targets)
    loss = loss_for(lessons.targets, list(columns_of(lessons.classes).values()))
    clips = [torch.from_numpy(read(corpus / segment.file))[None] for segment in lessons.segments]
    with torch.inference_mode():
        before, after = (float(loss(torch.cat(list(map(asked, clips))), targets)) for asked in (start, whole))
    assert after < before


def test_fused_adapters_stay_as_each_task_has_learned_them_and_stacked_ones_learn_on(mine: Path) -> None:
    whole = load_file(mine / "learned.safetensors")
    same = []
    for place, task in enumerate(TASKS):
        part = load_file(mine / PARTS / task / "learned.safetensors")
        for name, tensor in part.items():
            if ".adapter." in name:
                same.append(torch.equal(tensor, whole[name.replace(".adapter.", f".adapter.each.{place}.")]))
    assert all(same) if mine.name == "fuse" else not any(same)


def test_the_backbone_stays_bit_identical(mine: Path, backbone: Path) -> None:
    own = read_network(mine).backbone.state_dict()
    for name, tensor in open_backbone(find_backbone(str(backbone))).state_dict().items():
        assert torch.equal(own[name.replace(".feed_forward.", ".feed_forward.feed_forward.")], tensor), name


def test_a_whole_begins_with_its_parts_and_a_part_that_does_not_fit_is_named(mine: Path, backbone: Path) -> None:
    whole = read_network(mine)
    whole.requires_grad_(True)
    fresh = TunedNetwork(whole.design, open_backbone(find_backbone(str(backbone))))
    parts = [mine / PARTS / task for task in TASKS]
    begin_with(fresh, parts)
    part = load_file(parts[2] / "learned.safetensors")
    for own, name in (("head.each.2.weight", "head.each.0.weight"), ("readouts.2.hidden.0.bias",
                                                                    "readouts.0.hidden.0.bias")):  # fmt: skip
        assert torch.equal(learning(fresh)[own], part[name].float())
    with pytest.raises(DistillError, match="has no place in the teacher of all tasks"):
        begin_with(fresh, [*parts, parts[0]])
    with pytest.raises(DistillError, match="no task has learned"):
        begin_with(fresh, parts[:2])


def test_a_clip_is_labelled_with_all_that_is_answered(mine: Path, corpus: Path, tmp_path: Path) -> None:
    result = label(corpus, output=tmp_path / "labels", teacher=str(mine), device="cpu", jobs=1)
    assert result["labelled"] == 24 and not result["failed"]
    labels = table.read(tmp_path / "labels")
    assert set(labels.column("said_sex")) <= {"female", "male"}
    assert set(labels.column("said_category")) <= {"calm", "stirred"}
    assert all(0.5 <= float(share) <= 1 for share in labels.column("said_sex_probability"))
    clip = read(corpus / labels.column("file")[0])
    said = open_teacher(str(mine), "cpu").annotate(padded([clip]), [len(clip)], SAMPLING_RATE)
    names = ("female", "male")
    assert labels.column("said_sex")[0] == names[int(np.argmax(said.categories[0][2:]))]


def test_they_are_compared_by_the_recall_of_each_column(mine: Path, corpus: Path, tmp_path: Path) -> None:
    adv, sex = (str(mine / PARTS / task) for task in ("adv", "sex"))
    found = compare_teachers([str(mine), adv, sex], truth=corpus / "all.csv", output=tmp_path / "report", device="cpu")
    recalls = {name: set(one["uar"]) for name, one in found["teachers"].items()}
    assert recalls == {str(mine): {"category", "sex"}, adv: set(), sex: {"sex"}}
    assert found["teachers"][sex]["uar"]["sex"]["n"] == 24
    assert set(found["teachers"][adv]["ccc"]) == {"arousal", "valence"} and not found["teachers"][sex]["ccc"]
    text = (tmp_path / "report" / "comparison.md").read_text()
    assert "category UAR | sex UAR" in text and f"adapter, {mine.name}" in text


def test_an_interrupted_one_ends_the_same_to_the_bit(
    mine: Path, backbone: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = training.score
    calls: list[int] = []

    def dies(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 5 + 6 * (mine.name == "fuse"):  # in the second task, or in the whole
            raise KeyboardInterrupt
        return original(*given, **options)

    output = tmp_path / mine.name
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "score", dies)
        tuned(backbone, corpus, output, fuse=mine.name == "fuse")
    tuned(backbone, corpus, output, fuse=mine.name == "fuse")
    first, second = (load_file(folder / "learned.safetensors") for folder in (mine, output))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert losses(mine) == losses(output)
    clips = [read(corpus / f"{number}.wav") for number in range(4)]
    one, other = (answers(open_teacher(str(folder), "cpu"), clips) for folder in (mine, output))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("options", "said"), [
    ({"tasks": ["adv"]}, "--tasks adv: takes two different tasks or more"),
    ({"tasks": ["sex", "sex"]}, "--tasks sex,sex: takes two different tasks or more"),
    ({"tasks": [], "fuse": True, "method": "adapter"}, "--fuse goes with --tasks"),
    ({"method": "prompt"}, "--method prompt has no adapters"),
    ({"tasks": ["adv", "accent"]}, "telling 'accent' apart needs such a column"),
    ({"tasks": ["adv", "speaker"]}, "the speaker is the same in all held-out clips"),
    ({"tasks": ["adv", "sex"], "condition": "gender"}, "tells the teacher the sex"),
])  # fmt: skip
def test_what_cannot_work_is_said_before_the_first_step(
    options: dict[str, Any], said: str, backbone: Path, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(DistillError, match=said):
        tuned(backbone, corpus, tmp_path / "mine", **options)
    assert not (tmp_path / "mine" / PARTS).exists()


def test_another_composition_is_another_teacher(mine: Path, backbone: Path, corpus: Path) -> None:
    with pytest.raises(Refused, match="was begun with design"):
        tuned(backbone, corpus, mine, fuse=mine.name != "fuse")


def test_held_out_clips_have_to_say_something_of_each_task(corpus: Path) -> None:
    """Of one speaker alone the accent is known: on one side or the other it is lacking."""
    numbers = iter(range(24))
    told = {"s0": ("north", "south")}
    rows = table_of(corpus, corpus / "alone.csv", lambda row: {
        **row, "accent": told.get(row["speaker"], ("", ""))[next(numbers) // 6 % 2],
    })  # fmt: skip
    with pytest.raises(DistillError, match=r"of no held-out clip the accent|no training clip is of the accent"):
        read_lessons(rows, tasks=("adv", "accent"))


def test_speakers_are_held_out_so_that_a_constant_answer_is_not_right(corpus: Path) -> None:
    """Of six speakers the first draw would hold out one, and so one sex."""
    for seed in range(8):
        lessons = read_lessons(corpus / "all.csv", tasks=("adv", "sex"), seed=seed)
        held = lessons.targets[lessons.held, 3:].sum(0)
        assert (held > 0).all() and (lessons.targets[~lessons.held, 3:].sum(0) > 0).all()
        speakers = {group for group, side in zip(lessons.groups, lessons.held, strict=True) if side}
        assert len(speakers) < 4


def test_a_class_that_is_one_speakers_own_is_refused(corpus: Path) -> None:
    rows = table_of(
        corpus, corpus / "one.csv", lambda row: {**row, "accent": "north" if row["speaker"] == "s0" else "x"}
    )
    with pytest.raises(DistillError, match="the accent is the same in all held-out clips, whoever is held out"):
        read_lessons(rows, tasks=("accent",))


def test_a_part_is_at_once_a_teacher_that_labels(mine: Path, corpus: Path, tmp_path: Path) -> None:
    part = mine / PARTS / "sex"
    assert label(corpus, output=tmp_path / "labels", teacher=str(part), device="cpu", jobs=1)["labelled"] == 24
    labels = table.read(tmp_path / "labels")
    assert set(labels.column("said_sex")) <= {"female", "male"} and labels.info["axes"] == []
    assert np.isnan(labels.adv).all()
