"""A sweep that was made, and its two pages. They compute nothing: every number is in sweep.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import report, tables
from benchmarks.budget import COSTS
from benchmarks.pareto import AGAINST, Against, axes_of, interval, picture
from benchmarks.report import Section
from benchmarks.tables import Table
from benchmarks.units import NOTHING, hundredths, significant, size, whole
from distill.errors import DistillError
from distill.files import read_json
from distill.page import page

Record = dict[str, Any]

#: What lies in the folder of a sweep: the figures, and the pages that read them.
RECORD = "sweep.json"

#: What the estimates of `benchmarks.footprint` are, in short.
ASSUMED = (
    "Estimates, not measurements, of an engine that streams in integers and keeps no clip: weights at the bits of the "
    "int8 export, three rows of what each 3 x 3 layer takes, the pooling's running sums, one frame of the front-end. "
    "What an engine takes on top, code and stack among it, is told for the one of distill export --c in docs/sweep.md."
)


def table(record: Record) -> str:
    """A sweep as a Markdown table, a row a member, and what failed."""
    failed = [f"failed: {one['variant']}, seed {one['seed']}: {one['reason']}" for one in record["failed"]]
    return "\n".join([tables.as_markdown(glance(record)).rstrip(), *failed])


def read_made(path: str | Path) -> Record:
    """A sweep that was made: the folder that `sweep` wrote, or its sweep.json.

    Raises:
        DistillError: none there.
    """
    path = Path(path)
    record = read_json(path / RECORD if path.is_dir() else path)
    if not isinstance(record, dict) or not {"members", "fronts"} <= set(record):
        raise DistillError(f"{path}: holds no sweep; `distill sweep RECIPE -o FOLDER` makes one")
    return record


def render(record: Record) -> str:
    """The page report.html: one file, no scripts, no network. record: what sweep.json holds."""
    return page(
        _title(record),
        "\n".join(map(report.as_html, sections(record))),
        kicker="distill sweep",
        lead=_where(record),
        footer="Drawn from <code>sweep.json</code> beside this page, which holds every number in full.",
    )


def markdown(record: Record) -> str:
    """The page report.md: the same tables under the same headings. record: what sweep.json holds."""
    footer = "Every number is in `sweep.json`, which lies beside this page; the pictures are in `report.html`."
    return report.as_markdown(f"distill sweep: {_title(record)}", _where(record), sections(record), footer)


def sections(record: Record) -> list[Section]:
    """What both pages show, in their order."""
    return [
        _glance(record),
        *(_against(record, truth, against) for truth in _truths(record) for against in AGAINST),
        *(section(record, truth) for truth in _truths(record) for section in (_agreement, _differences)),
        _makes(record),
        _estimates(record),
        *([_failed(record)] if record["failed"] else []),
        _conditions(record),
    ]


def glance(record: Record) -> Table:
    """One line a member: what it costs, and its CCC with the first truth."""
    truth = next(iter(_truths(record)), None)
    axes = axes_of(record, truth) if truth else []
    columns = ("member", *(cost.told for cost in COSTS.values()), *(f"{axis}" for axis in axes))
    return Table(columns, [
        (member["name"], *(cost.shown(member[cost.field]) for cost in COSTS.values()),
         *(_mean(member, truth, axis) for axis in axes))
        for member in record["members"]
    ])  # fmt: skip


def _title(record: Record) -> str:
    return f"{len(record['members'])} students, and what their agreement costs"


def _where(record: Record) -> str:
    seeds = "one seed" if record["seeds"] == 1 else f"{record['seeds']} seeds"
    epochs = record["recipe"]["train-student"].get("epochs")
    passes = f", {'one pass' if epochs == 1 else f'{epochs} passes'} over the same clips" if epochs else ""
    return (
        f"{record['recipe']['file']}: every member trained alike ({seeds}{passes}). A point is on the front where no "
        "other member agrees as well for less. Flash and memory are estimates, told without a device."
    )


def _glance(record: Record) -> Section:
    truth = next(iter(_truths(record)), None)
    note = "What a member costs; the parameters are those that training sets."
    agreed = f" CCC is with {truth}, {_clips(record, truth)} clips; its intervals stand below." if truth else ""
    return Section("At a glance", note + agreed, None, glance(record))


def _against(record: Record, truth: str, against: Against) -> Section:
    rows = [(axis, " · ".join(names) or NOTHING) for axis, names in record["fronts"][against.field][truth].items()]
    note = (
        "Whiskers are 95 % intervals over clips; blue discs are on the front, grey diamonds are outdone. A difference "
        "smaller than a whisker is not told apart here."
    )
    return Section(f"CCC with {truth} against {against.title}", note, picture(record, truth, against),
                   Table(("axis", "on the front, cheapest first"), rows, numeric=False))  # fmt: skip


def _agreement(record: Record, truth: str) -> Section:
    axes = axes_of(record, truth)
    spread = "; behind it the least and the greatest of the seeds" if record["seeds"] > 1 else ""
    note = f"Concordance correlation (CCC), {_clips(record, truth)} clips, and its 95 % interval over clips{spread}."
    derived = sorted({axis for member in record["members"] for axis in member["derived"]} & set(axes))
    note += f" Derived, not measured: {', '.join(derived)}." if derived else ""
    rows = [(member["name"], *(_told(member, truth, axis) for axis in axes), significant(_minutes(member)))
            for member in record["members"]]  # fmt: skip
    return Section(f"Agreement with {truth}", note, None, Table(("member", *axes, "training, min"), rows))


def _differences(record: Record, truth: str) -> Section:
    first, *others = record["members"]
    axes = axes_of(record, truth)
    note = (
        f"CCC less that of {first['name']}, and its 95 % interval, paired: the same clips are drawn for both. It tells "
        "members apart whose own intervals overlap."
    )
    rows = [(member["name"], *(_difference(member, truth, axis) for axis in axes)) for member in others]
    return Section(f"Against {first['name']}, with {truth}", note, None, Table(("member", *axes), rows))


def _makes(record: Record) -> Section:
    note = "As `distill train-student --arch` takes them. Tokens are what the pooling sees."
    rows = [(member["name"], member["arch"], f"{member['hop_ms']:g} ms", f"{member['tokens_per_second']:.1f} tokens/s")
            for member in record["members"]]  # fmt: skip
    return Section("What they are made of", note, None, Table(("member", "arch", "hop", "pooled"), rows, numeric=False))


def _estimates(record: Record) -> Section:
    columns = [(kind, part) for kind in ("flash", "ram") for part in _parts(record, kind)]
    rows = [(member["name"], *(size((member[kind] or {}).get(part)) for kind, part in columns))
            for member in record["members"]]  # fmt: skip
    head = ("member", *(f"{COSTS[kind].told}: {part.replace('_', '-')}" for kind, part in columns))
    return Section("Flash and memory, part by part", ASSUMED, None, Table(head, rows))


def _failed(record: Record) -> Section:
    rows = [(one["variant"], str(one["seed"]), one["reason"]) for one in record["failed"]]
    return Section("Failed", "These runs came to nothing; the others went on.", None,
                   Table(("member", "seed", "reason"), rows, numeric=False))  # fmt: skip


def _conditions(record: Record) -> Section:
    machine = record["machine"]
    rows = [
        ("recipe", f"{record['recipe']['file']}, sha256 {record['recipe']['sha256']}"),
        ("seeds", whole(record["seeds"])),
        ("processor", machine["cpu"]), ("system", machine["system"]),
        ("distill", machine["distill"] or "a checkout, not installed"), ("date", machine["date"]),
    ]  # fmt: skip
    note = "What the members were trained on, and how. Minutes of training are of this machine, with what else it did."
    return Section("Conditions", note, None, Table(("condition", "value"), rows, numeric=False))


# --- cells -----------------------------------------------------------------------------------------------------------


def _truths(record: Record) -> list[str]:
    return list(dict.fromkeys(truth for member in record["members"] for truth in member["ccc"]))


def _clips(record: Record, truth: str | None) -> str:
    counts = {of["n"] for member in record["members"] for of in member["ccc"].get(str(truth), {}).values()}
    return whole(max(counts, default=0))


def _mean(member: Record, truth: str | None, axis: str) -> str:
    return hundredths(member["ccc"].get(str(truth), {}).get(axis, {}).get("mean"))


def _told(member: Record, truth: str, axis: str) -> str:
    found = member["ccc"].get(truth, {}).get(axis)
    if found is None:
        return NOTHING
    seeds = f"; {hundredths(found['low'])} to {hundredths(found['high'])}" if len(found["values"]) > 1 else ""
    return interval(found) + seeds


def _difference(member: Record, truth: str, axis: str) -> str:
    found = member["difference"].get(truth, {}).get(axis)
    if found is None or found["low"] is None:
        return NOTHING
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _minutes(member: Record) -> float | None:
    return None if member["seconds"] is None else member["seconds"] / 60


def _parts(record: Record, kind: str) -> list[str]:
    return list(dict.fromkeys(part for member in record["members"] for part in member[kind] or {}))
