"""The MobileNets: timm's own trunk where nothing is padding, and faults in the masks that would show."""

from __future__ import annotations

import copy

import pytest
import timm
import torch

from students.catalogue import build
from students.mobilenet import MobileNet, Padding

TRUNKS = {
    "mobilenetv3-small": "mobilenetv3_small_100",
    "mobilenetv3-large": "mobilenetv3_large_100",
    "mobilenetv4-small": "mobilenetv4_conv_small",
    "mobilenetv4-medium": "mobilenetv4_conv_medium",
}


def settled(model: torch.nn.Module) -> torch.nn.Module:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(2, 16000))
    return model.eval()


@pytest.mark.parametrize("name", TRUNKS)
@torch.inference_mode()
def test_trunk_is_timms_own(name):
    torch.manual_seed(1)
    ours, theirs = settled(build(name)), timm.create_model(TRUNKS[name], in_chans=1, num_classes=0)
    weights = ours.trunk.state_dict()
    assert set(theirs.state_dict()) - set(weights) == {
        key for key in theirs.state_dict() if key.split(".")[0] in ("conv_head", "norm_head")
    }
    theirs.load_state_dict({**theirs.state_dict(), **weights})
    image = torch.randn(2, 1, 311, 26)
    expected = theirs.eval().forward_features(image)
    assert torch.equal(ours.trunk.forward_features(image), expected)
    whole = ours(noise := torch.randn(2, 311 * 32 + 32))
    assert torch.allclose(ours(noise, torch.full((2,), noise.shape[1])), whole, atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenetv3-small", "mobilenetv4-small"])
@pytest.mark.parametrize("lost", ["_blank", "_halve", "_mean_of_valid"])
def test_a_lost_mask_would_show(name, lost, monkeypatch):
    monkeypatch.setattr(Padding, lost, lambda *_: None)
    torch.manual_seed(2)
    broken = settled(build(name))
    pcm = torch.randn(2, 20000) * torch.linspace(0.2, 1, 20000)
    with torch.inference_mode():
        alone, padded = broken(pcm[:1, :9000]), broken(pcm, torch.tensor([9000, 20000]))[:1]
    changed = (alone - padded).abs().max() > 1e-3
    assert changed or (lost == "_mean_of_valid" and name == "mobilenetv4-small")  # which has no squeeze-and-excite


def test_a_copy_hooks_its_own_padding():
    """The trainer averages weights in a deep copy."""
    torch.manual_seed(3)
    model = settled(build("mobilenetv3-small"))
    other = copy.deepcopy(model)
    hooked = {hook.__self__ for module in other.modules() for hook in module._forward_pre_hooks.values()}
    assert hooked == {other._padding} and other._padding is not model._padding
    pcm, lengths = torch.randn(2, 8000), torch.tensor([8000, 5000])
    with torch.inference_mode():
        assert torch.equal(model(pcm, lengths), other(pcm, lengths))


def test_a_convolution_without_a_rule_is_refused():
    trunk = torch.nn.Sequential(torch.nn.Conv2d(1, 4, kernel_size=2, stride=2))
    with pytest.raises(ValueError, match="no rule for the valid length"):
        Padding(trunk)


def test_nothing_is_fetched(monkeypatch):
    asked = {}
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **how: asked.update(how) or create(name, **how))
    MobileNet("mobilenetv4_conv_small")
    assert asked["pretrained"] is False
