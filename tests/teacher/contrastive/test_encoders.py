"""The parts: the loss by a reference, what padding does (nothing), what has a gradient, the folder opened strictly."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from distill.errors import DistillError
from teacher.contrastive.backbone import ViewsBackbone
from teacher.contrastive.contrast import PROJECTED, PairwiseContrast, Retrieval, ViewNetwork
from teacher.contrastive.encoders import LogMel, Standardised
from teacher.contrastive.functionals import KINDS, described, dimensions_of
from teacher.prosody.features import functionals
from teacher.tuning.backbone import find_backbone, open_backbone
from teacher.tuning.design import design_of
from teacher.tuning.methods import learning
from teacher.tuning.network import TunedNetwork


def opened(folder: Path) -> Any:
    return open_backbone(find_backbone(str(folder)))


def clips(padding: float = 0.0) -> tuple[Tensor, Tensor]:
    """Three of 0.31 to 0.5 s."""
    lengths = torch.tensor([8_000, 5_000, 6_403])
    signals = torch.randn(3, 8_000, generator=torch.Generator().manual_seed(1))
    for signal, length in zip(signals, lengths, strict=True):
        signal[length:] = padding
    return signals, lengths


# --- the loss --------------------------------------------------------------------------------------------------------


def reference(projected: Tensor, views: int, temperature: float) -> Tensor:
    """Row by row: the softmax of cosines, whose right answer is the same clip."""
    sides, losses = projected.chunk(views, dim=1), []
    for a, b in combinations(range(views), 2):
        for one, other in ((sides[a], sides[b]), (sides[b], sides[a])):
            for place, vector in enumerate(one):
                cosines = F.cosine_similarity(vector[None], other) / temperature
                losses.append(F.cross_entropy(cosines[None], torch.tensor([place])))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_loss_and_its_gradients_are_those_of_the_reference(views: int, temperature: float) -> None:
    projected = torch.randn(9, views * PROJECTED, generator=torch.Generator().manual_seed(views))
    found = []
    for loss in (PairwiseContrast(views, temperature), lambda x: reference(x, views, temperature)):
        x = projected.clone().requires_grad_()
        value = loss(x)
        value.backward()
        found.append((value.detach(), x.grad))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def test_it_is_lowest_where_views_of_a_clip_agree() -> None:
    side = torch.randn(8, PROJECTED, generator=torch.Generator().manual_seed(0))
    alike, mixed = torch.cat([side, side], 1), torch.cat([side, side.roll(1, 0)], 1)
    loss = PairwiseContrast(2, 0.1)
    assert float(loss(alike)) < 0.1 < 3 < float(loss(mixed))


def test_retrieval_counts_who_is_found_again() -> None:
    one = np.eye(4, dtype=np.float32)
    other = np.eye(4, dtype=np.float32)
    other[0] = [0.1, 1, 0, 0]  # is taken for the second, which is still found by its own
    found = Retrieval(("a", "b"))(np.concatenate([one, other], 1), np.zeros((4, 3)))["retrieval"]
    assert found == {"a to b": 1.0, "b to a": 0.75}


# --- views -----------------------------------------------------------------------------------------------------------


def test_the_spectrum_is_that_of_each_frame() -> None:
    """A frame by numpy, from the samples that are the clip's."""
    signals, lengths = clips(padding=torch.nan)
    module = LogMel(20)
    bands, mask = module(signals, lengths)
    assert mask.sum(1).tolist() == [(length - 512) // 160 + 1 for length in lengths.tolist()]
    clip = signals[1, :5_000].double().numpy()
    clip = (clip - clip.mean()) / clip.std()
    frame = clip[160 * 7 : 160 * 7 + 512] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))
    power = module.filters.double().numpy() @ np.abs(np.fft.rfft(frame)) ** 2
    np.testing.assert_allclose(bands[1, 7].numpy(), 10 * np.log10(power + 1e-6), atol=1e-3)


@pytest.mark.parametrize("folder", ["views", "on_speech"])
def test_what_stands_behind_a_clip_changes_no_view(folder: str, request: pytest.FixtureRequest) -> None:
    backbone = opened(request.getfixturevalue(folder))
    signals, lengths = clips(padding=torch.nan)
    with torch.inference_mode():
        together = backbone.represented(signals, lengths)
        alone = torch.cat([backbone.represented(x[None, :n], n[None]) for x, n in zip(signals, lengths, strict=True)])
    assert torch.isfinite(together).all() and together.shape == (3, len(backbone.config.views), 128)
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


def test_the_level_of_a_clip_says_nothing(views: Path) -> None:
    backbone, (signals, lengths) = opened(views), clips()
    assert backbone.normalises
    with torch.inference_mode():
        loud, quiet = (backbone.represented(scale * signals, lengths) for scale in (1.0, 0.01))
    torch.testing.assert_close(loud, quiet, atol=1e-3, rtol=1e-3)


