"""A text encoder of a hub, or of a folder: transcripts to vectors, frozen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.errors import DistillError, first_line
from teacher.published import hub
from teacher.published.folder import licence_of, revision_of
from teacher.tuning.backbone import Origin

#: What tokenizers are kept in, of one kind or another.
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json",
              "merges.txt", "sentencepiece.bpe.model", "spiece.model")  # fmt: skip

#: Texts that are encoded at once, and tokens that are read of each.
_TOGETHER, _TOKENS = 32, 256


class TextEncoder:
    """Transcripts as the mean of an encoder's last hidden state over their tokens."""

    def __init__(self, origin: Origin, tokenizer: Any, model: Any) -> None:
        self.origin, self._tokenizer, self._model = origin, tokenizer, model
        self.dimensions = int(model.config.hidden_size)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts, dimensions]."""
        parts = [self._encoded(texts[start : start + _TOGETHER]) for start in range(0, len(texts), _TOGETHER)]
        return np.concatenate(parts)

    def _encoded(self, texts: Sequence[str]) -> np.ndarray:
        given = self._tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=_TOKENS)
        states = self._model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
        mask = given["attention_mask"][..., None].bool()
        mean = torch.where(mask, states, 0.0).sum(1) / mask.sum(1)
        return np.asarray(mean.float().numpy())


def find_text_encoder(name: str) -> Origin:
    """An encoder of text by folder or hub id.

    Raises:
        DistillError: there is none, or the hub is out of reach.
    """
    if Path(name).is_dir():
        return Origin(name, Path(name), revision_of(Path(name)), "text", licence_of(Path(name)))
    if not hub.is_hub_id(name):
        raise DistillError(f"--text-encoder {name}: no such folder, and no hub id (owner/name)")
    folder, revision = hub.fetch(name, beside=TOKENIZERS, instead="a folder with its files (--text-encoder FOLDER)")
    return Origin(name, folder, revision, "text", licence_of(folder))


def open_text_encoder(origin: Origin) -> TextEncoder:
    """The encoder with all its weights, and its tokenizer.

    Raises:
        DistillError: it cannot be read, or weights are missing.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(origin.folder, local_files_only=True)
        model, told = AutoModel.from_pretrained(origin.folder, local_files_only=True, output_loading_info=True)
    except Exception as error:  # transformers has no type of its own for what it cannot read
        raise DistillError(f"{origin.folder}: no encoder of text that can be read ({first_line(error)})") from None
    # Encoders that were trained to fill in words have no pooler, and none is asked.
    missing = sorted(name for name in told["missing_keys"] if not name.startswith("pooler."))
    if missing or told["mismatched_keys"]:
        lacking = missing[0] if missing else told["mismatched_keys"][0]
        raise DistillError(f"{origin.folder}: the tensor {lacking} is missing or misshaped")
    return TextEncoder(origin, tokenizer, model.eval().requires_grad_(False))
