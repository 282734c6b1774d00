"""What is heard: where recordings are, which of them, how they are cut, and where tars from elsewhere are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from distill.annotation import TeacherCard
from distill.errors import DistillError
from distill.sources.manifest import Cut, Listing, list_segments
from distill.sources.remote import is_address
from distill.sources.shards import is_pattern
from teacher.speech import SpeechFinder


@dataclass(frozen=True, kw_only=True)
class Source:
    """The options of `teacher.labelling.label` that say what is heard, as they were given.

    window, hop: seconds; None: the teacher's longest clip, without overlap. vad_threshold: probability; vad_pause:
    seconds. cache_gb: how much of `cache` tars may fill, in 10^9 bytes.
    """

    path: str | Path
    audio: str | Path | None
    where: Mapping[str, str] | None
    window: float | None
    hop: float | None
    vad: bool
    vad_threshold: float
    vad_pause: float
    cache: str | Path | None
    cache_gb: float

    def __post_init__(self) -> None:
        if not 0 <= self.cache_gb < inf:
            raise DistillError(f"--cache-gb {self.cache_gb:g}: must be gigabytes, 0 or more")

    def reject_missing(self) -> None:
        """Told before a teacher is opened, which may take a download.

        Raises:
            DistillError: it is a path, and nothing is there.
        """
        text = str(self.path)
        if not is_address(text) and not is_pattern(text) and not Path(text).exists():
            raise DistillError(f"{text}: no such file or folder")

    def cut_for(self, card: TeacherCard) -> Cut:
        """How recordings are cut for a teacher.

        Raises:
            DistillError: it does not take such windows, or cannot find speech in them.
        """
        window, hop = _window(self.window, card), self.hop
        if hop is not None and not 0 < hop <= window:
            raise DistillError(f"--hop {hop:g}: must be above 0 and at most the window of {window:g} s")
        hop = window if hop is None else hop
        if not self.vad:
            return Cut(window, hop)
        return Cut(window, hop, SpeechFinder(card.shortest_seconds, window, hop, self.vad_pause, self.vad_threshold))

    def listed(self, cut: Cut) -> Listing:
        """Its segments.

        Raises:
            DistillError: it cannot be read.
        """
        return list_segments(
            self.path, audio=None if self.audio is None else Path(self.audio), cut=cut, where=self.where,
            cache=None if self.cache is None else Path(self.cache), cache_bytes=int(self.cache_gb * 1e9),
        )  # fmt: skip

    def name(self) -> str:
        """What the same source is known by from any folder: an address, or an absolute path."""
        text = str(self.path)
        return text if is_address(text) else Path(text).resolve().as_posix()


def _window(wanted: float | None, card: TeacherCard) -> float:
    shortest, longest = card.shortest_seconds, card.longest_seconds
    window = longest if wanted is None else wanted
    if not shortest <= window <= longest:
        raise DistillError(f"--window {window:g}: {card.name} takes clips of {shortest:g} to {longest:g} s")
    return window
