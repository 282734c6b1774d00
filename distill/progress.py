"""Long work shows itself: a live bar on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from distill.launched import launched

#: Seconds between plain lines where there is no terminal, and between redraws of the bar where there is one.
EVERY, REDRAWN = 10.0, 0.1


def say(text: str) -> None:
    """One line for the person who watches (standard error; standard output belongs to the result). Of several
    processes the first speaks."""
    if launched().first:
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person reads them.

    >>> duration(8), duration(83), duration(7384)
    ('8 s', '1 min 23 s', '2 h 03 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Counts items (and, where given, seconds of audio) and says the rate, the time to go, and how many failed.

    >>> with Progress("labelling", total=2, unit="segments") as progress:
    ...     progress.advance(2, audio_seconds=10.0)
    >>> progress.done, progress.failed
    (2, 0)
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = self.failed = self._before = 0
        self.audio_seconds = 0.0
        self._started = self._said = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        self._started = self._said = time.monotonic()
        if sys.stderr.isatty() and launched().first:
            self._bar = _live_bar(self.title, self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._said = 0.0
            self._show()
            self._bar[0].stop()
        elif kind is None and self.done and self._said > self._started:
            say(f"{self.title}: {self.status()}")

    def resume(self, items: int) -> None:
        """Count `items` that were done in an earlier run: they say nothing of how fast this one is.

        >>> with Progress("training", total=4, unit="steps") as progress:
        ...     progress.resume(3)
        >>> progress.done, progress.status().split(", ")[1]
        (3, '0.0/s')
        """
        self.done += items
        self._before += items

    def advance(self, items: int = 1, *, audio_seconds: float = 0.0, failed: int = 0) -> None:
        """Count `items` more as treated, `failed` of them in vain."""
        self.done += items
        self.failed += failed
        self.audio_seconds += audio_seconds
        self._show()

    def status(self) -> str:
        """Items, rates, time to go, failures, in one line."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        now = self.done - self._before
        parts = [f"{self.done}/{self.total} {self.unit}", f"{now / elapsed:.1f}/s"]
        if self.audio_seconds:
            parts.append(f"{self.audio_seconds / 3600 / elapsed:.3f} audio-hours/s")
        if now and self.done < self.total:
            parts.append(f"{duration(elapsed / now * (self.total - self.done))} to go")
        return ", ".join([*parts, f"{self.failed} failed"])

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._said < (REDRAWN if self._bar else EVERY):
            return
        self._said = now
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, total=self.total, completed=self.done, status=self.status(), refresh=True)
        else:
            say(f"{self.title}: {self.status()}")


def _live_bar(title: str, total: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        console=Console(stderr=True),
        auto_refresh=False,  # a thread that redraws would disturb what a benchmark times
    )
    bar.start()
    return bar, bar.add_task(title, total=total, status="")
