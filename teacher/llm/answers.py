"""What a language model replied, read strictly: one JSON object with three numbers, or a named fault."""

from __future__ import annotations

import json
from typing import Any

from distill.annotation import AXES

#: A reply beyond this is no three numbers (characters).
LONGEST = 1000


class BadAnswer(Exception):
    """A reply that cannot be taken. kind: what the cost log counts it as; told: what the model is told of it."""

    def __init__(self, kind: str, told: str) -> None:
        super().__init__(told)
        self.kind, self.told = kind, told


def read_answer(text: str, scale: tuple[float, float]) -> dict[str, float]:
    """The three numbers of a reply, on the scale that the model was asked to use.

    >>> read_answer('{"arousal": 0.7, "dominance": 0.5, "valence": 0.2}', (0.0, 1.0))["valence"]
    0.2

    Raises:
        BadAnswer: it is anything but one JSON object with these three keys and numbers within the scale.
    """
    text = text.strip()
    if text.startswith("```"):
        raise BadAnswer("fenced", "it stands in a markdown fence")
    found = _parsed(text)
    if not isinstance(found, dict):
        raise BadAnswer("no object", "it is no JSON object")
    if set(found) != set(AXES):
        raise BadAnswer("keys", f"its keys are not exactly {', '.join(AXES)}")
    return {axis: _number(axis, found[axis], scale) for axis in AXES}


def _parsed(text: str) -> Any:
    if len(text) > LONGEST:
        raise BadAnswer("too long", f"it is longer than {LONGEST} characters")
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError):  # ValueError: also an integer of thousands of digits
        if text.startswith("{") and "}" not in text:
            raise BadAnswer("cut off", "it is cut off") from None
        around = "{" in text and not (text.startswith("{") and text.endswith("}"))
        kind, told = ("text around", "there is text around the JSON object") if around else ("no JSON", "it is no JSON")
        raise BadAnswer(kind, told) from None


def _no_constant(name: str) -> Any:
    raise BadAnswer("not a number", f"{name} is not a number")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise BadAnswer("keys", "a key stands twice")
    return dict(pairs)


def _number(axis: str, value: Any, scale: tuple[float, float]) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadAnswer("not a number", f"{axis} is not a number")
    if not scale[0] <= value <= scale[1]:
        raise BadAnswer("out of range", f"{axis} is outside {scale[0]:g} to {scale[1]:g}")
    return float(value)
