"""The view that is one vector a clip: functionals, ours or, where openSMILE is installed, those of eGeMAPS."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.errors import DistillError
from teacher.prosody.analysis import Array
from teacher.prosody.features import functionals

#: Clips that are remembered: a tuning hears the same ones in every epoch.
_REMEMBERED = 16_384


@dataclass(frozen=True)
class Functionals:
    """describe: float32 [samples] at 16 kHz -> float32 [n]. licence: of what computes them, which binds what is made
    by them; None: ours. gain_invariant: whether the level changes nothing."""

    describe: Callable[[Array], Array]
    licence: str | None
    gain_invariant: bool


@functools.cache
def _smile() -> Any:
    import opensmile

    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )


def _egemaps(signal: Array) -> Array:
    """Eyben et al. (2016), "The Geneva minimalistic acoustic parameter set (GeMAPS)": the 88 of the extended set."""
    from distill.audio import SAMPLING_RATE

    return np.nan_to_num(np.asarray(_smile()(signal, SAMPLING_RATE), np.float32).reshape(-1))


#: By the name that `--functionals` takes.
KINDS = {
    "own": Functionals(functionals, None, gain_invariant=True),
    "egemaps": Functionals(_egemaps, "audEERING Research License (non-commercial)", gain_invariant=False),
}

_known: dict[tuple[str, bytes], Array] = {}


def described(kind: str, signal: Array) -> Array:
    """The functionals of a clip; of one that has been heard lately, those that were found then.

    signal: float32 [samples] at 16 kHz -> float32 [n], of any scale.

    >>> described("own", np.sin(np.arange(8_000, dtype=np.float32))).shape
    (360,)

    Raises:
        ModuleNotFoundError: openSMILE's, and it is not installed.
    """
    key = kind, hashlib.blake2b(signal.tobytes(), digest_size=16).digest()
    if key not in _known:
        if len(_known) >= _REMEMBERED:
            _known.pop(next(iter(_known)))
        _known[key] = KINDS[kind].describe(signal)
    return _known[key]


def dimensions_of(kind: str) -> int:
    """How many there are of a kind.

    >>> dimensions_of("own")
    360

    Raises:
        DistillError: a kind that is not known.
        ModuleNotFoundError: openSMILE's, and it is not installed.
    """
    if kind not in KINDS:
        raise DistillError(f"--functionals {kind}: there are {', '.join(KINDS)}")
    return len(described(kind, np.sin(np.arange(16_000, dtype=np.float32) / 16)))
