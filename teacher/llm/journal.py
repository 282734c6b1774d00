"""Lines of JSON that are only ever added, by several threads and processes; a line that a crash tore is no line."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Journal:
    """A file of JSON objects, a line each.

    take: is handed every object once, in the file's order, whoever wrote it: what is kept in memory is what the file
    says.
    """

    def __init__(self, path: Path, take: Callable[[dict[str, Any]], None]) -> None:
        self.path, self._take = path, take
        self._read = 0  # bytes that were handed over
        self._lock = threading.Lock()
        self.catch_up()

    def catch_up(self) -> None:
        """Hand over what was added since, also by others."""
        with self._lock:
            self._catch_up()

    def add(self, entry: dict[str, Any]) -> None:
        """Write one line, and hand over everything up to it.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write((b"\n" if _is_torn(file) else b"") + line)
            self._catch_up()

    def _catch_up(self) -> None:
        if not self.path.exists() or self.path.stat().st_size <= self._read:
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]  # the last line may still be under way
        self._read += len(whole)
        for entry in _entries(whole):
            self._take(entry)


def _is_torn(file: Any) -> bool:
    """Whether the last line has no end: whoever wrote it died."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")


def _entries(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.split(b"\n"):
        try:
            entry = json.loads(line) if line.strip() else None
        except ValueError:  # torn
            continue
        if isinstance(entry, dict):
            yield entry
