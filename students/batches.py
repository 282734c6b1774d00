"""Training batches: clips drawn anew in every epoch, by table or teacher taught."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distill.annotation import AXES, Annotation, Annotator
from distill.audio import SAMPLING_RATE, padded, reject_unusable
from distill.errors import AudioError, DistillError
from distill.learning.batch import Batch
from distill.learning.clips import Clips
from distill.learning.processes import ALONE, Processes
from distill.perturb import Surroundings
from students.augmentation import Augmentation, VoiceChanger, surrounded
from students.passes import KeptPasses, as_kept

#: Sets the draws of what surrounds a kept voice apart from those of the voice itself.
_SURROUNDINGS = 1


class TrainingBatches:
    """Batches of an epoch: clips of like length together, perturbed by draws that seed, epoch and batch alone decide.

    batch_size: clips a batch; longest: seconds, longer clips are cut at random; workers: processes that prepare ahead.
    annotator: a teacher that answers the voice as it was changed and mixed, before noise and room are laid over it;
    without one the targets are the table's. embeddings: whether the annotator's embeddings come with its answers.
    kept: where its answers and the voices of the first passes are kept for the later ones, which surround them anew.
    processes: those that train together; of an epoch's batches each prepares every so-many-th, as many as the others.

    The workers ask the annotator, unless it spreads one clip over all cores, or a GPU, by itself: then this process
    does. Workers are forked, and neither the threads of onnxruntime nor CUDA live on in a fork.
    """

    def __init__(
        self, clips: Clips, chosen: np.ndarray, around: Surroundings, *, augmentation: Augmentation, batch_size: int,
        longest: float, seed: int, workers: int, annotator: Annotator | None = None, embeddings: bool = False,
        kept: KeptPasses | None = None, processes: Processes = ALONE,
    ) -> None:  # fmt: skip
        self.clips, self.chosen, self.batch_size, self.seed, self.workers = clips, chosen, batch_size, seed, workers
        changer = VoiceChanger(clips, augmentation, int(longest * SAMPLING_RATE))
        self._drawing, self._kept = _Drawing(changer, around, seed, annotator is not None, kept), kept
        self._asking = None if annotator is None else _Asking(annotator, embeddings, kept)
        self._asks_here = annotator is not None and annotator.card.own_threads
        self._in_all = len(chosen) // batch_size or 1
        rank, count = processes.rank, processes.count
        if self._in_all < count:
            raise DistillError(
                f"{len(chosen)} training clips give {self._in_all} batches of {batch_size}, fewer than there are "
                f"processes ({count}); start fewer, or take a smaller --batch-size"
            )
        self._own = range(rank, self._in_all // count * count, count)

    def __len__(self) -> int:
        return len(self._own)

    def __call__(self, epoch: int) -> Generator[Batch, None, None]:
        order = self._order(self._kept.of(epoch) if self._kept else epoch)
        prepared = _EpochBatches(self._drawing, epoch, order, self._own, None if self._asks_here else self._asking)
        # In order whatever the number of workers: a resumed run sees what an undisturbed one saw.
        loader = DataLoader(
            prepared, batch_size=None, shuffle=False, num_workers=self.workers,
            prefetch_factor=8 if self.workers else None,
        )  # fmt: skip
        for drawn in loader:
            yield _answered(drawn, self._asking).batch

    def _order(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        shuffled = rng.permutation(self.chosen)[: self._in_all * self.batch_size]
        lengths = self.clips.lengths
        like = [
            block[np.argsort(lengths[block], kind="stable")]
            for block in np.array_split(shuffled, max(1, len(shuffled) // (16 * self.batch_size)))
        ]
        batches = np.array_split(np.concatenate(like), self._in_all)
        return [batches[index] for index in rng.permutation(len(batches))]


class _Unanswered(NamedTuple):
    """Voices that a teacher has still to hear: batch `number` of pass `which`. peaks: as recorded, float32 [batch]."""

    voices: Batch
    peaks: Tensor
    which: int
    number: int


class _Drawn(NamedTuple):
    """A batch, and its voices where its targets are not the teacher's yet."""

    batch: Batch
    unanswered: _Unanswered | None = None


class _EpochBatches(Dataset[_Drawn]):
    """own: which batches of the epoch's order."""

    def __init__(
        self, drawing: _Drawing, epoch: int, order: list[np.ndarray], own: Sequence[int], asking: _Asking | None
    ) -> None:
        self._drawing, self._epoch, self._order, self._own, self._asking = drawing, epoch, order, own, asking

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, place: int) -> _Drawn:
        number = self._own[place]
        return _answered(self._drawing.batch(self._order[number], self._epoch, number), self._asking)


