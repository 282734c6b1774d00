"""A saved fine-tune is small beside its backbone at the published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from teacher.tuning.backbone import backbone_of
from teacher.tuning.design import design_of
from teacher.tuning.methods import learning
from teacher.tuning.network import TunedNetwork
from teacher.tuning.saving import write_learned

WAVLM_LARGE = {
    "model_type": "wavlm", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096, "conv_dim": [512] * 7, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
}  # fmt: skip


WAVLM_BASE_PLUS = {**WAVLM_LARGE, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                   "intermediate_size": 3072, "feat_extract_norm": "group", "do_stable_layer_norm": False}  # fmt: skip


@pytest.mark.parametrize("config", [WAVLM_LARGE, WAVLM_BASE_PLUS], ids=["large", "base"])
@pytest.mark.parametrize("method", ["head", "prompt", "lora", "adapter", "adapter-sequential"])
def test_less_than_two_hundredths_of_the_backbone_are_written(
    method: str, config: dict[str, Any], tmp_path: Path
) -> None:
    with torch.device("meta"):
        network = TunedNetwork(design_of(method), backbone_of(config))
    backbone = 4 * sum(parameter.numel() for parameter in network.backbone.parameters() if not parameter.requires_grad)
    for name, parameter in learning(network).items():  # those that are written are made real
        where, _, last = name.rpartition(".")
        made = torch.nn.Parameter(torch.randn(parameter.shape))
        setattr(network.get_submodule(where), last, made)
    write_learned(tmp_path / "learned.safetensors", network)
    size = (tmp_path / "learned.safetensors").stat().st_size
    assert backbone > 3.7e8 and size < 0.02 * backbone
    assert set(load_file(tmp_path / "learned.safetensors")) == set(learning(network))
