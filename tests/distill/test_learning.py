"""Losses, schedule, splits, and the loop on a network of four numbers."""

from __future__ import annotations

import json
import math

import audmetric
import numpy as np
import pytest
import torch
from torch import nn

from distill.errors import DistillError
from distill.learning import loop
from distill.learning.batch import Batch
from distill.learning.device import choose_device, choose_precision
from distill.learning.loop import Schedule, answers, concordance, fit
from distill.learning.loss import LOSSES, ccc_and_mse_loss, ccc_loss, mse_loss
from distill.learning.network import PooledNetwork
from distill.learning.objective import Objective
from distill.learning.splits import groups_of, held_out

CPU = torch.device("cpu")


def pairs(n: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers and targets that agree somewhat, each axis at its own level: two float32 [n, 3]."""
    rng = np.random.default_rng(3)
    target = rng.normal([0.4, 0.5, 0.6], [0.1, 0.2, 0.05], (n, 3))
    predicted = 0.7 * target + rng.normal([0.1, 0.0, 0.3], 0.05, (n, 3))
    return torch.tensor(predicted, dtype=torch.float32), torch.tensor(target, dtype=torch.float32)


def published(predicted: torch.Tensor, target: torch.Tensor) -> float:
    return 1 - float(audmetric.concordance_cc(target.numpy(), predicted.numpy()))


def test_ccc_loss_is_one_minus_concordance():
    predicted, target = pairs()
    expected = np.mean([published(predicted[:, axis], target[:, axis]) for axis in range(3)])
    assert float(ccc_loss(predicted, target)) == pytest.approx(expected, abs=1e-5)
    assert float(ccc_loss(target, target)) == pytest.approx(0, abs=1e-5)
    assert float(ccc_loss(2 * target.mean(0) - target, target)) == pytest.approx(2, abs=1e-4)


def test_ccc_loss_masks_unknown_targets_by_axis():
    predicted, target = pairs()
    target[::3, 0] = float("nan")
    target[:, 2] = float("nan")
    known = [published(predicted[target[:, axis].isfinite(), axis], target[target[:, axis].isfinite(), axis])
             for axis in (0, 1)]  # fmt: skip
    assert float(ccc_loss(predicted, target)) == pytest.approx(np.mean(known), abs=1e-5)


def test_mse_loss_is_the_mean_over_known_targets():
    predicted, target = pairs(8)
    assert float(mse_loss(predicted, target)) == pytest.approx(float(nn.functional.mse_loss(predicted, target)))
    target[2:, 1] = float("nan")
    known = target.isfinite()
    expected = float(((predicted - target)[known] ** 2).sum() / known.sum())
    assert float(mse_loss(predicted, target)) == pytest.approx(expected)


def test_combined_loss_weighs_both():
    predicted, target = pairs()
    both = float(ccc_loss(predicted, target)) + 10 * float(mse_loss(predicted, target))
    assert float(ccc_and_mse_loss(predicted, target)) == pytest.approx(both)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["constant targets", "constant answers", "all alike", "no target", "one clip", "axis"])
def test_losses_and_gradients_stay_finite(name, case):
    predicted, target = pairs(1 if case == "one clip" else 8)
    if case in ("constant answers", "all alike"):
        predicted = torch.full_like(predicted, 0.5)
    if case in ("constant targets", "all alike"):
        target = torch.full_like(target, 0.5)
    if case == "no target":
        target = torch.full_like(target, float("nan"))
    if case == "axis":
        target[:, 1] = float("nan")
    predicted.requires_grad_()
    value = LOSSES[name](predicted, target)
    value.backward()
    assert value.isfinite() and predicted.grad.isfinite().all()
    if case == "no target":
        assert value.item() == 0
    if case == "axis":
        assert not predicted.grad[:, 1].any() and predicted.grad[:, [0, 2]].any()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_do_not_hide_an_answer_that_is_nan(name):
    predicted, target = pairs(8)
    predicted[0, 0] = float("nan")
    assert LOSSES[name](predicted, target).isnan()


def half_known(n: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """As `pairs`, in float64; of every fifth clip nobody said the dominance."""
    rng = np.random.default_rng(3)
    target = rng.normal(0.5, 0.1, (n, 3))
    target[::5, 1] = np.nan
    return torch.tensor(np.nan_to_num(target) + rng.normal(0.1, 0.05, (n, 3))), torch.tensor(target)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_weights_change_nothing(name: str) -> None:
    predicted, target = half_known()
    weighted = LOSSES[name](predicted, target, torch.full_like(predicted, 0.25))
    torch.testing.assert_close(weighted, LOSSES[name](predicted, target))


@pytest.mark.parametrize("name", LOSSES)
def test_a_clip_of_weight_three_counts_as_three(name: str) -> None:
    predicted, target = half_known()
    counts = torch.tensor([1, 2, 3] * 8)
    weighted = LOSSES[name](predicted, target, counts[:, None].expand(-1, 3).double())
    often = LOSSES[name](predicted.repeat_interleave(counts, 0), target.repeat_interleave(counts, 0))
    torch.testing.assert_close(weighted, often)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["tiny", "huge", "no target", "all alike"])
def test_weighted_losses_and_gradients_stay_finite(name: str, case: str) -> None:
    predicted, target = half_known(8)
    if case == "no target":
        target = torch.full_like(target, float("nan"))
    if case == "all alike":
        predicted, target = torch.full_like(predicted, 0.5), torch.full_like(target, 0.5)
    predicted.requires_grad_()
    value = LOSSES[name](predicted, target, torch.full_like(target, {"tiny": 1e-6, "huge": 1e6}.get(case, 1.0)))
    value.backward()
    assert torch.isfinite(value) and predicted.grad is not None and torch.isfinite(predicted.grad).all()


def test_clips_of_little_weight_are_averaged_all_the_same():
    predicted, target = half_known()
    for loss in (mse_loss, ccc_loss):
        light = loss(predicted, target, torch.full_like(predicted, 1e-3))
        assert float(light) == pytest.approx(float(loss(predicted, target)), rel=1e-3)


def test_the_mean_is_over_the_axes_of_which_two_clips_are_known():
    predicted, target = pairs(6)
    target[1:, 0] = float("nan")
    target[2:, 1] = float("nan")
    expected = [published(predicted[:2, 1], target[:2, 1]), published(predicted[:, 2], target[:, 2])]
    assert float(ccc_loss(predicted, target)) == pytest.approx(np.mean(expected), abs=1e-5)


def test_rate_warms_up_and_comes_down():
    schedule = Schedule(epochs=2, minutes=None, learning_rate=0.1)
    rates = [schedule.rate(schedule.fraction(step, 50, 0.0)) for step in range(101)]
    peak = int(np.argmax(rates))
    assert 0 < peak <= 4 and rates[peak] == pytest.approx(0.1, rel=1e-2)
    assert all(np.diff(rates[: peak + 1]) > 0) and all(np.diff(rates[peak:]) < 0)
    assert rates[0] > 0 and rates[-1] == pytest.approx(0, abs=1e-9)


def test_rate_follows_the_clock_under_a_time_limit():
    schedule = Schedule(epochs=None, minutes=2)
    assert [schedule.fraction(10**6, 5, seconds) for seconds in (0, 60, 120, 500)] == [0, 0.5, 1, 1]
    assert Schedule(epochs=10, minutes=2).fraction(25, 5, 30) == 0.5  # whichever ends first


def test_groups_are_speakers_then_paths_then_files():
    files = ["a/84-1.flac", "a/84-2.flac", "b.flac"]
    assert groups_of(files, [None] * 3) == ["file a/84-1.flac", "file a/84-2.flac", "file b.flac"]
    assert groups_of(files, [None] * 3, r"(\d+)-") == ["speaker 84", "speaker 84", "file b.flac"]
    assert groups_of(files, ["x", None, "y"], r"(\d+)-") == ["speaker x", "speaker 84", "speaker y"]


@pytest.mark.parametrize("expression, fault", [("(", "no regular expression"), ("a", "exactly one"), ("(a)(b)", "one")])
def test_bad_speaker_expression_is_refused(expression, fault):
    with pytest.raises(DistillError, match=f"--speaker-from.*{fault}"):
        groups_of(["a"], [None], expression)


@pytest.mark.parametrize("seed", range(5))
def test_held_out_never_tears_a_group(seed):
    groups = np.random.default_rng(seed).choice([f"speaker {n}" for n in range(12)], 200)
    held = held_out(groups.tolist(), seed=seed)
    assert not set(groups[held]) & set(groups[~held])
    assert 0.05 <= held.mean() <= 0.3
    assert (held == held_out(groups.tolist(), seed=seed)).all()


@pytest.mark.parametrize(("files", "out"), [(1000, 100), (995, 100), (10, 1), (3, 1)])
def test_a_tenth_is_held_out_where_every_file_is_a_group(files, out):
    assert held_out([f"file {number}" for number in range(files)]).sum() == out


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("groups", [["a"] + ["b"] * 99, ["a", "b"] + ["c"] * 99, ["a", "b", "c"] + ["d"] * 999])
def test_small_groups_and_a_large_one_are_never_all_held_out(groups, seed):
    held = held_out(groups, seed=seed)
    assert 0 < held.sum() < len(groups)


def test_seeds_draw_different_groups():
    drawn = {tuple(held_out([f"speaker {n}" for n in range(20)], seed=seed)) for seed in range(5)}
    assert len(drawn) == 5 and (held_out(["a", "b", "c"]) == held_out(["a", "b", "c"], seed=0)).all()


@pytest.mark.parametrize(
    ("file", "speaker", "group"),
    [
        ("a/84-1.flac", "", "speaker 84"),  # an empty cell of a manifest is no name
        ("a/84-1.flac", "0", "speaker 0"),
        ("b.flac", "", "file b.flac"),
        ("84-/x.wav", None, "speaker 84"),
        ("-1.wav", None, "file -1.wav"),  # what was found is empty
    ],
)
def test_of_one_clip_the_group(file, speaker, group):
    assert groups_of([file], [speaker], r"(\d*)-") == [group]


def test_held_out_leaves_something_on_both_sides():
    assert held_out(["a", "b"]).sum() == 1
    assert held_out(["a"] * 99 + ["b"]).any() and not held_out(["a"] * 99 + ["b"]).all()
    with pytest.raises(DistillError, match="one group"):
        held_out(["a", "a"])


def test_unknown_device_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(DistillError, match="--device cuda"):
        choose_device("cuda")
    assert choose_device("auto").type in ("cpu", "mps")
    assert choose_precision("float32", CPU) == torch.float32 and choose_precision("bfloat16", CPU) == torch.bfloat16


def test_one_of_several_gpus_is_chosen_by_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DistillError, match="--device cuda:2"):
        choose_device("cuda:2")


class Means(PooledNetwork):
    """A linear map of a clip's first two samples."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)

    def pooled(self, pcm, lengths=None):
        return pcm[:, :2]


class Drawn:
    """Four batches an epoch whose targets are a linear map of the samples."""

    def __len__(self):
        return 4

    def __call__(self, epoch):
        rng = np.random.default_rng(epoch)
        for _ in range(4):
            pcm = torch.tensor(rng.normal(size=(16, 2)), dtype=torch.float32)
            target = pcm @ torch.tensor([[0.2, 0.0, 0.1], [0.0, 0.3, -0.1]]) + 0.5
            yield Batch(pcm, torch.full((16,), 16_000), target)


def train(folder, *, epochs=6, batches=None, objective=None, log=lambda _: None, **schedule):
    torch.manual_seed(0)
    return fit(
        Means(), batches or Drawn(), lambda: Drawn()(999), folder=folder, device=CPU, log=log,
        objective=objective or Objective(ccc_loss),
        schedule=Schedule(epochs=epochs, minutes=None, learning_rate=0.1, **schedule),
    )  # fmt: skip


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_fit_learns_and_tells_every_epoch(tmp_path):
    told = []
    weights = train(tmp_path, epochs=60, log=told.append)
    assert [line["epoch"] for line in lines(tmp_path)] == [*range(1, 61)] and len(told) == 60
    assert told[-1]["loss"] < 0.2 * told[0]["loss"]
    assert told[-1]["step"] == 240 and told[-1]["rate"] < 0.01
    model = Means()
    model.load_state_dict(weights)
    found = concordance(*answers(model, Drawn()(999), CPU))["ccc"]
    assert found == pytest.approx(max((line["ccc"] for line in told), key=lambda ccc: sum(ccc.values())))
    assert min(found.values()) > 0.9


@pytest.mark.parametrize("killed_after", [1, 3])
def test_interrupted_fit_ends_the_same_to_the_bit(tmp_path, killed_after):
    def die(line):
        if line["epoch"] == killed_after:
            raise KeyboardInterrupt

    undisturbed = train(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", log=die)
    resumed = train(tmp_path / "b")
    assert all(torch.equal(value, resumed[name]) for name, value in undisturbed.items())
    without_time = [[{**line, "seconds": 0} for line in lines(tmp_path / run)] for run in "ab"]
    assert without_time[0] == without_time[1]


@pytest.mark.parametrize("where", ["_append", "_save"])
def test_every_epoch_is_told_once_wherever_the_run_was_killed(tmp_path, monkeypatch, where):
    original, calls = getattr(loop, where), []

    def dies_the_second_time(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, where, dies_the_second_time)
        train(tmp_path, epochs=3)
    train(tmp_path, epochs=3)
    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3]


def test_finished_fit_takes_no_further_step(tmp_path):
    told = []
    first = train(tmp_path, epochs=2)
    again = train(tmp_path, epochs=2, log=told.append)
    assert told == [] and all(torch.equal(first[name], again[name]) for name in first)


def test_damaged_checkpoint_is_one_line(tmp_path):
    train(tmp_path, epochs=2)
    path = tmp_path / "checkpoints" / "last.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DistillError, match=r"last\.pt.*cannot be read"):
        train(tmp_path, epochs=2)


def test_loss_that_is_nan_stops_with_one_line(tmp_path):
    class Broken(Drawn):
        def __call__(self, epoch):
            for batch in super().__call__(epoch):
                yield batch._replace(pcm=batch.pcm * float("nan"))

    with pytest.raises(DistillError, match=r"^the loss is nan at step 0; try a lower --learning-rate$"):
        train(tmp_path, batches=Broken())
    assert not (tmp_path / "checkpoints").exists()


def test_best_weights_are_kept_not_the_last(tmp_path):
    state = loop._fresh(Means(), Objective(ccc_loss), Schedule(epochs=1, minutes=None))
    for score, constant in ((0.1, 1.0), (0.7, 2.0), (0.4, 3.0)):
        nn.init.constant_(state.average.module.head.bias, constant)
        loop._keep_best(state, {"arousal": score, "valence": score})
    assert state.best == pytest.approx(0.7) and state.best_weights["head.bias"].tolist() == [2.0] * 3


@pytest.mark.parametrize("scores", [[math.nan, 0.3], [0.0, 0.0], [math.nan, math.nan]])
def test_later_weights_win_where_scores_do_not_decide(scores):
    state = loop._fresh(Means(), Objective(ccc_loss), Schedule(epochs=1, minutes=None))
    for constant, score in enumerate(scores):
        nn.init.constant_(state.average.module.head.bias, constant)
        loop._keep_best(state, {"arousal": score})
    assert state.best_weights["head.bias"].tolist() == [1.0] * 3


# --- a batch by parts, a frozen part, an early end -------------------------------------------------------------------


class Deep(PooledNetwork):
    """Something frozen, something that learns, something left out at random."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.frozen = nn.Linear(2, 16).requires_grad_(False)
        self.learned, self.dropout, self.head = nn.Linear(16, 8), nn.Dropout(dropout), nn.Linear(8, 3)

    def pooled(self, pcm, lengths=None):
        return self.dropout(torch.tanh(self.learned(torch.tanh(self.frozen(pcm[:, :2])))))


def gradients(size: int | None, *, exact: bool = True, dropout: float = 0.0) -> tuple[float, torch.Tensor]:
    model, batch = Deep(dropout).train(), next(iter(Drawn()(0)))
    state = loop._fresh(model, Objective(ccc_loss), Schedule(epochs=1, minutes=None))
    training = loop._Training(
        state, Drawn(), Schedule(1, None), CPU, torch.float32, parts=loop.Parts(size, exact=exact)
    )
    torch.manual_seed(11)
    value = training._taught(batch)
    return value, torch.cat([x.grad.flatten() for x in model.parameters() if x.grad is not None])


@pytest.mark.parametrize("size", [1, 3, 8])
def test_by_parts_a_batch_has_the_loss_and_the_gradients_of_the_whole(size):
    value, found = gradients(size)
    whole, expected = gradients(None)
    assert value == pytest.approx(whole, abs=1e-6)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_what_is_left_out_at_random_is_the_same_in_both_passes():
    """As if the parts had been heard once and all that is between had been kept."""
    value, found = gradients(3, dropout=0.5)
    model, batch = Deep(0.5).train(), next(iter(Drawn()(0)))
    torch.manual_seed(11)
    answers = torch.cat([model(part.pcm, part.lengths) for part in batch.parts(3)])
    loss = ccc_loss(answers, batch.target)
    loss.backward()
    assert value == pytest.approx(loss.item(), abs=1e-6)
    expected = torch.cat([x.grad.flatten() for x in model.parameters() if x.grad is not None])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_a_loss_of_each_part_is_another_loss():
    value, _ = gradients(4, exact=False)
    batch = next(iter(Drawn()(0)))
    each = [ccc_loss(Deep()(part.pcm), part.target).item() for part in batch.parts(4)]
    sizes = [len(part.lengths) for part in batch.parts(4)]
    assert value == pytest.approx(np.average(each, weights=sizes), abs=1e-6)
    assert abs(value - gradients(None)[0]) > 1e-3


def deep(folder, *, log=lambda _: None, epochs=4, patience=None, score=loop.concordance):
    schedule = Schedule(epochs=epochs, minutes=None, learning_rate=0.05, patience=patience)
    torch.manual_seed(0)
    return fit(
        Deep(dropout=0.3), Drawn(), lambda: Drawn()(999), folder=folder, device=CPU, log=log,
        objective=Objective(ccc_loss), schedule=schedule, parts=loop.Parts(3), score=score,
    )  # fmt: skip


def test_what_is_frozen_stays_to_the_bit_and_is_not_saved(tmp_path):
    weights = deep(tmp_path)
    assert torch.equal(weights["frozen.weight"], Deep().frozen.weight)
    assert not torch.equal(weights["learned.weight"], Deep().learned.weight)
    saved = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    for held in (saved["model"], saved["average"], saved["best_weights"]):
        assert held and not any("frozen" in name for name in held)


def test_a_network_with_a_frozen_part_goes_on_to_the_bit(tmp_path):
    def die(line):
        if line["epoch"] == 2:
            raise KeyboardInterrupt

    undisturbed = deep(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        deep(tmp_path / "b", log=die)
    resumed = deep(tmp_path / "b")
    assert all(torch.equal(value, resumed[name]) for name, value in undisturbed.items())
    assert [line["loss"] for line in lines(tmp_path / "a")] == [line["loss"] for line in lines(tmp_path / "b")]


def test_it_ends_when_it_has_not_become_better_for_long_enough(tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.9, 0.9, 0.9])
    deep(tmp_path, epochs=7, patience=2, score=lambda predicted, target: {"uar": {"category": next(scores)}})
    told = lines(tmp_path)
    assert [line["uar"]["category"] for line in told] == [0.1, 0.5, 0.4, 0.5]  # as good is no better
    deep(tmp_path, epochs=7, patience=2)  # called again it is still over
    assert len(lines(tmp_path)) == 4
