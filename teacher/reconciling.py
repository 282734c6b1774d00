"""A table against its source: what is still to be done, and what no longer holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.audio import Span, digest, read
from distill.errors import AudioError, Refused
from distill.parts import drop_files, scan, settle
from distill.progress import Progress, say
from teacher.marks import Marks, files_of, known_of
from teacher.work import Work


def reconcile(output: Path, work: Work, info: Mapping[str, Any], *, relabel: bool) -> None:
    """Leave out of the work what the table holds, and out of the table what no longer holds; `info` is written.

    Raises:
        Refused: a file has changed, and `relabel` does not allow to replace its rows.
    """
    settle(output)
    known = known_of(output)
    old = _no_longer_so(output, work, known, Path(info["root"]), relabel=relabel)
    _say_what_is_gone(output, work, known)
    table.write_info(output, info)  # from here on the table is unfinished, whatever happens
    if old.any():
        drop_files(output, files_of(output, old))
        known = known_of(output)
    work.leave_out(known)


def leave_out_what_is_done(output: Path, work: Work, root: Path, *, relabel: bool) -> None:
    """The same for the work alone: the table stays as it is, if there is one.

    Raises:
        Refused: as `reconcile`.
    """
    if not table.is_table(output):
        return
    known = known_of(output)
    old = _no_longer_so(output, work, known, root, relabel=relabel)
    work.leave_out(known[~np.isin(known.files, known.files[old])])  # the rows of a file are replaced together


def _no_longer_so(output: Path, work: Work, known: Marks, root: Path, *, relabel: bool) -> np.ndarray:
    """Boolean [known]: the rows of a table that no longer hold. Recordings that were copied, or cloned again, have
    another date and the same audio: their rows hold.

    Raises:
        Refused: there are some, and `relabel` does not allow to replace them.
    """
    touched: np.ndarray = work.marks.touched(known)
    if touched.any() and not relabel:
        touched &= ~_sounding_alike(output, root, known, touched)
    old: np.ndarray = touched | work.marks.described_anew(known)
    if old.any() and not relabel:
        changed = files_of(output, old)
        raise Refused(
            f"{output}: {min(changed)} has changed since it was labelled ({len(changed)} files in all); --relabel"
        )
    return old


def _sounding_alike(output: Path, root: Path, known: Marks, touched: np.ndarray) -> np.ndarray:
    """Boolean [known]: rows of files whose touched rows all have the audio that was labelled."""
    others: set[int] = set()
    with Progress("comparing audio", int(touched.sum()), "segments") as bar:
        for number, row in enumerate(_keys(output)):
            if touched[number]:
                file = int(known.files[number])
                if file not in others and not _sounds_alike(root, *row):
                    others.add(file)
                bar.advance(audio_seconds=row[2] - row[1])
    alike = ~np.isin(known.files, np.array(sorted(others), np.uint64))
    held = int((touched & alike).sum())
    if held:
        say(f"{held} labelled segments lie in files of another date, with the same audio: they hold")
    return np.asarray(alike)


def _sounds_alike(root: Path, file: str, start: float, end: float, sha256: str) -> bool:
    try:
        return digest(read(root / file, Span(start, end))) == sha256
    except AudioError:
        return False


def _keys(output: Path) -> Iterator[tuple[str, float, float, str]]:
    names = (*table.KEY_COLUMNS, "sha256")
    for batch in scan(output, columns=names):
        yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def _say_what_is_gone(output: Path, work: Work, known: Marks) -> None:
    gone = work.marks.gone(known)
    if gone.any():
        files = files_of(output, gone)
        say(f"{int(gone.sum())} labelled segments are not in the source any more (of {min(files)} ...); they stay")
