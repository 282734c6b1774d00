"""A name in a table finds its file by path, else by base name where only one has it."""

import pytest

from distill.errors import AudioError
from distill.sources.naming import AmbiguousName, Names

NAMES = Names(["a/one.wav", "a/two.wav", "b/two.flac", "b/take.1", "c/take.1.wav", "three.wav", "d/three.wav"])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/one.wav", "a/one.wav"),
        ("one.wav", "a/one.wav"),
        ("one", "a/one.wav"),
        ("/elsewhere/one.wav", "a/one.wav"),
        ("one.mp3", "a/one.wav"),
        ("two.flac", "b/two.flac"),  # the ending tells them apart
        ("three.wav", "three.wav"),  # a path below the root comes before a base name
    ],
)
def test_a_name_finds_its_file(name: str, found: str) -> None:
    assert NAMES.find(name) == found


@pytest.mark.parametrize("name", ["two", "x/three.wav", "z/take.1"])
def test_what_several_files_are_called_is_refused(name: str) -> None:
    with pytest.raises(AmbiguousName, match="give the path below the root"):
        NAMES.find(name)


@pytest.mark.parametrize("name", ["four.wav", "", "a", "One.wav"])
def test_what_no_file_is_called_is_refused(name: str) -> None:
    with pytest.raises(AudioError, match="no such file"):
        NAMES.find(name)
