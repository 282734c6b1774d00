"""Rows on their way to disk: whatever was answered is safe within seconds, in parts that stay few."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from distill import table
from distill.parts import MERGED, merge_parts, part_files

#: A row waits at most so long for others to be written with (seconds).
PATIENCE = 1.0

#: Rows that are written at once, at most.
ROWS = 20_000

#: So many parts of like size are merged into one: a week of a part a second ends as a few dozen files.
MERGED_TOGETHER = 64


class Writer:
    """Appends rows to a table. Used as a context: on the way out everything is on disk, however it is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: list[table.Row] = []
        self._name = ""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._flush_now_and_then, daemon=True)
        self._tiers = _tiers(folder)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        if self._failed is None:
            self._flush()
            self._tidy()
        elif kind is None:
            raise self._failed

    def add(self, rows: Sequence[table.Row]) -> None:
        """Take rows in; they are on disk after `PATIENCE` at the latest.

        Raises:
            OSError: earlier ones could not be written.
        """
        if self._failed is not None:
            raise self._failed
        with self._lock:
            self._waiting += rows
            full = len(self._waiting) >= ROWS
        if full:
            self._flush()

    def _flush_now_and_then(self) -> None:
        while not self._closed.wait(PATIENCE):
            try:
                self._flush()
            except Exception as error:  # told to whoever adds or leaves
                self._failed = error
                return

    def _flush(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            # The name stays until the rows are gone from here: interrupted in between, they replace themselves.
            name = self._name = self._name or secrets.token_hex(8)
            table.write_part(self.folder, name, self._waiting)
            self._waiting, self._name = [], ""
            self._merge(self.folder / f"part-{name}.parquet")

    def _merge(self, part: Path) -> None:
        """Parts of a tier become one of the next when there are enough of them."""
        tier = 0
        while True:
            self._tiers.setdefault(tier, []).append(part)
            if len(self._tiers[tier]) < MERGED_TOGETHER:
                return
            part = merge_parts(self.folder, self._tiers.pop(tier))
            tier += 1

    def _tidy(self) -> None:
        """What is left in small parts, in one."""
        small = self._tiers.pop(0, [])
        if len(small) > 1:
            merge_parts(self.folder, small)


def _tiers(folder: Path) -> dict[int, list[Path]]:
    """The parts that are there, those that were merged before apart from the others."""
    tiers: dict[int, list[Path]] = {}
    for part in part_files(folder):
        tiers.setdefault(int(part.name.startswith(MERGED)), []).append(part)
    return tiers
