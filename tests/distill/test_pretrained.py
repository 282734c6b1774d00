"""Students that come with the package: found by name, each whole, and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.files import sha256_of
from distill.golden import check
from distill.licences import kind
from distill.prediction import predict
from distill.pretrained import DEFAULT, path_of, shipped
from distill.student import Student


def test_the_default_is_there_in_float() -> None:
    assert Student(DEFAULT).card.precision == "float32" and {DEFAULT, f"{DEFAULT}-int8"} <= set(shipped())


@pytest.mark.parametrize("name", shipped())
def test_each_is_free_and_the_one_that_its_card_describes(name: str) -> None:
    path = shipped()[name]
    card, described = Student(name).card, json.loads(path.with_suffix(".json").read_text())
    assert described["sha256"] == sha256_of(path) and described["bytes"] == path.stat().st_size
    assert kind(card.licence) == kind(card.data_licence) == "permissive"
    assert card.derived == ("dominance",) and all(rung["passed"] for rung in described["ladder"])
    assert path.with_suffix(".md").read_text().count("What it must not be used for") == 1


@pytest.mark.parametrize("name", shipped())
def test_each_still_gives_the_answers_of_its_golden_vectors(name: str) -> None:
    result = check(name)
    assert result["passed"] and result["same_file"] and result["n"] == 20


def test_a_file_is_taken_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_of(DEFAULT) == shipped()[DEFAULT]
    Path(DEFAULT).mkdir()  # a folder is no student
    assert path_of(DEFAULT) == shipped()[DEFAULT]
    Path("mine").touch()
    assert path_of("mine") == Path("mine") and path_of("nowhere.onnx") == Path("nowhere.onnx")


def test_a_name_that_nobody_has_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        DistillError, match=r"wav3small: no such student; .*one that comes: .*wav2small, wav2small-int8"
    ):
        next(predict(tmp_path / "a.wav", student="wav3small"))
