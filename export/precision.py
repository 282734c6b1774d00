"""How many bits each layer's weights get: as a rule, or as many as fit into a budget of bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch

from distill.errors import DistillError
from distill.progress import Progress
from export.calibration import observe
from export.graph.integer import integer_graph
from export.rounding import compensate
from export.rows import rows_by_importance, with_rows
from students.quantised import LARGEST, Bits, QuantisedVgg, Range, layers_of
from students.wav2small import Vgg7, Wav2Small

#: Clips on which a layer's sensitivity is measured, and the bits that are tried.
MEASURED, _FEWER = 24, (4, 2)

#: What moving the answers costs at least (their mean square): a measured cost may be zero, or less by chance.
_NOTHING = 1e-12

#: Layers that take few bits without tuning: most of Wav2Small's weights are theirs.
ATTENTION = ("lin", "sof")

#: Bits of those of their rows that count most, where the others have 2.
ATTENTION_MORE = 4


def usual_bits(student: Vgg7) -> dict[str, int]:
    """Of `--int8`: convolutions in 8 bits, lin and sof in 4; where they are a few hundred weights, in 8 as well."""
    return {**dict.fromkeys(layers_of(student), 8), **dict.fromkeys(ATTENTION, 4 if _is_large(student) else 8)}


def fewest_bits(student: Vgg7) -> dict[str, int]:
    """Of `--smallest` at the least: convolutions in 4 bits, but for the first, which is small; lin and sof in 2."""
    first, *others = layers_of(student)
    return {first: 8, **dict.fromkeys(others, 4), **dict.fromkeys(ATTENTION, 2 if _is_large(student) else 4)}


def smallest(student: Vgg7, clips: Sequence[np.ndarray], budget: int) -> tuple[Mapping[str, Bits], list[int] | None]:
    """Bits and rows of `--smallest`: the fewest bits, and 4 for as many rows of lin and sof as fit into `budget` bytes,
    those that count most first. Layouts with few rows keep them all (None). clips: as of `quantised`.
    """
    few = fewest_bits(student)
    if not isinstance(student, Wav2Small):
        return few, None
    rows = rows_by_importance(student, clips, few)
    kept, reach = with_rows(student, rows), observe(student, clips[:1])

    def with_more(count: int) -> dict[str, Bits]:
        each = (ATTENTION_MORE,) * count + (min(LARGEST),) * (len(rows) - count)
        return {**few, **dict.fromkeys(ATTENTION, each)}

    fit = bisect_right(range(len(rows) + 1), budget, key=lambda count: _size(kept, reach, with_more(count)))
    return with_more(max(0, fit - 1)), rows


def bits_within(student: Vgg7, clips: Sequence[np.ndarray], budget: int) -> dict[str, int]:
    """The bits with which the graph takes at most `budget` bytes. clips: as of `quantised`.

    From 8 bits everywhere, the layer is lowered next that spares most bytes for what it moves the answers, measured
    with that layer alone lowered.

    Raises:
        DistillError: it takes more with the fewest bits.
    """
    reach, some = observe(student, clips), clips[:MEASURED]
    bits = dict.fromkeys(layers_of(student), 8)
    least = _size(student, reach, dict.fromkeys(bits, min(LARGEST)))
    if least > budget:  # before the minutes of measuring
        raise DistillError(f"--budget: {budget - least:+,} bytes are left with the fewest bits; give it more")
    moved = {}
    with Progress("measuring layers", len(bits) * len(_FEWER), "ways") as bar:
        for name, few in product(bits, _FEWER):
            moved[name, few] = _moved(student, some, reach, {**bits, name: few})
            bar.advance()
    while (size := _size(student, reach, bits)) > budget:
        fewer = {name: {**bits, name: _next_fewer(few)} for name, few in bits.items() if few > min(LARGEST)}
        cost = {name: moved[name, lower[name]] - moved.get((name, bits[name]), 0.0) for name, lower in fewer.items()}
        spared = {name: size - _size(student, reach, lower) for name, lower in fewer.items()}
        bits = fewer[max(fewer, key=lambda name: spared[name] / max(cost[name], _NOTHING))]
    return bits


def told_bits(bits: Mapping[str, Bits]) -> dict[str, int | dict[str, int]]:
    """As the JSON has them: where rows differ, how many have how many bits.

    >>> told_bits({"fine_0": 8, "lin": (4, 2, 2)})
    {'fine_0': 8, 'lin': {'4': 1, '2': 2}}
    """
    return {
        name: few if isinstance(few, int) else {str(each): few.count(each) for each in dict.fromkeys(few)}
        for name, few in bits.items()
    }


def _next_fewer(bits: int) -> int:
    return max(few for few in LARGEST if few < bits)


@torch.inference_mode()
def _moved(student: Vgg7, clips: Sequence[np.ndarray], reach: Mapping[str, Range], bits: Mapping[str, int]) -> float:
    """The mean square by which answers differ from the float network's."""
    network = QuantisedVgg(student, bits, reach).eval()
    compensate(network, student, clips)
    pcm = [torch.from_numpy(clip)[None] for clip in clips]
    return float(torch.cat([student(clip) - network(clip) for clip in pcm]).square().mean())


def _size(student: Vgg7, reach: Mapping[str, Range], bits: Mapping[str, Bits]) -> int:
    return int(integer_graph(QuantisedVgg(student, bits, reach)).ByteSize())


def _is_large(student: Vgg7) -> bool:
    """Whether lin and sof are most of the student."""
    return isinstance(student, Wav2Small)
