"""What activations reach on real clips, and how much of that their 8 bits are spent on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from students.quantised import DECIBELS, TOP, Range
from students.wav2small import Vgg7

#: Values of each activation that are kept of each clip, beside its extremes.
KEPT = 4000

#: Share of the values that the method "percentile" takes in, in percent.
PERCENTILE = 99.99

#: Bins of a histogram for the method "entropy", and shares of the extremes that the searching methods try.
_BINS, _SHARES = 2048, np.linspace(0.4, 1.0, 31)


def observe(student: Vgg7, clips: Sequence[np.ndarray], method: str = "minmax") -> dict[str, Range]:
    """The range of every activation that is rounded: of the log-mel (nepers), and behind each convolution.

    clips: float32 [samples] each. method: a key of `METHODS`.
    """
    return {name: METHODS[method](values) for name, values in values_of(student, clips).items()}


def values_of(student: Vgg7, clips: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Of every activation some values of each clip, its extremes among them, by the names of `QuantisedVgg`."""
    seen: dict[str, list[np.ndarray]] = defaultdict(list)
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: seen[name].append(_some(out)))  # type: ignore[misc]
        for name, module in _watched(student).items()
    ]
    with torch.inference_mode():
        for clip in clips:
            student(torch.from_numpy(clip)[None])
    for hook in hooks:
        hook.remove()
    scale = {"mel": 1 / DECIBELS}
    return {name: np.concatenate(values) * scale.get(name, 1.0) for name, values in seen.items()}


def _watched(student: Vgg7) -> dict[str, nn.Module]:
    fine, coarse = (dict(enumerate(blocks)) for blocks in (student.fine, student.coarse))
    return {
        "mel": student.frontend, **{f"fine_{n}": block for n, block in fine.items()},
        **{f"coarse_{n}": block for n, block in coarse.items()},
    }  # fmt: skip


def _some(out: Tensor) -> np.ndarray:
    values = out.flatten().numpy()
    return np.concatenate([values[:: 1 + len(values) // KEPT], [values.min(), values.max()]])


def _extremes(values: np.ndarray) -> Range:
    return Range(float(values.min()), float(values.max()))


def _percentile(values: np.ndarray) -> Range:
    low, high = np.percentile(values, [100 - PERCENTILE, PERCENTILE])
    return Range(float(low), float(high))


def _least(lost: Callable[[np.ndarray, Range], float]) -> Callable[[np.ndarray], Range]:
    """The share of the extremes at which something is least."""

    def chosen(values: np.ndarray) -> Range:
        low, high = _extremes(values)
        return min((Range(low * share, high * share) for share in _SHARES), key=lambda reach: lost(values, reach))

    return chosen


def _squares(values: np.ndarray, reach: Range) -> float:
    """What 8 bits of this range lose of the values, in squares."""
    reach = reach.with_zero()
    rounded = np.clip(np.round(values / reach.step) * reach.step, reach.low, reach.high)
    return float(np.mean((rounded - values) ** 2))


def _divergence(values: np.ndarray, reach: Range) -> float:
    """Kullback and Leibler's, of the values' histogram from what it is after rounding in this range."""
    counts, edges = np.histogram(values, bins=_BINS)
    centres = (edges[1:] + edges[:-1]) / 2
    reach = reach.with_zero()
    level = np.clip(np.round((centres - reach.low) / reach.step), 0, TOP).astype(int)
    filled = counts > 0
    spread = np.bincount(level, counts, TOP + 1) / np.maximum(np.bincount(level, filled, TOP + 1), 1)
    wanted, found = counts[filled] / counts.sum(), spread[level][filled]
    # What is cut off falls together with the last level, and is spread over all that is there.
    return float(np.sum(wanted * np.log(wanted / np.maximum(found / found.sum(), 1e-12))))


#: How a range is read off values, by name.
METHODS: dict[str, Callable[[np.ndarray], Range]] = {
    "minmax": _extremes, "percentile": _percentile, "mse": _least(_squares), "entropy": _least(_divergence),
}  # fmt: skip
