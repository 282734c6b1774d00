"""Several teachers as one: the mean of their answers, weighted or not, never clipped, and how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distill.annotation import AXES, Annotation, Annotator, ColumnAnnotator, TeacherCard
from distill.errors import DistillError
from distill.files import read_json
from distill.licences import strictest
from teacher.batches import clips_together

#: What a name begins with that asks for a mean.
MEAN = "mean:"

#: What a folder of `distill fuse-teachers` is known by.
FUSION = "fusion.json"


class Mean:
    """The mean, axis by axis; the Wav2Small paper's teacher is the unweighted one of odyssey and audeering.

    weights: float [members, 3], each axis's adding up to 1; None: all count alike.
    """

    def __init__(self, members: Sequence[Annotator], weights: np.ndarray | None = None) -> None:
        self.members = list(members)
        self.weights = np.full((len(self.members), len(AXES)), 1 / len(self.members)) if weights is None else weights
        self._weighted = weights is not None
        self.card = mean_card([member.card for member in members])
        self.together = min(clips_together(member) for member in members)

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """adv: the mean [batch, 3]; spread: standard deviation over the members; embedding: theirs, side by side."""
        return self._mean([member.annotate(signals, lengths, sampling_rate) for member in self.members])

    def _mean(self, given: Sequence[Annotation]) -> Annotation:
        answers = np.stack([np.asarray(annotation.adv, np.float32) for annotation in given])
        answers[:, :, [axis not in self.card.axes for axis in AXES]] = np.nan
        embeddings = [annotation.embedding for annotation in given]
        together = None if any(one is None for one in embeddings) else np.concatenate(embeddings, axis=1)
        refusals = zip(*(annotation.reasons for annotation in given if annotation.reasons), strict=True)
        reasons = [next(filter(None, said), None) for said in refusals]
        mean = (answers * self.weights[:, None]).sum(0) if self._weighted else answers.mean(0)
        return Annotation(
            adv=mean.astype(np.float32), spread=answers.std(0), embedding=together, reasons=reasons or None
        )


class ColumnMean(Mean):
    """A mean with members that read what the manifest says."""

    def annotate_rows(
        self, signals: Any, lengths: Sequence[int], sampling_rate: int, columns: Sequence[Mapping[str, Any]]
    ) -> Annotation:
        """As `annotate`; the columns go to the members that read them."""
        heard = (signals, lengths, sampling_rate)
        return self._mean([
            member.annotate_rows(*heard, columns) if isinstance(member, ColumnAnnotator) else member.annotate(*heard)
            for member in self.members
        ])  # fmt: skip


def mean_of(members: Sequence[Annotator], weights: np.ndarray | None = None) -> Mean:
    """The mean of teachers; it reads the manifest's columns where one of them does. weights: as of `Mean`."""
    return (ColumnMean if any(isinstance(member, ColumnAnnotator) for member in members) else Mean)(members, weights)


class Member(NamedTuple):
    """A teacher of a fusion: what it is opened by, and the revision that was fused."""

    name: str
    revision: str


class Fusion(NamedTuple):
    """Members, and how much each counts: float64 [members, 3], each axis's adding up to 1."""

    members: list[Member]
    weights: np.ndarray


def read_fusion(folder: Path) -> Fusion:
    """What `distill fuse-teachers` wrote.

    Raises:
        DistillError: it does not say members and weights.
    """
    said = read_json(folder / FUSION)
    try:
        members = [Member(str(one["teacher"]), str(one["revision"])) for one in said["members"]]
        weights = np.array([[one["weights"].get(axis, 0.0) for axis in AXES] for one in said["members"]], np.float64)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DistillError(f"{folder / FUSION}: is no fusion of teachers ({error})") from None
    return Fusion(members, weights)


def members_of(name: str) -> list[str]:
    """The names in "mean:one,other".

    >>> members_of("mean:odyssey,audeering")
    ['odyssey', 'audeering']

    Raises:
        DistillError: fewer than two, or one of them twice.
    """
    names = [part.strip() for part in name.removeprefix(MEAN).split(",")]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise DistillError(f"{name}: a mean is of two teachers or more, each once: mean:odyssey,audeering")
    return names


def mean_card(cards: Sequence[TeacherCard]) -> TeacherCard:
    """What can be said of the mean: the axes that all answer, the strictest licences, the clips that all take.

    >>> from teacher.catalogue import card_of
    >>> mean_card([card_of("odyssey"), card_of("audeering")]).licence  # the stricter one
    'CC-BY-NC-SA-4.0'

    Raises:
        DistillError: they have no axis, or no length of clip, in common.
    """
    axes = tuple(axis for axis in AXES if all(axis in card.axes for card in cards))
    shortest, longest = max(card.shortest_seconds for card in cards), min(card.longest_seconds for card in cards)
    name = MEAN + ",".join(card.name for card in cards)
    if not axes or shortest >= longest or len({card.sampling_rate for card in cards}) > 1:
        raise DistillError(f"{name}: they have no axis, or no length of clip, in common")
    return TeacherCard(
        name=name, source=_each(cards, "source"), revision=_each(cards, "revision"),
        licence=strictest(card.licence for card in cards), data_licence=strictest(card.data_licence for card in cards),
        parameters=sum(card.parameters for card in cards), axes=axes,
        derived=tuple(axis for axis in axes if any(axis in card.derived for card in cards)),
        range=(min(card.range[0] for card in cards), max(card.range[1] for card in cards)),
        trained_on=_each(cards, "trained_on"), bundled=_all(cards, lambda card: card.bundled),
        normalisation="each its own", gain_invariant=_all(cards, lambda card: card.gain_invariant),
        sampling_rate=cards[0].sampling_rate, shortest_seconds=shortest, longest_seconds=longest,
        proven_on=_each(cards, "proven_on"), own_threads=not _all(cards, lambda card: not card.own_threads),
    )  # fmt: skip


def _each(cards: Sequence[TeacherCard], field: str) -> str:
    return "; ".join(dict.fromkeys(str(getattr(card, field)) for card in cards))


def _all(cards: Sequence[TeacherCard], holds: Callable[[TeacherCard], bool]) -> bool:
    return all(map(holds, cards))
