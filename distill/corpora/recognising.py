"""Which corpus a path is of: told by what lies there, never by its name alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.corpora import audformat, crema_d, iemocap, msp_improv, msp_podcast

Row = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """A corpus that was recognised. name: of it; root: what `file` is looked for below; rows: reads it anew.

    rows() raises DistillError where the files are damaged, or lack what they should say.
    """

    name: str
    root: Path
    rows: Callable[[], Iterator[Row]]


#: By name: finds a corpus's label file (or folder) in a path that is given, or None; and reads it.
_READERS: dict[str, tuple[Callable[[Path], Path | None], Callable[[Path], Iterator[Row]]]] = {
    "MSP-Podcast": (msp_podcast.find, msp_podcast.rows),
    "MSP-IMPROV": (msp_improv.find, msp_improv.rows),
    "IEMOCAP": (iemocap.find, iemocap.rows),
    "CREMA-D": (crema_d.find, crema_d.rows),
    "audformat": (audformat.find, audformat.rows),
}


def recognised(path: Path) -> Corpus | None:
    """The corpus whose label file or folder `path` is.

    >>> recognised(Path("nowhere")) is None
    True
    """
    for name, (find, rows) in _READERS.items():
        found = find(path)
        if found is not None:
            root = path if path.is_dir() else path.parent
            return Corpus(name, root, lambda read=rows, where=found: read(where))  # type: ignore[misc]
    return None
