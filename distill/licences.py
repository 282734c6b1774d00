"""Licences through the chain: of weights and of data, two fields; the strictest parent's is the child's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from distill.errors import Refused

#: From free to strict. A licence is what its first matching rule says; one that matches none is unknown, the strictest.
_RULES: tuple[tuple[str, str], ...] = (
    ("restricted", r"restrict|no commercial|academic|proprietary|meralion|research only|\bnd\b"),
    ("non-commercial", r"\bnc\b|-nc-|non-?commercial"),
    ("share-alike", r"\bsa\b|-sa\b|gpl|odbl"),
    ("permissive", r"\bcc0\b|cc0-|public domain|\bmit\b|\bbsd\b|bsd-|apache|\bisc\b|cc[ -]by\b"),
)
_ORDER = ("permissive", "share-alike", "non-commercial", "restricted", "unknown")

UNKNOWN = "unknown"

#: What `--require-licence` may ask for.
KINDS = _ORDER[:-1]


def kind(licence: str) -> str:
    """permissive, share-alike, non-commercial, restricted or unknown; of several (";"), the strictest.

    >>> kind("CC BY 4.0"), kind("CC-BY-NC-SA-4.0"), kind("CC0-1.0; BSD-3-Clause"), kind("ask Bob")
    ('permissive', 'non-commercial', 'permissive', 'unknown')
    """
    parts = [part for part in licence.split(";") if part.strip()]
    kinds = [next((name for name, rule in _RULES if re.search(rule, part.lower())), UNKNOWN) for part in parts]
    return max(kinds or [UNKNOWN], key=_ORDER.index)


def strictest(licences: Iterable[str]) -> str:
    """The licence that binds a child of parents under `licences`: every name of the strictest kind, joined by ";".

    >>> strictest(["MIT", "CC-BY-NC-SA-4.0"])
    'CC-BY-NC-SA-4.0'
    >>> strictest(["CC0-1.0", "CC BY 4.0", "CC0-1.0"])  # of one kind: all have to be kept
    'CC0-1.0; CC BY 4.0'
    """
    given = list(dict.fromkeys(part.strip() for licence in licences for part in licence.split(";") if part.strip()))
    if not given:
        return UNKNOWN
    worst = max((kind(licence) for licence in given), key=_ORDER.index)
    return "; ".join(licence for licence in given if kind(licence) == worst)


def require(wanted: str | None, licences: Mapping[str, str], *, say_it: str = "") -> None:
    """Refuse what is stricter than `wanted` (a kind; None asks for nothing). licences: {what: its licence}. say_it: how
    to say one that is not known.

    >>> require("permissive", {"the weights": "MIT", "their training data": "CC0-1.0"})
    >>> require("permissive", {"the weights": "MIT", "their training data": "CC-BY-NC-SA-4.0"})
    Traceback (most recent call last):
    ...
    distill.errors.Refused: their training data: CC-BY-NC-SA-4.0 is non-commercial, and permissive is required

    Raises:
        Refused: one of them is.
    """
    for what, licence in licences.items() if wanted else ():
        if wanted and _ORDER.index(kind(licence)) > _ORDER.index(wanted):
            mend = f"; {say_it}" if say_it and kind(licence) == UNKNOWN else ""
            raise Refused(f"{what}: {licence} is {kind(licence)}, and {wanted} is required{mend}")
