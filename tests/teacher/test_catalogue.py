"""The teachers by name, and what their cards say before they are loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.annotation import AXES
from distill.errors import DistillError
from distill.licences import kind
from teacher.catalogue import DEFAULT, TEACHERS, cards, open_teacher
from teacher.prosody import BUNDLED


def test_every_card_is_whole() -> None:
    assert [card.name for card in cards()] == list(TEACHERS)
    for card in cards():
        assert card.axes == tuple(axis for axis in AXES if axis in card.axes) and set(card.derived) <= set(card.axes)
        assert card.range[0] < card.range[1] and 0 < card.shortest_seconds < card.longest_seconds
        assert card.revision and card.parameters > 0 and card.sampling_rate == 16_000
        assert json.loads(json.dumps(card.as_dict()))["axes"] == list(card.axes)


def test_the_default_is_bundled_and_free() -> None:
    card = open_teacher(DEFAULT).card
    assert card.bundled and kind(card.licence) == kind(card.data_licence) == "permissive"
    assert card.derived == ("dominance",)  # nobody rated it


def test_an_unknown_teacher_is_refused_with_what_there_is() -> None:
    with pytest.raises(DistillError, match="nobody: no such teacher; there are prosody, or a folder"):
        open_teacher("nobody")


def test_a_folder_made_by_train_teacher_is_a_teacher(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "mine")
    mine, bundled = open_teacher(str(tmp_path / "mine")), open_teacher(DEFAULT)
    signals = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype(np.float32)
    np.testing.assert_array_equal(
        mine.annotate(signals, [16000], 16000).adv, bundled.annotate(signals, [16000], 16000).adv
    )


def swap_weights(folder: Path) -> None:
    with np.load(folder / "prosody.npz") as stored:
        arrays = {name: stored[name] + 1 for name in stored.files if stored[name].dtype.kind == "f"}
    np.savez(folder / "prosody.npz", **arrays)


def cut_card(folder: Path) -> None:
    (folder / "prosody.json").write_text("{}")


def break_card(folder: Path) -> None:
    (folder / "prosody.json").write_text("{")


def break_weights(folder: Path) -> None:
    (folder / "prosody.npz").write_bytes((folder / "prosody.npz").read_bytes()[:100])


def lose_weights(folder: Path) -> None:
    (folder / "prosody.npz").unlink()


@pytest.mark.parametrize("damage", [swap_weights, cut_card, break_card, break_weights, lose_weights])
def test_a_damaged_folder_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    shutil.copytree(BUNDLED, tmp_path / "mine")
    damage(tmp_path / "mine")
    with pytest.raises(DistillError, match="mine"):
        open_teacher(str(tmp_path / "mine"))


def test_the_command_lists_them(distill: Callable[..., Any]) -> None:
    listed = json.loads(distill("teachers", "--json").stdout)
    assert [card["name"] for card in listed] == list(TEACHERS) and listed[0]["axes"] == list(AXES)
    shown = distill("teachers").stdout
    assert shown.startswith("prosody: arousal, dominance, valence (dominance derived), ")
