"""Published weights under the names of the model card's code; the true ones were not at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from distill.cli import main
from distill.errors import DistillError
from distill.licences import kind
from distill.student import Student
from students.catalogue import build
from students.published import is_published, load_published

#: A layer of the published trunk, and ours.
LAYERS = {"l1": "fine.0", "l2": "fine.1", "l3": "fine.2",
          "l4": "coarse.0", "l5": "coarse.1", "l6": "coarse.2", "l7": "coarse.3"}  # fmt: skip
NORM = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked")


def as_published(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {
        f"vgg7.{theirs}.{part}": f"{ours}.{part}" for theirs, ours in LAYERS.items() for part in ("conv.weight", *NORM)
    }
    names |= {
        f"vgg7.{layer}.{part}": f"attention.{layer}.{part}" for layer in ("lin", "sof") for part in ("weight", "bias")
    }
    names |= {"adv.weight": "head.weight", "adv.bias": "head.bias"}
    names |= {
        "vgg7.spectrogram_extractor.conv_real.weight": "frontend.real",
        "vgg7.spectrogram_extractor.conv_imag.weight": "frontend.imaginary",
        "vgg7.logmel_extractor.melW": "frontend.mel",
    }
    return {**{theirs: weights[ours] for theirs, ours in names.items()},
            "vgg7.logmel_extractor.amin": torch.tensor([1e-10])}  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> torch.nn.Module:
    torch.manual_seed(4)
    model = build("wav2small-17k")
    with torch.no_grad():
        model.train()(torch.randn(4, 8000))
    return model.eval()


@pytest.fixture
def folder(drawn, tmp_path) -> Path:
    save_file(as_published(drawn.state_dict()), tmp_path / "model.safetensors")
    return tmp_path


def change(folder: Path, drawn: torch.nn.Module, name: str, tensor: torch.Tensor | None) -> None:
    tensors = {**as_published(drawn.state_dict()), name: tensor}
    save_file({key: value for key, value in tensors.items() if value is not None}, folder / "model.safetensors")


@pytest.mark.parametrize("kind_of_file", ["model.safetensors", "pytorch_model.bin"])
def test_published_weights_answer_as_they_did(drawn, folder, kind_of_file):
    if kind_of_file == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
        torch.save(as_published(drawn.state_dict()), folder / kind_of_file)
    model, config = load_published(folder)
    pcm = torch.randn(2, 16000)
    with torch.inference_mode():
        assert torch.equal(model(pcm), drawn(pcm))
    assert config["axes"] == ["arousal", "dominance", "valence"] and config["derived"] == []
    assert (kind(config["licence"]), kind(config["data_licence"])) == ("non-commercial", "restricted")


@pytest.mark.parametrize(
    "name, tensor, line",
    [
        ("vgg7.l4.norm.running_var", None, r"the tensor vgg7\.l4\.norm\.running_var is missing \(1 in all\)"),
        ("adv.scale", torch.ones(1), r"the tensor adv\.scale does not belong to this network"),
        ("adv.weight", torch.zeros(3, 169), r"the tensor adv\.weight has shape \[3, 169\], expected \[3, 338\]"),
        ("vgg7.lin.bias", torch.full((13,), torch.nan), r"the tensor vgg7\.lin\.bias holds NaN"),
        ("vgg7.logmel_extractor.amin", torch.ones(1), r"the tensor vgg7\.logmel_extractor\.amin is 1, expected 1e-10"),
    ],
)
def test_a_tensor_that_is_wrong_is_named(drawn, folder, name, tensor, line):
    change(folder, drawn, name, tensor)
    with pytest.raises(DistillError, match=line) as caught:
        load_published(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04broken"])
def test_a_broken_file_is_one_line(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(DistillError, match=r"pytorch_model\.bin: cannot be read") as caught:
        load_published(folder)
    assert "\n" not in str(caught.value)


def test_a_run_is_not_taken_for_published_weights(folder, tmp_path):
    assert is_published(folder) and not is_published(tmp_path / "nowhere")
    (folder / "config.yaml").write_text("arch: wav2small\n")
    assert not is_published(folder)
    with pytest.raises(DistillError, match="no published weights there"):
        load_published(tmp_path / "nowhere")


def test_the_command_exports_them(drawn, folder, tmp_path, capsys):
    path = tmp_path / "out" / "w.onnx"
    main(["export", str(folder), "-o", str(path)])
    told = capsys.readouterr()
    assert "bring no clips" in told.err and "of no recordings" in told.out
    student, pcm = Student(path), np.random.default_rng(0).standard_normal((2, 9000)).astype(np.float32)
    with torch.inference_mode():
        assert np.abs(student(pcm) - drawn(torch.from_numpy(pcm)).numpy()).max() < 1e-4
    assert (student.card.name, student.card.parameters) == ("wav2small-17k", 15_888)
    assert json.loads(path.with_suffix(".json").read_text())["calibrated_on"] == []


def test_they_cannot_be_quantised(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["export", str(folder), "--int8", "-o", str(tmp_path / "w.onnx")])
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "no clips to calibrate with" in told
    assert not (tmp_path / "w.onnx").exists()
