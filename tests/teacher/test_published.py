"""The loaders of published checkpoints against a reference that shares no code with them, and against damaged files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.audio import padded
from distill.errors import DistillError
from teacher.catalogue import open_teacher
from teacher.published.annotating import Published
from teacher.published.cards import FAMILIES
from tests.teacher import checkpoints, reference
from tests.teacher.checkpoints import clips

NAMES = (*checkpoints.KINDS, "vox-profile with lora")

#: Samples; five lengths, from 12 frames to 187. Beyond 80 frames WavLM's buckets are logarithmic.
LENGTHS = (4000, 16000, 23456, 37777, 60000)
TOLERANCE = 1e-4

FAULTS = [(name, fault) for name in NAMES for fault in reference.FAULTS[name.split()[0]]
          if fault != "lora left out" or "lora" in name]  # fmt: skip

Opened = Callable[[str], Published]
Damage = Callable[[dict[str, torch.Tensor]], object]


@pytest.fixture(scope="module")
def opened(published: Mapping[str, Path]) -> Opened:
    """opened(name): the checkpoint as an annotator on the CPU."""
    return cache(lambda name: open_teacher(str(published[name]), "cpu"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def expected(published: Mapping[str, Path]) -> Callable[..., np.ndarray]:
    """expected(name, samples, ...): the reference's answer to the clip of that length."""
    return cache(
        lambda name, samples, **fault: reference.answer(name.split()[0], published[name], clip(samples), **fault)
    )


def clip(samples: int) -> np.ndarray:
    """Clips of different lengths are different sounds, too."""
    return clips(samples, seed=1)[LENGTHS.index(samples)]


def alone(teacher: Published, signal: np.ndarray) -> np.ndarray:
    return teacher.annotate(signal[None], [len(signal)], 16000).adv[0]


@pytest.fixture
def together() -> Callable[..., np.ndarray]:
    """together(teacher, garbage=0.0): one padded batch of all lengths, whatever the device."""

    def answer(teacher: Published, garbage: float = 0.0) -> np.ndarray:
        batch = np.full((len(LENGTHS), max(LENGTHS) + 321), garbage, np.float32)
        for row, samples in zip(batch, LENGTHS, strict=True):
            row[:samples] = clip(samples)
        one_batch = Published(teacher.card, teacher.network, teacher.device, together=len(LENGTHS))
        return one_batch.annotate(batch, LENGTHS, 16000).adv

    return answer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", LENGTHS)
def test_agrees_with_the_reference_alone(opened: Opened, expected: Any, name: str, samples: int) -> None:
    assert np.abs(alone(opened(name), clip(samples)) - expected(name, samples)).max() < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [0.0, 1e4, float("nan")])
def test_agrees_with_the_reference_in_a_mixed_batch(
    opened: Opened, expected: Any, together: Any, name: str, garbage: float
) -> None:
    wanted = np.stack([expected(name, samples) for samples in LENGTHS])
    assert np.abs(together(opened(name), garbage) - wanted).max() < TOLERANCE
    assert np.ptp(wanted, axis=0).min() > 1e-2  # the clips are told apart


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_planted_fault_is_seen(opened: Opened, expected: Any, name: str, fault: str) -> None:
    """What the comparison above would say, had the loader this fault."""
    off = [
        np.abs(alone(opened(name), clip(samples)) - expected(name, samples, fault=fault, padded_to=64000)).max()
        for samples in LENGTHS
    ]
    assert max(off) > 20 * TOLERANCE


@pytest.mark.parametrize("kind", checkpoints.KINDS)
def test_a_bin_file_loads_as_the_same(published: Mapping[str, Path], opened: Opened, tmp_path: Path, kind: str) -> None:
    """Written apart, with the same random numbers."""
    folder = checkpoints.write(kind, tmp_path / kind, form="bin")
    signal = clip(16000)
    np.testing.assert_allclose(alone(open_teacher(str(folder), "cpu"), signal), alone(opened(kind), signal), atol=1e-5)  # type: ignore[arg-type]


def lose(tensors: dict[str, torch.Tensor]) -> str:
    name = sorted(tensors)[3]
    del tensors[name]
    return name


def add(tensors: dict[str, torch.Tensor]) -> str:
    tensors["encoder.layers.99.bias"] = torch.zeros(3)
    return "encoder.layers.99.bias"


def bend(tensors: dict[str, torch.Tensor]) -> str:
    name = next(name for name in sorted(tensors) if tensors[name].ndim == 2)
    tensors[name] = tensors[name][:, 1:].contiguous()
    return name


def spoil(tensors: dict[str, torch.Tensor]) -> str:
    name = sorted(tensors)[-1]
    tensors[name][0] = float("nan")
    return name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("damage", "word"), [(lose, "missing"), (add, "does not belong"), (bend, "shape"), (spoil, "NaN")],
    ids=["one missing", "one surplus", "one misshaped", "one not finite"],
)  # fmt: skip
def test_a_damaged_tensor_fails_by_name(
    published: Mapping[str, Path], tmp_path: Path, name: str, damage: Damage, word: str
) -> None:
    shutil.copytree(published[name], tmp_path / "copy")
    tensors = load_file(tmp_path / "copy" / "model.safetensors")
    damaged = str(damage(tensors)).replace("weight_g", "").replace("weight_v", "")
    save_file(tensors, tmp_path / "copy" / "model.safetensors")
    with pytest.raises(DistillError, match=word) as caught:
        open_teacher(str(tmp_path / "copy"), "cpu")
    assert damaged in str(caught.value) and "\n" not in str(caught.value)


