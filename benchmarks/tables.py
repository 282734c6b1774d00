"""The report's tables: every cell is one value of benchmark.json, written by `benchmarks.units`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from benchmarks.latency import length_key
from benchmarks.units import NOTHING, count, hundredths, significant, size, whole
from distill.annotation import AXES


@dataclass(frozen=True)
class Table:
    """Text in rows; the first column names the row. numeric: whether the other columns are numbers."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: bool = True


def labels(models: Sequence[dict[str, Any]]) -> list[str]:
    """A short name for each model that no other has: its name, with precision, file, folder, at last a number.

    >>> labels([{"name": "a", "precision": p, "path": f"{p}.onnx"} for p in ("int8", "int8", None)])
    ['a int8 (int8.onnx) in . #1', 'a int8 (int8.onnx) in . #2', 'a']
    """
    names = [str(model["name"]) for model in models]
    names = _told_apart(names, [str(model["precision"] or "") for model in models])
    names = _told_apart(names, [f"({PurePosixPath(model['path']).name})" for model in models])
    names = _told_apart(names, [f"in {PurePosixPath(model['path']).parent}" for model in models])
    return _told_apart(names, [f"#{place}" for place in range(1, len(names) + 1)])


def headline_length(record: dict[str, Any]) -> str:
    """The clip length that one-number figures are given for: 5 s where it was timed, else the longest.

    >>> headline_length({"settings": {"seconds": [1, 3, 10]}})
    '10'
    """
    lengths = record["settings"]["seconds"]
    return length_key(5 if 5 in lengths else max(lengths))


def spread(timed: dict[str, Any] | None) -> str:
    """Median with the 10th and 90th percentile: "1.90 (1.85 to 2.10)".

    >>> spread({"median": 1.9, "p10": 1.85, "p90": 2.1})
    '1.90 (1.85 to 2.10)'
    """
    if timed is None:
        return NOTHING
    return f"{significant(timed['median'])} ({significant(timed['p10'])} to {significant(timed['p90'])})"


def confidence(value: dict[str, Any] | None) -> str:
    """A CCC with its 95 % interval: "0.71 (0.68 to 0.74)".

    >>> confidence({"value": 0.71, "low": 0.68, "high": 0.74})
    '0.71 (0.68 to 0.74)'
    """
    if value is None or value["value"] is None:
        return NOTHING
    if value["low"] is None or value["high"] is None:
        return hundredths(value["value"])
    return f"{hundredths(value['value'])} ({hundredths(value['low'])} to {hundredths(value['high'])})"


def glance(record: dict[str, Any]) -> Table:
    """One line a model: what most readers came for."""
    length = headline_length(record)
    columns = ("model", "size", "parameters", "MAC/s", f"{length} s, ms", "ratio", "memory, model")
    rows = [
        (
            label,
            size(model["bytes"]),
            count(model["parameters"]),
            count(model["macs_per_second"]),
            significant((model["latency_ms"][length] or {}).get("median")),
            significant(model["ratio_to_first"][length]),
            size(model["peak_rss_bytes"]["model"]),
            *(_ccc_cells(model) if _has_truth(record) else ()),
        )
        for label, model in _labelled(record)
    ]
    return Table((*columns, *(f"CCC {axis}" for axis in AXES)) if _has_truth(record) else columns, rows)


def agreement(record: dict[str, Any]) -> Table:
    """CCC with its interval, an axis a column, and the clips behind it."""
    rows = [
        (label, *(confidence((model["ccc"] or {}).get(axis)) for axis in AXES), whole(model["n_truth"]))
        for label, model in _labelled(record)
    ]
    return Table(("model", *AXES, "clips"), rows)


def by_length(record: dict[str, Any]) -> Table:
    """Median, percentiles, real-time factor and ratio, one row a model and clip length."""
    rows = [
        (
            label,
            length,
            *_latency_cells(timed),
            significant(model["ratio_to_first"][length]),
            whole((timed or {}).get("n")),
        )
        for label, model in _labelled(record)
        for length, timed in model["latency_ms"].items()
    ]
    return Table(("model", "clip, s", "median, ms", "p10, ms", "p90, ms", "RTF", "ratio to first", "answers"), rows)


def by_size(record: dict[str, Any]) -> Table:
    """File size against latency at the headline length."""
    length = headline_length(record)
    rows = [
        (label, size(model["bytes"]), whole(model["bytes"]), spread(model["latency_ms"][length]))
        for label, model in _labelled(record)
    ]
    return Table(("model", "size", "bytes", f"{length} s clip, ms (p10 to p90)"), rows)


