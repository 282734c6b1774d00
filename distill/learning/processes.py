"""One training by several processes, as torchrun starts them: they wait for the first, and learn as one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from distill.errors import DistillError, first_line
from distill.launched import launched
from distill.learning.batch import Batch

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

#: How long a process waits for another: while the first scores a large held-out set, the others stand in a collective.
#: That one has ended they learn from torchrun, or from a connection that is closed, at once.
_PATIENCE = timedelta(hours=12)

#: Seconds between two looks whether the first is done.
_LOOKED = 0.1

#: Where the one that fails says so.
_FAILED = "failed"


class Processes:
    """This process among `count` that train one network, each on clips of its own. Alone it sends nothing, and waits
    for nobody.

    rank: which it is; the first, 0, alone writes and speaks. store: where they meet, None for one alone.
    """

    def __init__(self, rank: int = 0, count: int = 1, store: Store | None = None) -> None:
        self.rank, self.count, self._store = rank, count, store
        self._turns = 0

    @property
    def first(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """What stands within is done by the first process, and then by the others at once. Where the first fails, the
        others leave."""
        self._turns += 1
        key = f"turn {self._turns}"
        if not self.first:
            self._wait(key)
        yield
        if self._store is not None and self.first:
            self._store.set(key, "done")

    def connect(self, device: torch.device) -> None:
        """By all, before they tell one another anything; again it does nothing. device: where the tensors of this one
        are."""
        if self.alone or dist.is_initialized():
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        self._wait_for_all()
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with self._reaching():
            dist.init_process_group(
                backend, store=self._store, rank=self.rank, world_size=self.count, timeout=_PATIENCE
            )

    def from_first(self, value: float) -> float:
        """What the first process gives."""
        return self._agreed(value if self.first else 0.0)

    def total(self, value: float) -> float:
        """The sum of what all give."""
        return self._agreed(value)

    def start_alike(self, *modules: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.alone:
            return
        with self._reaching():
            for module in modules:
                for tensor in module.state_dict().values():
                    sent = tensor.contiguous()  # weights of convolutions may lie otherwise
                    dist.broadcast(sent, 0)
                    tensor.copy_(sent)

    def joined(self, features: Tensor, predicted: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Batch]:
        """The same of all processes, in the order of their ranks, of batches of one size; with gradients to the rows of
        this one alone. The audio stays that of this one: no objective looks at it."""
        if self.alone:
            return features, predicted, batch
        with self._reaching():
            beside = {
                "target": self._rows(batch.target),
                "weight": None if batch.weight is None else self._rows(batch.weight),
                "embedding": self._embeddings(batch),
            }
            return self._rows(features), self._rows(predicted), batch._replace(**beside)  # type: ignore[arg-type]

    def share_gradients(self, network: nn.Module, objective: nn.Module) -> None:
        """Give every process the gradients of the joined loss.

        All compute that same loss, each with gradients to its own clips only, so of the network's gradient each has the
        part that comes by its own clips, and the whole is their sum (not the mean, as where every process has a loss of
        its own). Of what the objective learns each has the whole, up to rounding; the mean keeps them the same.
        """
        if self.alone:
            return
        parts, wholes = _gradients(network), _gradients(objective)
        together = torch.cat([*map(torch.flatten, parts), *(whole.flatten() / self.count for whole in wholes)])
        with self._reaching():
            dist.all_reduce(together)
        gradients = [*parts, *wholes]
        summed = torch.split(together, [gradient.numel() for gradient in gradients])
        for gradient, of_all in zip(gradients, summed, strict=True):
            gradient.copy_(of_all.view_as(gradient))

    def fail(self) -> None:
        """Tell the others that this one has failed, and says why."""
        with suppress(RuntimeError):  # nobody may be left to be told
            if self._store is not None:
                self._store.set(_FAILED, str(self.rank))

    def _agreed(self, value: float) -> float:
        if self.alone:
            return value
        told = torch.tensor(value, dtype=torch.float64)
        with self._reaching():
            dist.all_reduce(told)
        return told.item()

    def _rows(self, own: Tensor) -> Tensor:
        rows = [torch.empty(own.shape, dtype=own.dtype, device=own.device) for _ in range(self.count)]
        dist.all_gather(rows, own.detach().contiguous())
        rows[self.rank] = own  # the same numbers, with their gradients
        return torch.cat(rows)

    def _embeddings(self, batch: Batch) -> Tensor | None:
        """NaN for the clips of a process whose teacher could answer none."""
        width = torch.tensor(0 if batch.embedding is None else batch.embedding.shape[1])
        dist.all_reduce(width, dist.ReduceOp.MAX)
        if not width:
            return None
        nobody = batch.target.new_full((len(batch.target), int(width)), float("nan"))
        return self._rows(nobody if batch.embedding is None else batch.embedding)

    def _wait_for_all(self) -> None:
        """Torch's own waiting would not see that one has failed."""
        assert self._store is not None
        self._store.set(f"ready {self.rank}", "yes")
        for rank in range(self.count):
            self._wait(f"ready {rank}")

    def _wait(self, key: str) -> None:
        with self._reaching():
            while not self._there(key):
                self._leave_if_one_failed()
                time.sleep(_LOOKED)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Around what needs the others. Torch has no type of its own for others that are gone."""
        try:
            yield
        except RuntimeError as error:
            with suppress(RuntimeError):
                self._leave_if_one_failed()
            raise DistillError(f"lost the other processes ({first_line(error)})") from None

    def _leave_if_one_failed(self) -> None:
        if self._there(_FAILED):
            raise SystemExit(1)  # without a word: that one has said why

    def _there(self, key: str) -> bool:
        return self._store is not None and self._store.check([key])


#: One process, as without torchrun.
ALONE = Processes()


@contextmanager
def meet() -> Iterator[Processes]:
    """The processes that torchrun has started; where it has not, `ALONE`.

    Raises:
        SystemExit: another process has failed, and said why.
    """
    place = launched()
    if place.count == 1:
        yield ALONE
        return
    processes = Processes(place.rank, place.count, _store())
    try:
        yield processes
    except BaseException:
        processes.fail()
        raise
    if dist.is_initialized():
        dist.destroy_process_group()


def _store() -> Store:
    """That of torchrun, which outlives a process: what those said that it starts again is not to be taken for new."""
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
    return PrefixStore(f"distill {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
