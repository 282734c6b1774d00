"""Who speaks low and who speaks high: speakers in three groups by their mean pitch.

The groups are those of audEERING's tests, Derington et al. (2023), "Testing correctness, fairness, and robustness of
speech emotion recognition models" (their test "fairness pitch"): of speakers and not of clips, since a clip's own pitch
rises with its arousal, so that clips of one pitch are nearly of one arousal, too, and a CCC among them says little.
The edges are fixed and the same for both sexes. A clip's pitch is the mean over its voiced frames; a speaker's is the
mean over his or her clips. What is not taken over: they draw clips until the ratings are alike in all groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.errors import DistillError

#: The column of the truth that tells it (Hz), and how it goes by where it is found in the recordings.
PITCH = "pitch"

#: A speaker's mean pitch is low up to the first, middle up to the second, and high above it (Hz).
EDGES_HZ = (145.0, 190.0)
GROUPS = ("low", "middle", "high")

#: A clip outside of this (Hz) is taken for an error of the tracker, and left out.
PLAUSIBLE_HZ = (50.0, 350.0)

#: Speakers of no more clips are left out.
TOO_FEW_CLIPS = 25


@dataclass(frozen=True)
class PitchGroups:
    """clips: {group: bool [clips]} of the groups that somebody is in. speakers: {group: {speaker: Hz}}. left_out: how
    many clips are in no group, by the reason."""

    clips: dict[str, np.ndarray]
    speakers: dict[str, dict[str, float]]
    left_out: dict[str, int]


def pitch_groups(pitch: np.ndarray, speakers: np.ndarray) -> PitchGroups:
    """Speakers grouped by their mean pitch.

    pitch: [clips] in Hz, NaN where a clip has no voice. speakers: str [clips], "" where nobody is told.

    >>> found = pitch_groups(np.repeat([120.0, 220.0, 400.0], 30), np.repeat(["a", "b", "b"], 30))
    >>> found.speakers, found.left_out
    ({'low': {'a': 120.0}, 'high': {'b': 220.0}}, {'outside of 50 to 350 Hz': 30})
    """
    names, counts = np.unique(speakers, return_counts=True)
    often = np.isin(speakers, names[counts > TOO_FEW_CLIPS])
    low, high = PLAUSIBLE_HZ
    reasons = {
        "speaker not told": speakers == "",
        f"of a speaker of {TOO_FEW_CLIPS} clips or fewer": ~often,
        "without voice": np.isnan(pitch),
        f"outside of {low:g} to {high:g} Hz": ~((pitch >= low) & (pitch <= high)),
    }
    usable, left_out = np.ones(len(pitch), bool), {}
    for reason, applies in reasons.items():
        if (usable & applies).any():
            left_out[reason] = int((usable & applies).sum())
        usable &= ~applies
    means = {str(name): float(pitch[usable & (speakers == name)].mean()) for name in np.unique(speakers[usable])}
    members: dict[str, dict[str, float]] = {group: {} for group in GROUPS}
    for name, mean in means.items():
        members[GROUPS[int(np.searchsorted(EDGES_HZ, mean))]][name] = mean
    there = {group: of for group, of in members.items() if of}
    return PitchGroups({group: usable & np.isin(speakers, list(of)) for group, of in there.items()}, there, left_out)


def told_pitch(columns: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """What the truth says of each clip's pitch, Hz [clips], NaN where it does not; None where no clip has the column.

    >>> told_pitch([{"pitch": "120"}, {"pitch": ""}]).tolist()
    [120.0, nan]

    Raises:
        DistillError: what is said is no number.
    """
    if not any(PITCH in row for row in columns):
        return None
    try:
        return np.array([float(row.get(PITCH) or "nan") for row in columns])
    except (TypeError, ValueError) as error:
        raise DistillError(f"column {PITCH}: is in Hz ({error})") from None
