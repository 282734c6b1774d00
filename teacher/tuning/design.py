"""What is put on a backbone and what of it learns: the options of a tuned teacher, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any

from distill.annotation import AXES, as_lists, as_tuples
from distill.errors import DistillError
from teacher.tuning.options import ADV, COMPOSED, COMPOSITIONS, CONDITIONS, HEADS, LAYERS, METHODS, POOLINGS, TOP

#: A column, and the values of it that are told apart, in the order of the answers.
Classes = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Design:
    """A tuned teacher but for its weights.

    method: of `METHODS`; layers: of `LAYERS`; pooling: of `POOLINGS`; head: of `HEADS`; top: layers that `partial`
    trains; condition: of `CONDITIONS`; text: dimensions of the vectors of words that it takes; axes: those it answers,
    in the order of `AXES`; classes: what it tells apart, behind the axes. composition: of `COMPOSITIONS`; but for
    "none", each task has adapters and a head of its own.
    """

    method: str
    layers: str
    pooling: str
    head: str
    top: int = TOP
    condition: str = "none"
    text: int = 0
    axes: tuple[str, ...] = AXES
    classes: tuple[Classes, ...] = ()
    composition: str = "none"

    def __post_init__(self) -> None:
        _reject_other("--method", self.method, tuple(METHODS))
        _reject_other("--pooling", self.pooling, POOLINGS)
        _reject_other("--head", self.head, HEADS)
        _reject_other("--condition", self.condition, CONDITIONS)
        _reject_other("the composition", self.composition, COMPOSITIONS)
        if self.composition != "none" and self.method not in COMPOSED:
            raise DistillError(f"--method {self.method} has no adapters; --tasks takes {' or '.join(COMPOSED)}")
        _split(self.layers)
        if self.top < 1:
            raise DistillError(f"--top-layers {self.top}: at least one layer has to learn")

        if "gender" in self.conditions and "sex" in self.tasks:
            raise DistillError(f"--condition {self.condition} tells the teacher the sex that it is to answer")

    @property
    def merge(self) -> str:
        """last, weighted or attentive-merge."""
        name, _ = _split(self.layers)
        return "last" if name == "first" else name

    @property
    def kept(self) -> int | None:
        """How many of the backbone's layers are kept; None: all.

        >>> design_of("full", layers="first:12").kept
        12
        """
        return _split(self.layers)[1]

    @property
    def conditions(self) -> set[str]:
        """gender, text, both or neither.

        >>> sorted(design_of("head", condition="gender+text").conditions)
        ['gender', 'text']
        """
        return set(self.condition.split("+")) - {"none"}

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it answers, in the order of its answers: the axes as one, and each column.

        >>> design_of("head", classes=(("sex", ("female", "male")),)).tasks
        ('adv', 'sex')
        """
        return (*([ADV] if self.axes else []), *(column for column, _ in self.classes))

    @property
    def columns(self) -> dict[str, slice]:
        """Where in a row of answers each task stands.

        >>> design_of("head", classes=(("sex", ("female", "male")),)).columns["sex"]
        slice(3, 5, None)
        """
        return {**({ADV: slice(0, len(AXES))} if self.axes else {}), **columns_of(self.classes)}

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {key: as_lists(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Design:
        """What `as_dict` gave.

        >>> design = design_of("lora")
        >>> Design.from_dict(design.as_dict()) == design
        True

        Raises:
            DistillError: a key or a value that is not known.
        """
        given: dict[str, Any] = {key: as_tuples(value) for key, value in said.items()}
        try:
            return cls(**given)
        except TypeError as error:
            raise DistillError(f"the design of the teacher cannot be read ({error})") from None


def design_of(
    method: str, *, layers: str | None = None, pooling: str | None = None, head: str | None = None, **rest: Any
) -> Design:
    """A design with what its method takes where nothing else is asked for.

    >>> design_of("lora").layers, design_of("full").layers
    ('weighted', 'last')

    Raises:
        DistillError: an option that is not known.
    """
    _reject_other("--method", method, tuple(METHODS))
    default = METHODS[method]
    return Design(
        method=method, layers=layers or default.layers, pooling=pooling or "mean", head=head or default.head, **rest
    )


def answering(design: Design, axes: tuple[str, ...], classes: tuple[Classes, ...], text: int = 0) -> Design:
    """The same for what the labels of a training know. text: dimensions of the vectors of words."""
    return replace(design, axes=axes, classes=classes, text=text)


def columns_of(classes: Sequence[Classes]) -> dict[str, slice]:
    """Where in a row of answers, or of targets, each column stands that is told apart: behind the axes.

    >>> columns_of([("category", ("calm", "stirred")), ("sex", ("female", "male"))])
    {'category': slice(3, 5, None), 'sex': slice(5, 7, None)}
    """
    ends = list(accumulate((len(names) for _, names in classes), initial=len(AXES)))
    return {column: slice(*ends[place : place + 2]) for place, (column, _) in enumerate(classes)}


def _split(layers: str) -> tuple[str, int | None]:
    name, colon, count = layers.partition(":")
    _reject_other("--layers", name, LAYERS)
    if (colon and not (count.isdecimal() and int(count))) or (name == "first" and not colon):
        raise DistillError(f"--layers {layers}: after {name}: comes a number of layers, as in {name}:12")
    return name, int(count) if colon else None


def _reject_other(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise DistillError(f"{option} {given}: there are {', '.join(known)}")
