"""Several processes that train as one, forked here in torchrun's place: what each computes is what one would."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing, nn

from distill import cli
from distill.errors import DistillError
from distill.launched import Launched, launched
from distill.learning import device, loop
from distill.learning.batch import Batch
from distill.learning.loop import Schedule, fit, stepper
from distill.learning.loss import ccc_loss
from distill.learning.network import PooledNetwork
from distill.learning.objective import EmbeddingHint, Objective, RelationalHint
from distill.learning.processes import ALONE, Processes, meet
from distill.progress import say
from tests.distill.test_learning import Drawn, Means

CPU = torch.device("cpu")
COUNT, SIZE = 2, 6

Work = Callable[[Processes], Any]


def environment(rank: int, *, port: int = 0) -> dict[str, str]:
    """What torchrun tells a process."""
    return {
        "TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(COUNT), "LOCAL_WORLD_SIZE": str(COUNT),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip


class Ended(Exception):
    """How processes ended: their exit codes."""


def together(folder: Path, work: Work) -> list[Any]:
    """What `work` gives in each of two processes that have met."""

    def met() -> Any:
        with meet() as processes:
            return work(processes)

    return forked(folder, met)


def forked(folder: Path, work: Callable[[], Any]) -> list[Any]:
    """What `work` gives in each of two processes; each leaves it, and what it says, in `folder`."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False,
                                       timeout=timedelta(seconds=200))  # fmt: skip
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_one, args=(folder, work, environment(rank, port=store.port)))
               for rank in range(COUNT)]  # fmt: skip
    for process in started:
        process.start()
    for process in started:
        process.join(200)
        process.kill()
    codes = [process.exitcode for process in started]
    if any(codes):
        raise Ended(codes)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(COUNT)]


def _one(folder: Path, work: Callable[[], Any], told: dict[str, str]) -> None:
    os.environ |= told
    torch.set_num_threads(1)  # those of the parent are not there any more
    os.cpu_count = lambda: COUNT
    sys.stderr = (folder / f"{told['RANK']}.txt").open("w", buffering=1)
    code = 1
    try:
        torch.save(work(), folder / f"{told['RANK']}.pt")
        code = 0
    except SystemExit:
        pass
    except DistillError as error:
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    os._exit(code)  # what the parent registered for its own end is not this one's


def said(folder: Path) -> list[str]:
    return [(folder / f"{rank}.txt").read_text() for rank in range(COUNT)]


class Small(PooledNetwork):
    """Two layers without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.tanh(self.inner(pcm))


def clips(weighted: bool = False, embedded: bool = False) -> Batch:
    """Two batches' clips."""
    rng = np.random.default_rng(4)
    pcm = torch.tensor(rng.normal(size=(COUNT * SIZE, 4)), dtype=torch.float32)
    target = torch.tensor(rng.random((COUNT * SIZE, 3)), dtype=torch.float32)
    target[3, 1] = float("nan")
    weight = torch.tensor(rng.uniform(0.5, 2, (COUNT * SIZE, 3)), dtype=torch.float32) if weighted else None
    embedding = pcm @ torch.tensor(rng.normal(size=(4, 7)), dtype=torch.float32) if embedded else None
    return Batch(pcm, torch.full((COUNT * SIZE,), 4), target, weight, embedding)


def own(batch: Batch, rank: int) -> Batch:
    mine = slice(rank * SIZE, (rank + 1) * SIZE)
    return Batch(*(None if part is None else part[mine] for part in batch))  # type: ignore[arg-type]


def objective(hinted: bool) -> Objective:
    torch.manual_seed(2)
    if not hinted:
        return Objective(ccc_loss)
    known = clips(embedded=True).embedding
    assert known is not None
    return Objective(ccc_loss, [(EmbeddingHint(5, known.numpy()), 0.5), (RelationalHint(), 0.7)])


def gradients(batch: Batch, hinted: bool, processes: Processes = ALONE) -> dict[str, Tensor]:
    """Loss, and gradients of the network and of what the objective learns."""
    torch.manual_seed(1)
    network, aim = Small(), objective(hinted)
    features = network.pooled(batch.pcm)
    value = aim(*processes.joined(features, network.head(features), batch))
    value.backward()
    processes.share_gradients(network, aim)
    named = [*network.named_parameters(), *aim.named_parameters()]
    return {"loss": value.detach(), **{name: value.grad for name, value in named if value.grad is not None}}


@pytest.fixture(autouse=True)
def not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)