@dataclass(frozen=True)
class _Drawing:
    """Draws a batch. asks: whether a teacher is to answer its voices; kept: where those may be that it has answered."""

    changer: VoiceChanger
    around: Surroundings
    seed: int
    asks: bool
    kept: KeptPasses | None

    def batch(self, members: np.ndarray, epoch: int, number: int) -> _Drawn:
        which = self.kept.of(epoch) if self.kept else epoch
        answered = self.kept.read(which, number) if self.kept else None
        if answered is not None:
            return _Drawn(self._surrounded(answered, self._anew(epoch, number)))
        rng = np.random.default_rng([self.seed, which, number])
        voices = self._voices(members, rng)
        unanswered = _Unanswered(voices, torch.from_numpy(self.changer.clips.peaks[members]), which, number)
        if self.kept:
            voices, rng = as_kept(voices), self._anew(epoch, number)
        return _Drawn(self._surrounded(voices, rng), unanswered if self.asks else None)

    def _anew(self, epoch: int, number: int) -> np.random.Generator:
        """The draws of what surrounds a kept voice, of every epoch its own."""
        return np.random.default_rng([self.seed, epoch, number, _SURROUNDINGS])

    def _surrounded(self, voices: Batch, rng: np.random.Generator) -> Batch:
        signals = np.stack(surrounded(list(voices.pcm.numpy()), self.changer.augmentation, self.around, rng))
        return voices._replace(pcm=torch.from_numpy(signals), lengths=torch.full((len(signals),), signals.shape[1]))

    def _voices(self, members: np.ndarray, rng: np.random.Generator) -> Batch:
        signals, *table = zip(*self.changer.voices(members, rng), strict=True)
        targets, weights, embeddings = (None if rows[0] is None else rows for rows in table)
        return _batch(signals, targets, weights, embeddings)


@dataclass(frozen=True)
class _Asking:
    """Asks the teacher in the loop, and keeps what it has answered where it is wanted again."""

    annotator: Annotator
    embeddings: bool
    kept: KeptPasses | None

    def __call__(self, batch: Batch, asked: _Unanswered) -> Batch:
        """The batch with the teacher's answers to its voices."""
        # The teacher hears each voice as loud as it was: not every one divides the level out.
        voices = asked.voices.pcm.numpy() * asked.peaks.numpy()[:, None]
        heard = annotated(list(voices), self.annotator)
        target, embedding = _tensor(heard.adv), None
        if self.embeddings and heard.embedding is not None:
            embedding = _tensor(heard.embedding)
        if self.kept:
            self.kept.keep(asked.which, asked.number, asked.voices._replace(target=target, embedding=embedding))
        return batch._replace(target=target, embedding=embedding)


def _answered(drawn: _Drawn, asking: _Asking | None) -> _Drawn:
    """The same with the teacher's answers, where they are lacking and there is somebody to ask."""
    if asking is None or drawn.unanswered is None:
        return drawn
    return _Drawn(asking(drawn.batch, drawn.unanswered))


def annotated(signals: Sequence[np.ndarray], annotator: Annotator) -> Annotation:
    """A teacher's answers and embeddings; rows of NaN, which losses leave out, where a clip says nothing."""
    usable = [index for index, signal in enumerate(signals) if _says_something(signal, annotator)]
    if not usable:
        return Annotation(np.full((len(signals), len(AXES)), np.nan, np.float32))
    chosen = [signals[index] for index in usable]
    heard = annotator.annotate(padded(chosen), [len(signal) for signal in chosen], SAMPLING_RATE)
    adv, embedding = (_spread_out(rows, usable, len(signals)) for rows in (heard.adv, heard.embedding))
    return Annotation(adv, embedding=embedding)


def _spread_out(rows: Any, places: Sequence[int], count: int) -> np.ndarray | None:
    """float32 [count, n] with the rows at their places and NaN between them."""
    if rows is None:
        return None
    among = np.full((count, np.shape(rows)[1]), np.nan, np.float32)
    among[list(places)] = rows
    return among


def _says_something(signal: np.ndarray, annotator: Annotator) -> bool:
    try:
        reject_unusable(signal, annotator.card.shortest_seconds)
    except AudioError:
        return False
    return True


def clean_batches(clips: Clips, chosen: np.ndarray, batch_size: int) -> Iterator[Batch]:
    """The chosen clips as they are, whole, the shortest first.

    >>> clips = Clips(np.zeros(5, "<i2"), np.array([0, 3, 5]), np.zeros((2, 3), np.float32), np.ones(2, np.float32))
    >>> [batch.pcm.shape for batch in clean_batches(clips, np.arange(2), batch_size=1)]
    [torch.Size([1, 2]), torch.Size([1, 3])]
    """
    order = chosen[np.argsort(clips.lengths[chosen], kind="stable")]
    for members in np.array_split(order, max(1, -(-len(order) // batch_size))):
        yield _batch([clips.signal(index) for index in members], clips.targets[members])


def _batch(signals: Sequence[np.ndarray], targets: Any, weights: Any = None, embeddings: Any = None) -> Batch:
    """targets, weights, embeddings: rows [batch, n], or None."""
    lengths = torch.tensor([len(signal) for signal in signals])
    rows = (None if given is None else _tensor(given) for given in (weights, embeddings))
    return Batch(torch.from_numpy(padded(signals)), lengths, _tensor(targets), *rows)


def _tensor(rows: Any) -> Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.float32))
