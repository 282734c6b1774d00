"""The plain Wav2Small is ours: the same answers, gradients and course of training, by other code."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distill.learning.batch import Batch
from distill.learning.loop import Schedule, stepper
from distill.learning.loss import ccc_loss
from distill.learning.objective import Objective
from students import plain
from students.plain import PlainWav2Small, plain_ccc_loss, plain_step
from students.wav2small import Wav2Small

#: Where the pooling's scores are shifted by a constant nothing changes: what is left of this gradient is rounding.
WITHOUT_GRADIENT = "attention.sof.bias"


@pytest.fixture
def both() -> tuple[PlainWav2Small, Wav2Small]:
    """With the same weights, in training mode."""
    torch.manual_seed(4)
    slow, fast = PlainWav2Small(), Wav2Small()
    slow.load_state_dict(fast.state_dict())
    return slow, fast


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return drawn(5)


def drawn(seed: int, clips: int = 6, samples: int = 8000) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    swell = torch.linspace(1, 9, clips)[:, None] * torch.sin(torch.arange(samples) / 700) + 1.5
    return swell * torch.randn(clips, samples, generator=generator), torch.rand(clips, 3, generator=generator)


def gradients(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], batch: tuple[Tensor, Tensor]) -> dict:
    loss(model(batch[0]), batch[1]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad and name != WITHOUT_GRADIENT}


def test_it_has_the_parameters_of_the_paper_and_of_ours(both) -> None:
    slow, fast = both
    assert sum(parameter.numel() for parameter in slow.parameters()) == 72_477
    named = [{name: (p.shape, p.requires_grad) for name, p in model.named_parameters()} for model in both]
    assert named[0] == named[1] and slow.state_dict().keys() == fast.state_dict().keys()


def test_its_own_front_end_is_ours() -> None:
    for name, kernel in PlainWav2Small().frontend.state_dict().items():
        torch.testing.assert_close(kernel, Wav2Small().frontend.state_dict()[name], atol=1e-6, rtol=0)


def test_it_answers_as_ours_does(both, batch) -> None:
    slow, fast = both
    for training in (True, False):
        torch.testing.assert_close(fast.train(training)(batch[0]), slow.train(training)(batch[0]), atol=1e-5, rtol=1e-5)


def test_its_gradients_are_ours(both) -> None:
    """A unit that stands at the kink of its ReLU falls to one side or the other by rounding, which processors do
    differently, and all before it has another gradient then: in some batches, and by little."""
    off: dict[str, list[float]] = {}
    for seed in range(8):
        batch = drawn(seed, clips=3, samples=4000)
        slow, fast = map(copy.deepcopy, both)
        wanted, found = gradients(slow, plain_ccc_loss, batch), gradients(fast, ccc_loss, batch)
        for name, gradient in wanted.items():
            far = (found[name] - gradient).abs().max() / gradient.abs().max()
            off.setdefault(name, []).append(float(far))
    for name, far in off.items():
        assert min(far) < 1e-3 and max(far) < 0.2, (name, far)


def test_its_training_takes_the_course_of_ours(both, batch) -> None:
    """Clipping apart, which the plain loop has not: the losses of eight steps in float32. What rounding moves at the
    kinks of ReLU grows from step to step."""
    slow, fast = both
    schedule = Schedule(epochs=1, minutes=None, clip_norm=1e9)
    step = stepper(
        fast, [], objective=Objective(ccc_loss), schedule=schedule, device=torch.device("cpu"), precision=torch.float32
    )
    optimiser = torch.optim.AdamW(slow.parameters(), lr=1e-3, weight_decay=schedule.weight_decay, betas=(0.9, 0.98))
    ours = [step(Batch(batch[0], torch.full((6,), 8000), batch[1]), 1e-3) for _ in range(8)]
    plains = [plain_step(slow, optimiser, *batch) for _ in range(8)]
    assert ours[:4] == pytest.approx(plains[:4], abs=5e-3) and ours == pytest.approx(plains, abs=0.05)
    assert ours[-1] < ours[0] - 0.05


def test_the_losses_are_one() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(9, 3, generator=generator) for _ in range(2))
    torch.testing.assert_close(plain_ccc_loss(x, y), ccc_loss(x, y))


def test_it_shares_no_code_with_ours() -> None:
    tree = ast.parse(Path(plain.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name and name.split(".")[0] in ("distill", "students")]
