"""A database in audformat: tables of ratings with their schemes, joined by segment. Needs the package audformat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distill.corpora.cells import sex
from distill.errors import DistillError, first_line

HEADER = "db.yaml"

#: What columns are called in databases, as we call them.
_NAMES = {
    "arousal": "arousal", "activation": "arousal", "dominance": "dominance", "valence": "valence",
    "emotion": "category", "category": "category", "speaker": "speaker", "sex": "sex", "gender": "sex",
    "transcript": "transcript", "transcription": "transcript", "text": "transcript",
}  # fmt: skip
_AXES = ("arousal", "dominance", "valence")

#: What is said by machines is no truth.
_MACHINE = "machine"

#: Parts of a table's name that say which side of a split its rows are on.
_SPLITS = ("train", "dev", "test")

_Key = tuple[str, float | None, float | None]


def find(path: Path) -> Path | None:
    """The database that `path` is, or whose header it is."""
    folder = path.parent if path.name == HEADER else path
    return folder if (folder / HEADER).is_file() else None


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Every segment that a table rates, with what tables of whole files say of its file.

    Raises:
        DistillError: it cannot be read, nothing is rated, a rating is outside its scheme, or two tables disagree.
    """
    database = _opened(path)
    of_files: dict[str, dict[str, Any]] = {}
    of_segments: dict[_Key, dict[str, Any]] = {}
    for name, table in database.tables.items():
        for key, said in _said(path, database, name, table):
            whole = key[1] is None and key[2] is None
            known = of_files.setdefault(key[0], {}) if whole else of_segments.setdefault(key, {})
            _join(path, key, known, said)
    rated = of_segments or {(file, None, None): said for file, said in of_files.items()}
    if not any(set(said) & {*_AXES, "category"} for said in rated.values()):
        raise DistillError(f"{path}: no table rates {', '.join(_AXES)} or a category")
    names = sorted({name for said in (*rated.values(), *of_files.values()) for name in said})
    for (file, start, end), said in rated.items():
        known = {**of_files.get(file, {}), **said}
        times = {} if start is None else {"start": start, "end": end}
        yield {"file": file, **times, **{name: known.get(name) for name in names}}


def _opened(path: Path) -> Any:
    import audformat

    try:
        return audformat.Database.load(str(path))
    except Exception as error:  # pandas, yaml and audformat each have types of their own
        raise DistillError(f"{path / HEADER}: cannot be read ({first_line(error)})") from None


def _said(path: Path, database: Any, name: str, table: Any) -> Iterator[tuple[_Key, dict[str, Any]]]:
    columns = {column: _NAMES[column.lower()] for column in table.columns if column.lower() in _NAMES}
    columns = {column: ours for column, ours in columns.items() if not _by_machine(database, table.columns[column])}
    split = next((part for part in name.lower().split(".") if part in _SPLITS), None)
    scales = {column: _scale(database, table.columns[column]) for column, ours in columns.items() if ours in _AXES}
    for index, row in table.df.iterrows():
        said = {ours: _value(path, row[column], ours, scales.get(column)) for column, ours in columns.items()}
        said = {ours: value for ours, value in said.items() if value is not None}
        if "speaker" in said and "sex" not in said and (known := _sex_of(database, table, said["speaker"])):
            said["sex"] = known
        if said or split:
            yield _key(index), {**said, **({"split": split} if split else {})}


def _by_machine(database: Any, column: Any) -> bool:
    return column.rater_id is not None and database.raters[column.rater_id].type == _MACHINE


def _scale(database: Any, column: Any) -> tuple[float, float]:
    scheme = database.schemes[column.scheme_id] if column.scheme_id is not None else None
    low, high = getattr(scheme, "minimum", None), getattr(scheme, "maximum", None)
    return (0.0, 1.0) if low is None or high is None else (float(low), float(high))


def _value(path: Path, given: Any, ours: str, scale: tuple[float, float] | None) -> Any:
    if given is None or given != given:  # NaN
        return None
    if scale is None:
        return sex(str(given)) if ours == "sex" else str(given)
    low, high = scale
    value = (float(given) - low) / (high - low)
    if not -0.125 <= value <= 1.125:
        raise DistillError(f"{path}: {ours} {given:g} is outside its scheme, {low:g} to {high:g}")
    return round(value, 6)


def _sex_of(database: Any, table: Any, speaker: str) -> str:
    """What the labels of the scheme of speakers say of one."""
    column = next(column for name, column in table.columns.items() if _NAMES.get(name.lower()) == "speaker")
    labels = database.schemes[column.scheme_id].labels if column.scheme_id is not None else None
    known = labels.get(speaker) if isinstance(labels, Mapping) else None
    if not isinstance(known, Mapping):
        return ""
    return sex(str(known.get("sex", known.get("gender", ""))))


def _key(index: Any) -> _Key:
    """Of an index of files, or of file, start and end; an end that is NaT is the file's."""
    if not isinstance(index, tuple):
        return str(index), None, None
    file, start, end = index
    if end != end:  # NaT
        return (str(file), None, None) if start.total_seconds() == 0 else (str(file), start.total_seconds(), None)
    return str(file), start.total_seconds(), end.total_seconds()


def _join(path: Path, key: _Key, known: dict[str, Any], said: Mapping[str, Any]) -> None:
    for name, value in said.items():
        if known.setdefault(name, value) != value:
            raise DistillError(f"{path}: {key[0]} is {known[name]!r} and {value!r} by {name} in different tables")
