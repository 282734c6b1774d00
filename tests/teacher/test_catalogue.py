"""The teachers by name, and what their cards say before they are loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.annotation import AXES
from distill.errors import DistillError
from distill.licences import kind
from teacher.catalogue import DEFAULT, TEACHERS, card_of, cards, open_teacher
from teacher.commands import label as label_command
from teacher.prosody import BUNDLED
from teacher.published.cards import FAMILIES


def test_every_card_is_whole() -> None:
    assert [card.name for card in cards()] == [*TEACHERS, *FAMILIES]
    for card in cards():
        assert card.axes == tuple(axis for axis in AXES if axis in card.axes) and set(card.derived) <= set(card.axes)
        assert card.range[0] < card.range[1] and 0 < card.shortest_seconds < card.longest_seconds
        assert card.revision and card.parameters > 0 and card.sampling_rate == 16_000
        assert json.loads(json.dumps(card.as_dict()))["axes"] == list(card.axes)


def test_every_published_card_says_what_it_is() -> None:
    for family in FAMILIES.values():
        card = family.card
        assert set(card.order) == set(AXES) and "/" in card.source and "made here" in card.proven_on
        assert kind(card.licence) != "unknown" and kind(card.data_licence) != "permissive" and not card.bundled
    orders = {name: "".join(axis[0] for axis in family.card.order).upper() for name, family in FAMILIES.items()}
    assert orders == {"odyssey": "ADV", "audeering": "ADV", "meralion": "VAD", "vox-profile": "AVD"}


def test_the_command_has_the_default_of_the_catalogue() -> None:
    (option,) = (option for option in label_command.params if option.name == "teacher")
    assert option.default == DEFAULT == "odyssey"


def test_the_bundled_one_is_free() -> None:
    card = open_teacher("prosody").card
    assert card.bundled and kind(card.licence) == kind(card.data_licence) == "permissive"
    assert card.derived == ("dominance",)  # nobody rated it


def test_an_unknown_teacher_is_refused_with_what_there_is() -> None:
    with pytest.raises(
        DistillError,
        match="nobody: no such teacher; there are prosody, odyssey, audeering, meralion, vox-profile, mean: of",
    ):
        open_teacher("nobody")


def test_a_name_that_nobody_has_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(DistillError, match="nobody: no such teacher"):
        card_of("nobody")


def test_a_folder_made_by_train_teacher_is_a_teacher(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "mine")
    mine, bundled = open_teacher(str(tmp_path / "mine")), open_teacher("prosody")
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
    assert [card["name"] for card in listed] == [*TEACHERS, *FAMILIES] and listed[0]["axes"] == list(AXES)
    shown = distill("teachers").stdout
    assert shown.startswith("prosody: bundled, ") and "answers valence, arousal, dominance, about 0 to 1" in shown
    for said in ("gain moves it", "gain-invariant", "weights CC-BY-NC-SA-4.0", "restricted", "checkpoints made here"):
        assert said in shown


def test_a_folder_is_named_and_licensed_by_what_lies_in_it(published: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(published["audeering"], tmp_path / "copy")
    unknown = open_teacher(str(tmp_path / "copy"), "cpu").card
    assert (unknown.name, unknown.licence, unknown.data_licence) == ("copy", "unknown", "unknown")
    (tmp_path / "copy" / "README.md").write_text("---\nlicense: mit\ntags: [speech]\n---\n# A model\n")
    said = card_of(str(tmp_path / "copy"))
    assert said is not None and said.licence == "mit" and kind(said.licence) == "permissive"
    assert (
        len(unknown.revision) == 12 and unknown.revision != open_teacher(str(published["odyssey"]), "cpu").card.revision
    )


@pytest.mark.parametrize(
    "text", ["", "# no front matter", "---\nlicense: [mit]\n---\n", "---\n{\n---\n", "---\nlicense: mit"]
)
def test_a_model_card_that_names_no_licence_leaves_it_unknown(
    published: Mapping[str, Path], tmp_path: Path, text: str
) -> None:
    shutil.copytree(published["audeering"], tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text(text)
    card = card_of(str(tmp_path / "copy"))
    assert card is not None and card.licence == "unknown"


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"no teacher; a folder of"):
        open_teacher(str(tmp_path))