def test_a_low_rank_update_without_its_other_half_fails_by_name(published: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(published["vox-profile with lora"], tmp_path / "copy")
    tensors = load_file(tmp_path / "copy" / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("lora_B"))
    del tensors[lost]
    save_file(tensors, tmp_path / "copy" / "model.safetensors")
    with pytest.raises(DistillError, match=lost.removesuffix("lora_B")):
        open_teacher(str(tmp_path / "copy"), "cpu")


def test_weights_in_several_files_are_one_checkpoint(
    published: Mapping[str, Path], opened: Opened, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published["audeering"], folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = {f"model-0000{part}-of-00002.safetensors": sorted(tensors)[part - 1 :: 2] for part in (1, 2)}
    for file, names in parts.items():
        save_file({name: tensors[name] for name in names}, folder / file)
    index = {"weight_map": {name: file for file, names in parts.items() for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    signal = clip(16000)
    np.testing.assert_array_equal(alone(open_teacher(str(folder), "cpu"), signal), alone(opened("audeering"), signal))  # type: ignore[arg-type]
    (folder / next(iter(parts))).unlink()
    with pytest.raises(DistillError, match=r"model-00001-of-00002\.safetensors, which is not there"):
        open_teacher(str(folder), "cpu")


@pytest.mark.parametrize("index", ["[]", '{"weight_map": [1]}', "{}", '{"weight_map": {"a": "../x.safetensors"}}'])
def test_an_index_that_names_nothing_is_one_line(published: Mapping[str, Path], tmp_path: Path, index: str) -> None:
    shutil.copytree(published["audeering"], tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    (tmp_path / "copy" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(DistillError, match="names no files beside it"):
        open_teacher(str(tmp_path / "copy"), "cpu")


def test_a_file_that_would_run_code_is_not_loaded(published: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(published["audeering"], tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    torch.save({"wav2vec2": torch.nn.Linear(2, 2)}, tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(DistillError, match="holds more than tensors"):
        open_teacher(str(tmp_path / "copy"), "cpu")


@pytest.mark.parametrize("garbage", ["", "{", "[]", '{"model_type": "bert"}'])
def test_a_configuration_that_says_nothing_is_one_line(
    published: Mapping[str, Path], tmp_path: Path, garbage: str
) -> None:
    shutil.copytree(published["audeering"], tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text(garbage)
    with pytest.raises(DistillError, match=r"config.json") as caught:
        open_teacher(str(tmp_path / "copy"), "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"feat_extract_norm": "group"}, "padding"), ({"num_attention_heads": 7}, "config.json"),
     ({"hidden_size": "wide"}, "config.json")],
)  # fmt: skip
def test_a_configuration_that_fits_no_network_is_one_line(
    published: Mapping[str, Path], tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    shutil.copytree(published["odyssey"], tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DistillError, match=word) as caught:
        open_teacher(str(tmp_path / "copy"), "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_published_sizes_are_those_of_the_card(name: str) -> None:
    with torch.device("meta"):
        network = import_module(FAMILIES[name].module).Network.build({})
    assert sum(parameter.numel() for parameter in network.parameters()) == FAMILIES[name].card.parameters


def test_published_counts() -> None:
    counted = {name: FAMILIES[name].card.parameters for name in ("odyssey", "audeering")}
    assert counted == checkpoints.PARAMETERS


@pytest.mark.parametrize("name", NAMES)
def test_gain_moves_what_the_card_says_it_moves(opened: Opened, name: str) -> None:
    signal = clip(16000)
    moved = np.abs(alone(opened(name), 0.25 * signal) - alone(opened(name), signal)).max()
    assert (moved < 1e-3) == opened(name).card.gain_invariant


@pytest.mark.parametrize("name", NAMES)
def test_says_its_embedding_and_refuses_other_rates(opened: Opened, name: str) -> None:
    signals = [clip(16000), clip(23456)]
    given = opened(name).annotate(padded(signals), [16000, 23456], 16000)
    assert given.adv.shape == (2, 3) and given.embedding.shape[0] == 2 and given.embedding.shape[1] >= 64
    with pytest.raises(ValueError, match="8000"):
        opened(name).annotate(padded(signals), [16000, 23456], 8000)


def test_the_order_of_a_batch_is_kept(opened: Opened) -> None:
    """Inside, clips of like length are brought together."""
    samples = [37777, 4000, 60000, 16000]
    teacher = opened("audeering")
    one_batch = Published(teacher.card, teacher.network, teacher.device, together=2)
    given = one_batch.annotate(padded([clip(n) for n in samples]), samples, 16000)
    for row, n in zip(given.adv, samples, strict=True):
        np.testing.assert_allclose(row, alone(teacher, clip(n)), atol=TOLERANCE)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["odyssey", "audeering"])
def test_full_size_checkpoints_label_real_clips(
    shared: Path, tmp_path: Path, distill: Callable[..., Any], kind: str
) -> None:
    """Random weights of the published size, in the published format, through the command."""
    folder = checkpoints.write(kind, tmp_path / kind, full=True, form="bin" if kind == "audeering" else "safetensors")
    manifest = tmp_path / "some.csv"
    names = sorted(path.name for path in (shared / "emodb" / "two-seconds").iterdir())[:6]
    manifest.write_text("file\n" + "\n".join(names) + "\n")
    done = distill(
        "label", manifest, "--audio", shared / "emodb" / "two-seconds", "-o", tmp_path / "labels", "--teacher", folder,
        "--embeddings", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labelled"] == 6
    info = json.loads((tmp_path / "labels" / "labels.json").read_text())
    assert info["teacher"]["parameters"] == checkpoints.PARAMETERS[kind]
