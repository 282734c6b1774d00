"""Held-out clips: whole speakers where known, whole files otherwise, never single windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from distill.errors import DistillError

#: Of all clips, held out.
SHARE = 0.1


def groups_of(files: Sequence[str], speakers: Sequence[str | None], speaker_from: str | None = None) -> list[str]:
    """What may not be torn apart: the speaker's name, else what `speaker_from` finds in the path, else the file.

    speaker_from: regular expression with one group, searched in the POSIX path.

    >>> groups_of(["a/84-1.flac", "b.flac"], [None, "03"], r"(\\d+)-")
    ['speaker 84', 'speaker 03']
    >>> groups_of(["a/84-1.flac"], [None])
    ['file a/84-1.flac']

    Raises:
        DistillError: the expression is none, or has no group.
    """
    pattern = _compiled(speaker_from) if speaker_from else None
    found = [pattern.search(PurePosixPath(file).as_posix()) if pattern else None for file in files]
    return [
        f"speaker {speaker}"
        if speaker not in (None, "")
        else f"speaker {match[1]}"
        if match and match[1]
        else f"file {file}"
        for file, speaker, match in zip(files, speakers, found, strict=True)
    ]


def held_out(groups: Sequence[str], *, seed: int | Sequence[int] = 0, share: float = SHARE) -> np.ndarray:
    """Boolean [n], true for the clips of groups drawn until about `share` of all clips are held out.

    >>> held_out(["ann", "ann", "bob", "cy", "cy"]).tolist()
    [False, False, False, True, True]

    Raises:
        DistillError: there is only one group.
    """
    names, sizes = np.unique(np.asarray(groups), return_counts=True)
    if len(names) < 2:
        raise DistillError(f"cannot hold anything out: all clips belong to one group ({names[0]})")
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = order[before < share * len(groups)][: len(names) - 1]
    return np.isin(groups, names[chosen])


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise DistillError(f"--speaker-from {expression!r}: no regular expression ({error})") from None
    if pattern.groups != 1:
        raise DistillError(f"--speaker-from {expression!r}: needs exactly one (group), the speaker")
    return pattern
