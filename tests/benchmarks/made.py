"""benchmark.json by hand: every number is known, so that pages and pictures can be read against it."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from distill.annotation import AXES


def timed(median: float, low: float | None = None, high: float | None = None, *, seconds: float = 5.0) -> Any:
    """What is known of a model at one length; by default a tenth to both sides."""
    low, high = 0.9 * median if low is None else low, 1.1 * median if high is None else high
    return {"median": median, "p10": low, "p90": high, "rtf": median / 1e3 / seconds, "n": 30}


def rated(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """The same CCC on all axes."""
    return {axis: {"value": value, "low": low, "high": high} for axis in AXES}


def model(**changes: Any) -> dict[str, Any]:
    """One model, as `benchmark` describes it."""
    return {
        "path": "runs/w2s.onnx", "name": "w2s", "bytes": 71_984, "sha256": "ab" * 32, "parameters": 17_234,
        "trainable": 16_001, "macs_per_second": 4_213_000.0, "tokens_per_second": 100.0, "hop_ms": 10.0,
        "licence": "MIT", "data_licence": "CC0-1.0", "derived": ["dominance"], "precision": "float32",
        "latency_ms": {"1": timed(1.0, seconds=1), "5": timed(4.0)}, "ratio_to_first": {"1": 1.0, "5": 1.0},
        "peak_rss_bytes": {"runtime": 60_000_000, "model": 2_000_000}, "ccc": None, "n_truth": 0, **changes,
    }  # fmt: skip


def record(*models: dict[str, Any], **machine: Any) -> dict[str, Any]:
    """A whole benchmark.json, timed at 1 and 5 s."""
    host = {
        "cpu": "a chip", "cores": 4, "threads": 1, "memory_bytes": 8_000_000_000, "system": "Linux 6 x86_64",
        "python": "3.12.1", "onnxruntime": "1.20.0", "distill": "0.1.0", "date": "2026-01-02T03:04:05+00:00",
        "instruction_sets": {"avx2": True, "neon": False, "avx512_vnni": True}, **machine,
    }  # fmt: skip
    settings = {"rounds": 30, "seconds": [1, 5], "warmup": 3, "interleaved": True, "seed": 7, "memory_seconds": 5.0}
    return {"machine": host, "settings": settings, "models": list(models or [model()]), "devices": {}, "profile": None}


def other(**changes: Any) -> dict[str, Any]:
    """A larger model beside `model()`: ten times its bytes, twice its time."""
    changes = {"latency_ms": {"1": timed(2.0, seconds=1), "5": timed(8.0)}, **changes}
    return model(name="cnn", path="runs/cnn.onnx", bytes=719_840, ratio_to_first={"1": 2.0, "5": 2.0}, **changes)


def device(**changes: Any) -> dict[str, Any]:
    """What was counted on an emulated core."""
    return {
        "instructions_per_second": 63_712_345, "breakdown": {"convolutions": 45_100_000, "front-end": 2_450_000},
        "cycles_per_second": {"low": 92_900_000, "high": 107_200_000}, "flash_bytes": 79_348, "ram_bytes": 14_428,
        "stack_bytes": 588, "buffer_bytes_per_second": 26_000, **changes,
    }  # fmt: skip


def native(**changes: Any) -> dict[str, Any]:
    """What was timed of the student in C on the host."""
    times = {"1": timed(0.3, seconds=1), "5": timed(1.2)}
    return {"latency_ms": times, "ratio_to_first": {"1": 0.3, "5": 0.3}, "flash_bytes": 90_000, "ram_bytes": 20_000,
            **changes}  # fmt: skip


class Drawn:
    """A picture, read back from its markup."""

    def __init__(self, svg: str | None) -> None:
        assert svg is not None, "nothing was drawn"
        self.root = ElementTree.fromstring(svg)
        self.height = float(self.root.attrib["viewBox"].split()[3])

    def of(self, kind: str) -> list[Any]:
        """The elements of a class, such as "mark s1"."""
        return [element for element in self.root.iter() if element.get("class") == kind]

    def text(self, kind: str) -> list[str]:
        """What the elements of a class say."""
        return ["".join(element.itertext()) for element in self.of(kind)]

    def place(self, kind: str) -> list[tuple[float, float]]:
        """Where the marks of a class stand in the plotting area, x and y; those of the legend are left out."""
        marks = [element for element in self.of(kind) if element.find("title") is not None]
        return [numbers(element.attrib["transform"]) for element in marks]  # type: ignore[misc]

    def whiskers(self, kind: str) -> list[tuple[float, float, float]]:
        """x, and both ends in y, of the spreads of a class; not its curve."""
        paths = [element.attrib["d"] for element in self.of(kind) if "V" in element.attrib["d"]]
        return [numbers(path)[:3] for path in paths]  # type: ignore[misc]

    @property
    def spoken(self) -> str:
        """What a screen reader says of it."""
        return str(self.root.findtext("desc"))


def numbers(text: str) -> tuple[float, ...]:
    """Every number of a text."""
    return tuple(float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text))


def swept(**axes: float) -> dict[str, Any]:
    """What a sweep tells of one member and truth: each axis' CCC, its interval 0.1 below to 0.05 above."""
    return {axis: {"n": 40, "mean": mean, "low": mean, "high": mean, "values": [mean],
                   "interval": {"low": mean - 0.1, "high": mean + 0.05}} for axis, mean in axes.items()}  # fmt: skip