@pytest.fixture
def as_second(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is the second of two."""
    with monkeypatch.context() as patched:
        for name, value in environment(1).items():
            patched.setenv(name, value)
        yield


def test_gradients_of_two_processes_are_those_of_one_on_all_clips(tmp_path: Path) -> None:
    """With weights, with hints, and where the teacher could answer no clip of one of them."""
    plain, weighted, told = clips(), clips(weighted=True), clips(embedded=True)
    assert told.embedding is not None
    half = told._replace(embedding=torch.cat([told.embedding[:SIZE], torch.full((SIZE, 7), float("nan"))]))

    def work(processes: Processes) -> list[dict[str, Tensor]]:
        processes.connect(CPU)
        mine = own(half, processes.rank)
        mine = mine if processes.first else mine._replace(embedding=None)
        return [
            gradients(own(plain, processes.rank), False, processes),
            gradients(own(weighted, processes.rank), False, processes),
            gradients(own(told, processes.rank), True, processes),
            gradients(mine, True, processes),
            gradients(own(plain, processes.rank), True, processes),
        ]

    alone = [gradients(plain, False), gradients(weighted, False), gradients(told, True), gradients(half, True),
             gradients(plain, True)]  # fmt: skip
    one, other = together(tmp_path, work)
    assert len(alone[0]) == 5 and len(alone[2]) == 7 and len(alone[4]) == 5
    for expected, first, second in zip(alone, one, other, strict=True):
        assert set(first) == set(second) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)
            if name != "loss":
                assert torch.equal(first[name], second[name])  # so that their weights stay the same to the bit


class Shares(Drawn):
    """Of every batch of `Drawn` the rows of one process."""

    def __init__(self, processes: Processes = ALONE) -> None:
        self._mine = slice(processes.rank, None, processes.count)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        for batch in super().__call__(epoch):
            yield Batch(*(None if part is None else part[self._mine] for part in batch))


def trained(folder: Path, processes: Processes, epochs: int = 3) -> list[dict[str, Tensor]]:
    """The weights that were kept, and the last ones."""
    torch.manual_seed(processes.rank)  # not what a training does: the second begins with other weights
    network = Means()
    kept = fit(
        network, Shares(processes), lambda: Drawn()(999), objective=Objective(ccc_loss), folder=folder, device=CPU,
        schedule=Schedule(epochs=epochs, minutes=None, learning_rate=0.1), processes=processes,
    )  # fmt: skip
    return [kept, network.state_dict()]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def test_two_processes_learn_what_one_learns_and_stay_alike(tmp_path: Path) -> None:
    alone = trained(tmp_path / "one", ALONE)  # first: what torch imports for it the others have then as well
    one, other = together(tmp_path / "two", lambda processes: trained(tmp_path / "two", processes))
    for name, value in alone[0].items():
        torch.testing.assert_close(one[0][name], value, rtol=1e-4, atol=1e-5)
    assert same(one[1], other[1]) and not other[0]
    told = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("one", "two")]
    assert len(told[0]) == len(told[1]) == 3 and '"audio_seconds": 64.0' in told[1][0]


def test_interrupted_processes_end_the_same_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed, _ = together(tmp_path / "a", lambda processes: trained(tmp_path / "a", processes))
    save = loop._save

    def save_and_die(*args: Any) -> None:
        save(*args)
        os._exit(9)

    with monkeypatch.context() as patched, pytest.raises(Ended):
        patched.setattr(loop, "_save", save_and_die)
        together(tmp_path / "b", lambda processes: trained(tmp_path / "b", processes))
    assert said(tmp_path / "b")[1].startswith("lost the other processes (")
    resumed, _ = together(tmp_path / "b", lambda processes: trained(tmp_path / "b", processes))
    assert same(undisturbed[0], resumed[0]) and same(undisturbed[1], resumed[1])


def test_a_checkpoint_that_not_all_see_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "first", ALONE, epochs=1)
    folders = [tmp_path / "first", tmp_path / "second"]
    with pytest.raises(Ended):
        together(tmp_path, lambda processes: trained(folders[processes.rank], processes))
    assert "the first process sees another checkpoint there" in said(tmp_path)[1]


def test_the_clock_is_the_first_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one's clock stands still, and yet both end at once."""

    def work(processes: Processes) -> float:
        if not processes.first:
            monkeypatch.setattr(loop.time, "monotonic", lambda: 0.0)
        told: list[float] = []
        fit(
            Means(), Shares(processes), lambda: Drawn()(999), objective=Objective(ccc_loss), folder=tmp_path,
            schedule=Schedule(epochs=None, minutes=0.005), device=CPU, processes=processes,
            log=lambda line: told.append(line["seconds"]),
        )  # fmt: skip
        return told[-1] if told else 0.0

    first, second = together(tmp_path, work)
    assert 0.3 <= first < 30 and second == 0.0


def test_the_first_goes_first_and_nobody_else_speaks(tmp_path: Path) -> None:
    def work(processes: Processes) -> list[bool]:
        seen = []
        for turn in range(2):
            with processes.in_turn():
                seen.append((tmp_path / f"turn {turn}").exists())
                (tmp_path / f"turn {turn}").touch()
        say("hello")
        return seen

    assert together(tmp_path, work) == [[False, False], [True, True]]
    assert said(tmp_path) == ["hello\n", ""]


@pytest.mark.parametrize("failing", [0, 1])
def test_where_one_fails_it_alone_says_why(tmp_path: Path, failing: int) -> None:
    """In its turn, and in the midst of a step."""

    def in_turn(processes: Processes) -> None:
        with processes.in_turn():
            if processes.rank == failing:
                raise DistillError("no such thing")
        processes.connect(CPU)

    def in_a_step(processes: Processes) -> None:
        processes.connect(CPU)
        if processes.rank == failing:
            raise DistillError("no such thing")
        processes.total(1.0)

    for name, work in (("turn", in_turn), ("step", in_a_step)):
        with pytest.raises(Ended, match=r"\[1, 1\]"):
            together(tmp_path / name, work)
        told = said(tmp_path / name)
        assert told[failing] == "no such thing\n" and told[1 - failing] == ""


def test_a_loss_that_is_nan_is_told_once(tmp_path: Path) -> None:
    """Though only the second one's clips are broken."""

    class Broken(Shares):
        def __call__(self, epoch: int) -> Iterator[Batch]:
            for batch in super().__call__(epoch):
                yield batch._replace(pcm=batch.pcm * float("nan"))

    def work(processes: Processes) -> None:
        fit(
            Means(), (Shares if processes.first else Broken)(processes), lambda: Drawn()(999), device=CPU,
            objective=Objective(ccc_loss), folder=tmp_path, schedule=Schedule(1, None), processes=processes,
        )  # fmt: skip

    with pytest.raises(Ended, match=r"\[1, 1\]"):
        together(tmp_path, work)
    assert said(tmp_path) == ["the loss is nan at step 0; try a lower --learning-rate\n", ""]


def test_alone_nothing_is_changed() -> None:
    batch = clips()
    with meet() as processes, processes.in_turn():
        assert processes is ALONE and processes.first and processes.alone
    given = processes.joined(batch.pcm, batch.target, batch)
    assert given[0] is batch.pcm and given[1] is batch.target and given[2] is batch
    assert processes.from_first(2.5) == processes.total(2.5) == 2.5
    step = stepper(Means(), Drawn(), objective=Objective(ccc_loss), schedule=Schedule(1, None), device=CPU,
                   precision=torch.float32)  # fmt: skip
    assert np.isfinite(step(next(iter(Drawn()(0))), 0.1)) and not torch.distributed.is_initialized()


def test_variables_of_other_launchers_mean_nothing(as_second: None) -> None:
    assert launched() == Launched(1, 2, 1, 2)
    with pytest.MonkeyPatch.context() as patched:  # undone before the fixture's own
        patched.delenv("TORCHELASTIC_RUN_ID")
        assert launched() == Launched()


def test_processes_share_the_cores_and_take_a_gpu_each(monkeypatch: pytest.MonkeyPatch, as_second: None) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    device.share_cores(1)
    assert threads == [2] and device.loaders(None) == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.choose_device("auto") == device.choose_device("cuda") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DistillError, match="--device cuda:1: torch finds none"):
        device.choose_device("cuda")


def test_only_training_is_shared(as_second: None, capsys: Any) -> None:
    """The line is the first one's; the second leaves in silence."""
    for rank in ("1", "0"):
        with pytest.MonkeyPatch.context() as patched, pytest.raises(SystemExit) as left:
            patched.setenv("RANK", rank)
            cli.main(["label", "recordings", "-o", "labels"])
        assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "each would do the whole of label" in line


def test_another_process_says_which_one_it_is(as_second: None, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        cli._leave("no such thing")
    assert capsys.readouterr().err == "distill (process 1): no such thing\n"