def test_functionals_that_are_told_are_those_that_would_be_computed(views: Path) -> None:
    backbone, (signals, lengths) = opened(views), clips()
    told = torch.stack([torch.from_numpy(functionals(x[:n].numpy())) for x, n in zip(signals, lengths, strict=True)])
    assert torch.equal(backbone.represented(signals, lengths, told), backbone.represented(signals, lengths))
    assert not torch.equal(backbone.represented(signals, lengths, told + 1), backbone.represented(signals, lengths))


def test_a_clip_that_was_heard_before_is_not_described_again(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    def counted(signal: np.ndarray) -> np.ndarray:
        heard.append(len(signal))
        return np.ones(3, np.float32) * signal[0]

    monkeypatch.setitem(KINDS, "counted", replace(KINDS["own"], describe=counted))
    monkeypatch.setattr("teacher.contrastive.functionals._REMEMBERED", 2)
    monkeypatch.setattr("teacher.contrastive.functionals._known", {})
    one, two, three = (np.full(9, value, np.float32) for value in (1, 2, 3))
    assert [described("counted", clip)[0] for clip in (one, one, two, one)] == [1, 1, 2, 1] and len(heard) == 2
    assert [described("counted", clip)[0] for clip in (three, one)] == [3, 1] and len(heard) == 4


def test_egemaps_are_88_numbers() -> None:
    pytest.importorskip("opensmile", reason="openSMILE is not installed: pip install '.[opensmile]'")
    assert dimensions_of("egemaps") == 88
    signals, _ = clips()
    assert np.isfinite(described("egemaps", signals[0].numpy())).all()


def test_what_never_varies_is_not_divided_by_nothing() -> None:
    scale = Standardised(2)
    scale.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert scale(torch.tensor([[3.0, 5.5]])).tolist() == [[1.0, 0.5]]


# --- what learns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["views", "on_speech"])
def test_in_pre_training_all_but_the_speech_backbone_has_a_gradient(
    folder: str, request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(0)
    backbone = opened(request.getfixturevalue(folder))
    backbone.encoders.requires_grad_(True)
    network = ViewNetwork(backbone).train()
    PairwiseContrast(len(backbone.config.views), 0.1)(network(*clips())).backward()
    has_gradients(network, frozen="backbone.speech.")


@pytest.mark.parametrize("method", ["full", "head"])
def test_in_tuning_all_that_learns_has_a_gradient(method: str, on_speech: Path) -> None:
    torch.manual_seed(0)
    network = TunedNetwork(design_of(method, layers="last"), opened(on_speech)).train()
    network(*clips()).square().sum().backward()
    has_gradients(network, frozen="backbone." if method == "head" else "backbone.speech.")


def has_gradients(network: nn.Module, *, frozen: str) -> None:
    learned = learning(network)
    assert learned and not any(name.startswith(frozen) for name in learned)
    assert all(name in learned or name.startswith(frozen) for name, _ in network.named_parameters())
    assert [name for name, x in learned.items() if x.grad is None or not x.grad.any()] == []


def test_the_speech_backbone_is_never_in_training(on_speech: Path) -> None:
    backbone: ViewsBackbone = opened(on_speech)
    backbone.train()
    assert backbone.encoders.training and backbone.speech is not None and not backbone.speech.training


# --- the folder ------------------------------------------------------------------------------------------------------


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for name in ("config.json", "model.safetensors", "README.md"):
        (to / name).write_bytes((folder / name).read_bytes())
    return to


@pytest.mark.parametrize(("change", "said"), [
    (lambda tensors: tensors.pop("described.scale.mean"), r"described\.scale\.mean is missing"),
    (lambda tensors: tensors.update(wings=torch.zeros(2)), "wings does not belong"),
    (lambda tensors: tensors.update({"described.scale.mean": torch.zeros(9)}), r"has shape \[9\], expected \[360\]"),
])  # fmt: skip
def test_a_tensor_more_or_less_or_misshaped_is_named(change: Any, said: str, views: Path, tmp_path: Path) -> None:
    folder = copied(views, tmp_path / "damaged")
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DistillError, match=said):
        opened(folder)


@pytest.mark.parametrize(("changed", "said"), [
    ({"width": None}, "must be whole numbers above 0"),
    ({"width": 64}, "expected"),
    ({"described": 359}, "made of 359 functionals .own.; there are 360 now"),
    ({"functionals": "theirs"}, "--functionals theirs: there are own, egemaps"),
])  # fmt: skip
def test_a_configuration_that_does_not_fit_is_refused(
    changed: dict[str, Any], said: str, views: Path, tmp_path: Path
) -> None:
    folder = copied(views, tmp_path / "odd")
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | changed))
    with pytest.raises(DistillError, match=said):
        opened(folder)


def test_a_configuration_that_says_too_little_is_refused(views: Path, tmp_path: Path) -> None:
    folder = copied(views, tmp_path / "odd")
    (folder / "config.json").write_text(json.dumps({"model_type": "distill-views"}))
    with pytest.raises(DistillError, match="holds no shape of views"):
        opened(folder)
