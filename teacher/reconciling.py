"""A table against its source: what is still to be done, and what no longer holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.errors import Refused
from distill.parts import drop_files, settle
from distill.progress import say
from teacher.marks import Marks, files_of, known_of
from teacher.work import Work


def reconcile(output: Path, work: Work, info: Mapping[str, Any], *, relabel: bool) -> None:
    """Leave out of the work what the table holds, and out of the table what no longer holds; `info` is written.

    Raises:
        Refused: a file has changed, and `relabel` does not allow to replace its rows.
    """
    settle(output)
    known = known_of(output)
    old = _no_longer_so(output, work, known, relabel=relabel)
    _say_what_is_gone(output, work, known)
    table.write_info(output, info)  # from here on the table is unfinished, whatever happens
    if old.any():
        drop_files(output, files_of(output, old))
        known = known_of(output)
    work.leave_out(known)


def leave_out_what_is_done(output: Path, work: Work, *, relabel: bool) -> None:
    """The same for the work alone: the table stays as it is, if there is one.

    Raises:
        Refused: as `reconcile`.
    """
    if not table.is_table(output):
        return
    known = known_of(output)
    old = _no_longer_so(output, work, known, relabel=relabel)
    work.leave_out(known[~np.isin(known.files, known.files[old])])  # the rows of a file are replaced together


def _no_longer_so(output: Path, work: Work, known: Marks, *, relabel: bool) -> np.ndarray:
    """Boolean [known]: the rows of a table that no longer hold.

    Raises:
        Refused: there are some, and `relabel` does not allow to replace them.
    """
    old = work.marks.outdated(known)
    if old.any() and not relabel:
        changed = files_of(output, old)
        raise Refused(
            f"{output}: {min(changed)} has changed since it was labelled ({len(changed)} files in all); --relabel"
        )
    return old


def _say_what_is_gone(output: Path, work: Work, known: Marks) -> None:
    gone = work.marks.gone(known)
    if gone.any():
        files = files_of(output, gone)
        say(f"{int(gone.sum())} labelled segments are not in the source any more (of {min(files)} ...); they stay")
