"""What is known of the published teachers before any of them is loaded. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distill.annotation import AXES, TeacherCard

#: Every loader here was written without access to a model hub.
PROVEN_ON = "checkpoints made here; the published file was out of reach"

#: The corpus that three of them learned from is handed out for research, by a signed agreement.
MSP_PODCAST = "MSP-Podcast academic licence (restricted)"

#: What stands for a revision as long as no checkpoint was resolved.
UNRESOLVED = "resolved when it is loaded"


@dataclass(frozen=True)
class Family:
    """A published teacher. module: has `Network(config)`, which every checkpoint of this architecture fits."""

    card: TeacherCard
    module: str

    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's `config.json` is one of this architecture."""
        return bool(_SIGNS[self.card.name](config))


def _card(name: str, source: str, **known: Any) -> TeacherCard:
    common = {"source": source, "revision": UNRESOLVED, "axes": AXES, "derived": (), "range": (0.0, 1.0),
              "bundled": False, "sampling_rate": 16_000, "own_threads": True, "proven_on": PROVEN_ON}  # fmt: skip
    return TeacherCard(**{"name": name, **common, **known})


_OF_THE_CLIP = "zero mean, unit variance per clip"

#: By the name that the catalogue gives them. Parameters are counted on the published sizes; a test holds them.
#: MSP-Podcast's segments last up to about 12 s, which bounds the clips that the models learned on.
FAMILIES = {
    "odyssey": Family(
        _card(
            "odyssey", "3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes", licence="MIT", data_licence=MSP_PODCAST,
            parameters=318_607_043, trained_on="MSP-Podcast 1.11 (WavLM-large, attentive statistics pooling)",
            normalisation="one fixed mean and standard deviation", gain_invariant=False,
            shortest_seconds=0.3, longest_seconds=12.0,
        ),
        "teacher.published.odyssey",
    ),
    "audeering": Family(
        _card(
            "audeering", "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", licence="CC-BY-NC-SA-4.0",
            data_licence=MSP_PODCAST, parameters=165_336_707,
            trained_on="MSP-Podcast 1.7 (wav2vec2-large-robust, 12 layers, mean pooling)",
            normalisation=_OF_THE_CLIP, gain_invariant=True, shortest_seconds=0.3, longest_seconds=12.0,
        ),
        "teacher.published.audeering",
    ),
    "meralion": Family(
        _card(
            "meralion", "MERaLiON/MERaLiON-SER-v1", licence="MERaLiON Public Licence", data_licence="unknown",
            order=("valence", "arousal", "dominance"), parameters=313_362_581,
            trained_on="English and South-East Asian speech (Whisper-medium encoder, ECAPA-TDNN)",
            normalisation="Whisper log-mel of the clip padded to 30 s", gain_invariant=False,
            shortest_seconds=0.3, longest_seconds=30.0,
        ),
        "teacher.published.meralion",
    ),
    "vox-profile": Family(
        _card(
            "vox-profile", "tiantiaf/wavlm-large-msp-podcast-emotion-dim", licence="OpenRAIL, no commercial use",
            data_licence=MSP_PODCAST, order=("arousal", "valence", "dominance"), parameters=316_045_276,
            trained_on="MSP-Podcast (WavLM-large, weighted sum of its layers, convolution head)",
            normalisation=_OF_THE_CLIP, gain_invariant=True, shortest_seconds=3.0, longest_seconds=15.0,
        ),
        "teacher.published.vox_profile",
    ),
}  # fmt: skip

#: How each one's `config.json` is told from the others'.
_SIGNS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "odyssey": lambda config: config.get("model_type") == "ser" and "ssl_type" in config,
    "audeering": lambda config: config.get("model_type") == "wav2vec2",
    "meralion": lambda config: any("WhisperECAPA" in name for name in config.get("architectures") or ()),
    "vox-profile": lambda config: "pretrain_model" in config and "finetune_method" in config,
}
