"""The family: names read strictly, the published layouts among its members, and members that keep the contract."""

from __future__ import annotations

import pytest
import torch

from distill.errors import DistillError
from students.catalogue import build, figures
from students.family import POOLS, Member, Shape, build_member, shape_of, written
from students.frontend import FoldedLogMel
from students.wav2small import Vgg7, Wav2Small, Wav2Small17K
from tests.students.test_catalogue import noise

PUBLISHED = {
    "wav2small": "wav2small:hop=2,n_fft=64,mels=26,channels=13,depth=3+4,pool=softmax",
    "wav2small-lite": "wav2small:hop=16,n_fft=256,mels=26,channels=13,depth=3+4,pool=softmax",
    "wav2small-17k": "wav2small:hop=2,n_fft=64,mels=26,channels=13,depth=3+4,pool=channels",
}


def seeded(name):
    torch.manual_seed(3)
    return build(name).eval()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_layouts_are_points_of_it(name):
    shipped, member = seeded(name), seeded(PUBLISHED[name])
    one, other = shipped.state_dict(), member.state_dict()
    assert list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(shipped(noise(8000)[None]), member(noise(8000)[None]))
    assert isinstance(member, Vgg7), "of the exporters' own graphs"
    counted = [figures(arch).as_dict() for arch in (name, PUBLISHED[name])]
    assert {**counted[0], "name": ""} == {**counted[1], "name": ""}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_free_trunk_of_the_published_shape_answers_as_the_published(name):
    """What stands behind other widths is the same network, written once more: with the same weights the same answer."""
    shipped, member = seeded(name), Member(shape_of(PUBLISHED[name])).eval()
    weights = {key: value for key, value in shipped.state_dict().items() if not key.startswith("gram")}
    member.load_state_dict(weights)
    batch, lengths = torch.stack([noise(8000), noise(8000, seed=1)]), torch.tensor([8000, 5217])
    with torch.inference_mode():
        torch.testing.assert_close(member(batch, lengths), shipped(batch, lengths), rtol=0, atol=1e-6)


def test_a_name_is_read_and_written_alike():
    shape = Shape(hop=8, n_fft=256, mels=40, channels=20, depth=(2, 5), pool="mean")
    assert shape_of(str(shape)) == shape
    assert (
        shape_of(written({"pool": "mean", "depth": "2+5", "channels": 20, "mels": 40, "n_fft": 256, "hop": 8})) == shape
    )
    assert shape_of("wav2small:pool=mean") == Shape(pool="mean")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("hops=8", "'hops=8' is no key=value of the family; there are hop, n_fft, mels, channels, depth, pool"),
        ("", "'' is no key=value"),
        ("hop", "'hop' is no key=value"),
        ("Thing", "'Thing' is no key=value"),
        ("hop=8,n_fft=128,hop=8", "hop stands twice"),
        ("hop=0", "hop is '0'; it must be a whole number of 1 to 64"),
        ("hop=8.5", "hop is '8.5'"),
        ("hop=-8", "hop is '-8'"),
        ("hop=²", "hop is '²'"),
        ("n_fft=100", "n_fft is '100'; it must be a whole number of 32, 64, 128"),
        ("mels=3", "mels is '3'; it must be a whole number of 4 to 128"),
        ("channels=65", "channels is '65'"),
        ("depth=3", "depth is '3'; it must be two numbers of 1 to 8, as in 3[+]4"),
        ("depth=3+0", "depth is '3[+]0'"),
        ("depth=9+4", "depth is '9[+]4'"),
        ("pool=max", "pool is 'max'; there are softmax, channels, mean"),
        ("hop=16", "frames of 64 samples every 256 leave some unheard"),
    ],
)
def test_what_cannot_be_is_refused(spec, reason):
    with pytest.raises(DistillError, match=f"^wav2small:{spec.replace('+', '[+]')}: .*{reason}"):
        build(f"wav2small:{spec}")


def test_what_is_exported_node_by_node_is_told_by_the_trunk():
    assert type(build("wav2small:hop=8,n_fft=512")) is Wav2Small
    assert type(build("wav2small:hop=8,n_fft=512,pool=channels")) is Wav2Small17K
    others = ("mels=40", "channels=12", "depth=3+3", "depth=4+4", "pool=mean")
    assert [type(build(f"wav2small:{other}")) for other in others] == [Member] * 5


def test_every_part_is_of_the_size_that_is_asked_for():
    member = build_member("wav2small:hop=8,n_fft=256,mels=31,channels=20,depth=2+5,pool=mean")
    assert (member.frontend.hop, member.frontend.n_fft, member.frontend.mels) == (128, 256, 31)
    assert [block.conv.weight.shape[:2] for block in (*member.fine, *member.coarse)] == [(20, 1), *[(20, 20)] * 6]
    assert len(member.fine) == 2 and member.head.in_features == 20 * 16
    assert not isinstance(member.frontend, FoldedLogMel)
    assert isinstance(build_member("wav2small:hop=16,n_fft=256,mels=31").frontend, FoldedLogMel)


@pytest.mark.parametrize("pool", POOLS)
def test_while_training_a_batch_without_padding_is_computed_alike(pool):
    """By oneDNN's own layout, where there is one: channels filled up to whole vectors, and taken off again."""
    torch.manual_seed(0)
    member = Member(Shape(hop=16, n_fft=256, mels=20, channels=20, depth=(2, 2), pool=pool)).train()
    batch = torch.stack([noise(8000), noise(8000, seed=1)])
    filled, masked = member(batch), member(batch, torch.tensor([8000, 8000]))
    torch.testing.assert_close(filled, masked, rtol=1e-4, atol=1e-4)
    assert member.attention(*member.features(batch, None)).shape[1] == member.head.in_features
