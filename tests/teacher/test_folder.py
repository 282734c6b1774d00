"""The folder of a published checkpoint: which weights are read, whose they are, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError
from teacher.published.cards import FAMILIES
from teacher.published.folder import (
    INDEX,
    WEIGHTS,
    files_of,
    is_whole,
    licence_of,
    read_config,
    revision_of,
    weights_of,
)

PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def put(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name).write_bytes(data)
    return folder


def indexed(folder: Path) -> Path:
    """Weights in two files and their index."""
    placed = {"a": PARTS[1], "b": PARTS[0], "c": PARTS[1]}
    return put(folder, **{INDEX: {"weight_map": placed}, PARTS[0]: b"one", PARTS[1]: b"two", "config.json": {}})


@pytest.mark.parametrize("there", [WEIGHTS, WEIGHTS[1:], WEIGHTS[2:]])
def test_the_better_form_of_the_weights_is_read(tmp_path: Path, there: tuple[str, ...]) -> None:
    put(tmp_path, **dict.fromkeys(there, b"x"))
    assert weights_of(tmp_path).name == there[0]


def test_no_weights_are_one_line_with_what_they_may_be_called(tmp_path: Path) -> None:
    put(tmp_path, **{"config.json": {}, "tf_model.h5": b"x"})
    with pytest.raises(DistillError, match=r"no weights there \(model\.safetensors or .* or pytorch_model\.bin\)"):
        weights_of(tmp_path)
    assert not is_whole(tmp_path)


def test_the_parts_of_an_index_come_once_and_in_order(tmp_path: Path) -> None:
    folder = indexed(tmp_path)
    assert [path.name for path in files_of(folder / INDEX)] == list(PARTS) and is_whole(folder)
    (folder / PARTS[1]).unlink()
    assert not is_whole(folder)


def test_weights_without_a_configuration_are_no_checkpoint(tmp_path: Path) -> None:
    put(tmp_path, **{"model.safetensors": b"x"})
    assert not is_whole(tmp_path)
    with pytest.raises(DistillError, match=r"no checkpoint there \(no config\.json\)"):
        read_config(tmp_path)


def test_a_revision_is_of_all_the_weights_and_of_nothing_else(tmp_path: Path) -> None:
    folder = indexed(tmp_path)
    first = revision_of(folder)
    put(folder, **{"config.json": {"changed": 1}, "README.md": b"changed"})
    assert revision_of(folder) == first and len(first) == 12
    put(folder, **{PARTS[1]: b"2"})
    assert revision_of(folder) != first
    put(folder, **{"model.safetensors": b"x"})
    assert revision_of(folder) == hashlib.sha256(b"x").hexdigest()[:12], "of one file its own digest"


@pytest.mark.parametrize(
    ("text", "licence"),
    [("---\nlicense: cc-by-nc-sa-4.0\n---\nText", "cc-by-nc-sa-4.0"), ("---\r\nlicense: mit\r\n---\r\n", "mit"),
     ("---\nlicense: '  '\n---\n", "unknown"), ("---\nlicense: 2\n---\n", "unknown"), ("---\n- mit\n---\n", "unknown"),
     ("---\ntags: [x]\n---\nlicense: mit\n", "unknown"), ("Text\n---\nlicense: mit\n---\n", "unknown"),
     ("---\nlicense: mit\n---\nmore\n---\nlicense: apache-2.0\n---", "mit")],
)  # fmt: skip
def test_a_licence_is_what_the_front_matter_names(tmp_path: Path, text: str, licence: str) -> None:
    (tmp_path / "README.md").write_bytes(text.encode())
    assert licence_of(tmp_path) == licence


def test_a_model_card_in_another_encoding_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"---\nauthor: M\xfcller\nlicense: mit\n---\n")
    assert licence_of(tmp_path) == "mit" and licence_of(tmp_path / "nowhere") == "unknown"


@pytest.mark.parametrize(
    ("config", "name"),
    [({"model_type": "ser", "ssl_type": "microsoft/wavlm-large"}, "odyssey"), ({"model_type": "wav2vec2"}, "audeering"),
     ({"architectures": ["Other", "SERWhisperECAPAForAudioClassification"]}, "meralion"),
     ({"pretrain_model": "wavlm_large", "finetune_method": "lora"}, "vox-profile"), ({"model_type": "ser"}, None),
     ({"architectures": None}, None), ({"pretrain_model": "wavlm_large"}, None), ({}, None)],
)  # fmt: skip
def test_an_architecture_is_recognised_by_one_family_alone(config: dict[str, Any], name: str | None) -> None:
    assert [one for one, family in FAMILIES.items() if family.recognises(config)] == ([name] if name else [])
