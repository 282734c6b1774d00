"""Find the file that a name in a table means: by its relative path, else by its base name if only one has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from distill.audio import SUFFIXES
from distill.errors import AudioError


class AmbiguousName(AudioError):
    """A name that several files have."""


class Names:
    """Known files (POSIX paths relative to one root), to be found by the names that tables use.

    >>> names = Names(["a/one.wav", "b/two.flac", "c/two.flac"])
    >>> names.find("a/one.wav"), names.find("one.wav"), names.find("one")
    ('a/one.wav', 'a/one.wav', 'a/one.wav')
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = set(known)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self._known):
            for base in {PurePosixPath(path).name, _stem(path)}:
                self._by_base[base].append(path)

    def find(self, name: str) -> str:
        """The one known file that `name` means.

        Raises:
            AmbiguousName: several have that name. AudioError: none has it.
        """
        if name in self._known:
            return name
        found = self._by_base.get(PurePosixPath(name).name) or self._by_base.get(_stem(name)) or []
        if len(found) > 1:
            raise AmbiguousName(f"ambiguous name: it may be {found[0]} or {found[1]}; give the path below the root")
        if not found:
            raise AudioError("no such file")
        return found[0]


def _stem(path: str) -> str:
    """The base name without an ending of audio ("take.1" keeps its dot)."""
    name = PurePosixPath(path)
    return name.stem if name.suffix.lower() in SUFFIXES else name.name