def emulated(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The devices that instructions were counted on, by name."""
    return {name: device for name, device in record["devices"].items() if "instructions_per_second" in device}


def devices(record: dict[str, Any]) -> Table:
    """A second of audio on every emulated core."""
    columns = ("core", "instructions", "cycles, at least", "at most", "flash", "RAM", "of it stack", "kept a second")
    rows = [
        (
            name,
            count(device["instructions_per_second"]),
            *(count((device["cycles_per_second"] or {}).get(bound)) for bound in ("low", "high")),
            *(size(device[f"{kind}_bytes"]) for kind in ("flash", "ram", "stack")),
            size(device["buffer_bytes_per_second"]),
        )
        for name, device in emulated(record).items()
    ]
    return Table(columns, rows)


def breakdown(record: dict[str, Any]) -> Table:
    """Instructions by part, a core a column; the parts in the order of the first core."""
    cores = emulated(record)
    parts = dict.fromkeys(part for device in cores.values() for part in device["breakdown"])
    rows = [(part, *(count(device["breakdown"].get(part)) for device in cores.values())) for part in parts]
    return Table(("part", *cores), rows)


def native(record: dict[str, Any]) -> Table:
    """The student in C on the host, one row a clip length."""
    device = record["devices"]["host"]
    rows = [
        (length, *_latency_cells(timed), significant(device["ratio_to_first"][length]), size(device["ram_bytes"]))
        for length, timed in device["latency_ms"].items()
    ]
    return Table(("clip, s", "median, ms", "p10, ms", "p90, ms", "RTF", "ratio to first", "RAM"), rows)


def fit(record: dict[str, Any]) -> Table:
    """The profile's budget, and what is said of the first model."""
    profile = record["profile"]
    rows = [
        ("hardware", profile["title"]),
        ("core", profile["core"] or NOTHING),
        ("cycles a second", count(profile["clock_hz"])),
        ("flash", size(profile["flash_bytes"])),
        ("RAM", size(profile["ram_bytes"])),
        ("source", profile["source"]),
        ("verdict", profile["verdict"]),
    ]
    return Table(("budget", "value"), rows, numeric=False)


def memory(record: dict[str, Any]) -> Table:
    """Peak resident memory, runtime and model apart."""
    rows = [
        (label, size(model["peak_rss_bytes"]["runtime"]), size(model["peak_rss_bytes"]["model"]))
        for label, model in _labelled(record)
    ]
    return Table(("model", "runtime", "model adds"), rows)


def parameters(record: dict[str, Any]) -> Table:
    """How many numbers the network holds."""
    rows = [
        (label, model["precision"] or NOTHING, whole(model["parameters"]), whole(model["trainable"]))
        for label, model in _labelled(record)
    ]
    return Table(("model", "precision", "parameters", "trainable"), rows)


def work(record: dict[str, Any]) -> Table:
    """How much the network computes."""
    rows = [
        (
            label,
            count(model["macs_per_second"]),
            whole(model["macs_per_second"]),
            significant(model["tokens_per_second"]),
            significant(model["hop_ms"]),
        )
        for label, model in _labelled(record)
    ]
    return Table(("model", "MAC/s", "exact", "tokens/s", "hop, ms"), rows)


def origin(record: dict[str, Any]) -> Table:
    """Licences and identity of the files."""
    rows = [
        (
            label,
            model["licence"],
            model["data_licence"],
            ", ".join(model["derived"]) or "none",
            model["path"],
            model["sha256"],
        )
        for label, model in _labelled(record)
    ]
    return Table(
        ("model", "licence of the weights", "licence of the data", "derived axes", "file", "sha256"),
        rows,
        numeric=False,
    )


def conditions(record: dict[str, Any]) -> Table:
    """The machine and the settings."""
    machine, settings = record["machine"], record["settings"]
    present = [name for name, there in machine["instruction_sets"].items() if there]
    rows = [
        ("processor", machine["cpu"]),
        ("instruction sets", ", ".join(present) or "none of those looked for"),
        ("cores to use", whole(machine["cores"])),
        ("threads used", whole(machine["threads"])),
        ("memory", size(machine["memory_bytes"])),
        ("system", machine["system"]),
        ("Python", machine["python"]),
        ("onnxruntime", machine["onnxruntime"] or NOTHING),
        ("distill", machine["distill"] or "a checkout, not installed"),
        ("date", machine["date"]),
        ("timed rounds", whole(settings["rounds"])),
        ("warm-up answers", f"{whole(settings['warmup'])} a model and length"),
        ("order", "interleaved, drawn anew each round" if settings["interleaved"] else "one model after the other"),
        ("seed", str(settings["seed"])),
    ]
    return Table(("condition", "value"), rows, numeric=False)


def as_markdown(table: Table) -> str:
    """A pipe table.

    >>> print(as_markdown(Table(("model", "bytes"), [("w2s", "1")])), end="")
    | model | bytes |
    | --- | ---: |
    | w2s | 1 |
    """
    rule = ["---", *(("---:" if table.numeric else "---") for _ in table.columns[1:])]
    lines = [table.columns, rule, *table.rows]
    return "\n".join("| " + " | ".join(plain_markdown(cell) for cell in line) + " |" for line in lines) + "\n"


def plain_markdown(text: str) -> str:
    """Text that markdown shows as it is, on one line.

    >>> plain_markdown("a|b <i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    # An underscore within a word is plain text already.
    return " ".join(re.sub(r"([\\|<>&*~`\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text).split())


def _told_apart(names: Sequence[str], additions: Sequence[str]) -> list[str]:
    """Names that several have, each with what may tell it from the others."""
    seen = Counter(names)
    return [f"{name} {more}".strip() if seen[name] > 1 else name for name, more in zip(names, additions, strict=True)]


def _labelled(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(zip(labels(record["models"]), record["models"], strict=True))


def _has_truth(record: dict[str, Any]) -> bool:
    return any(model["ccc"] for model in record["models"])


def _latency_cells(timed: dict[str, Any] | None) -> tuple[str, ...]:
    return tuple(significant((timed or {}).get(key)) for key in ("median", "p10", "p90", "rtf"))


def _ccc_cells(model: dict[str, Any]) -> tuple[str, ...]:
    return tuple(hundredths(((model["ccc"] or {}).get(axis) or {}).get("value")) for axis in AXES)
