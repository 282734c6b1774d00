"""What a teacher is told beside the sound: who speaks, and what."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import BertConfig, BertModel

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from teacher.catalogue import open_teacher
from teacher.labelling import label
from teacher.training import train_teacher
from teacher.tuning.backbone import backbone_of
from teacher.tuning.conditioning import UNSAID, Condition, beside_of
from teacher.tuning.design import answering, design_of
from teacher.tuning.methods import learning
from teacher.tuning.network import TunedNetwork
from teacher.tuning.text import find_text_encoder, open_text_encoder
from tests.teacher.tuning import backbones

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "day", "night"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT in the published format."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16)  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of noise of which the words tell the valence and the sex the arousal."""
    root = tmp_path_factory.mktemp("corpus")
    draw = np.random.default_rng(0)
    rows = []
    for number in range(24):
        soundfile.write(root / f"{number}.wav", 0.1 * draw.standard_normal(SAMPLING_RATE // 2), SAMPLING_RATE)
        good, woman = number % 2, number // 2 % 2
        rows.append({
            "file": f"{number}.wav", "speaker": f"s{number // 4}", "sex": ["male", "female"][woman],
            "transcript": ["bad night", "good day"][good], "arousal": 0.2 + 0.6 * woman + 0.01 * draw.uniform(),
            "valence": 0.2 + 0.6 * good + 0.01 * draw.uniform(), "text_vector": [float(good), 1.0],
        })  # fmt: skip
    with (root / "ratings.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [name for name in rows[0] if name != "text_vector"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    (root / "ratings.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root


def tuned(corpus: Path, output: Path, backbone: Path, **options: Any) -> dict[str, Any]:
    quick = {"epochs": 20, "batch_size": 8, "learning_rate": 5e-3, "device": "cpu", "patience": None}
    return train_teacher(
        corpus / options.pop("labels", "ratings.csv"), backbone=str(backbone), output=output, method="head",
        **{**quick, **options},
    )  # fmt: skip


def answers(teacher: Any, *rows: dict[str, Any]) -> np.ndarray:
    noise = np.random.default_rng(9).standard_normal(8_000).astype(np.float32)
    batch = np.stack([0.1 * noise] * len(rows))
    return np.asarray(teacher.annotate_rows(batch, [8_000] * len(rows), SAMPLING_RATE, rows).adv)


def test_a_teacher_that_is_told_who_and_what_answers_by_it(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    backbone = backbones.write("hubert", tmp_path / "backbone")
    result = tuned(corpus, tmp_path / "mine", backbone, condition="gender+text", text_encoder=str(encoder))
    assert result["ccc"]["arousal"]["value"] > 0.5 and result["ccc"]["valence"]["value"] > 0.5
    teacher = open_teacher(str(tmp_path / "mine"), "cpu")
    said = answers(
        teacher, {"sex": "female", "transcript": "good day"}, {"sex": "male", "transcript": "good day"},
        {"sex": "female", "transcript": "bad night"}, {},
    )  # fmt: skip
    assert said[0, 0] - said[1, 0] > 0.2 and said[0, 2] - said[2, 2] > 0.2 and np.isfinite(said[3, [0, 2]]).all()
    noise = np.random.default_rng(9).standard_normal(8_000).astype(np.float32)
    plain = teacher.annotate(0.1 * noise[None], [8_000], SAMPLING_RATE).adv
    np.testing.assert_allclose(plain[0], said[3], atol=1e-6)  # asked without columns it knows neither
    done = label(corpus / "ratings.csv", output=tmp_path / "labels", teacher=str(tmp_path / "mine"), jobs=1)
    assert done["labelled"] == 24


def test_vectors_may_be_brought_along(corpus: Path, tmp_path: Path) -> None:
    backbone = backbones.write("hubert", tmp_path / "backbone")
    tuned(corpus, tmp_path / "mine", backbone, condition="text", labels="ratings.jsonl")
    teacher = open_teacher(str(tmp_path / "mine"), "cpu")
    good, bad = answers(teacher, {"text_vector": [1.0, 1.0]}, {"text_vector": [0.0, 1.0]})
    assert good[2] - bad[2] > 0.2
    with pytest.raises(DistillError, match="holds 3 numbers; the teacher takes 2"):
        answers(teacher, {"text_vector": [1.0, 1.0, 1.0]})
    with pytest.raises(DistillError, match="lists of numbers"):
        answers(teacher, {"text_vector": "good"})
    as_text = answers(teacher, {"text_vector": "[1.0, 1.0]"}, {"text_vector": "[0.0, 1.0]"})
    np.testing.assert_array_equal(as_text, np.stack([good, bad]))
    done = label(corpus / "ratings.jsonl", output=tmp_path / "labels", teacher=str(tmp_path / "mine"), jobs=1)
    assert done["labelled"] == 24 and not done["failed"]


@pytest.mark.parametrize(("options", "said"), [
    ({"condition": "text"}, "needs a column 'text_vector', or transcripts and --text-encoder"),
    ({"text_encoder": "encoder"}, "--text-encoder goes with --condition"),
    ({"condition": "text", "text_encoder": "no such thing"}, "no such folder, and no hub id"),
    ({"condition": "mood"}, "--condition mood: there are none, gender"),
])  # fmt: skip
def test_what_is_lacking_is_said_before_the_first_step(
    options: dict[str, Any], said: str, corpus: Path, tmp_path: Path
) -> None:
    backbone = backbones.write("hubert", tmp_path / "backbone")
    with pytest.raises(DistillError, match=said):
        tuned(corpus, tmp_path / "mine", backbone, **options)


def test_a_table_without_sexes_or_words_is_said(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    backbone = backbones.write("hubert", tmp_path / "backbone")
    with (corpus / "ratings.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    with (tmp_path / "t.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["file", "speaker", "arousal", "valence"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    for options, column in (({"condition": "gender"}, "sex"),
                            ({"condition": "text", "text_encoder": str(encoder)}, "transcript")):  # fmt: skip
        with pytest.raises(DistillError, match=f"needs a column '{column}'"):
            tuned(corpus, tmp_path / "mine", backbone, labels=tmp_path / "t.csv", audio=corpus, **options)


def test_texts_are_encoded_alike_alone_and_together(encoder: Path) -> None:
    encode = open_text_encoder(find_text_encoder(str(encoder)))
    together = encode(["good", "bad day bad night"])
    assert together.shape == (2, encode.dimensions) == (2, 16)
    np.testing.assert_allclose(together[:1], encode(["good"]), atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-2


def test_an_encoder_with_weights_missing_is_refused(encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in encoder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: x for name, x in tensors.items() if "output.dense.weight" not in name},
              tmp_path / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(DistillError, match="missing or misshaped"):
        open_text_encoder(find_text_encoder(str(tmp_path)))


@pytest.mark.parametrize("condition", ["gender", "text", "gender+text"])
def test_every_tensor_of_a_condition_has_a_gradient(condition: str) -> None:
    torch.manual_seed(1)
    design = answering(design_of("head", condition=condition), ("arousal",), (), 4 * ("text" in condition))
    network = TunedNetwork(design, backbone_of(backbones.config("hubert"))).train()
    rows = [{"sex": "female", "text_vector": [1, 2, 3, 4.0]}, {"sex": "male"}, {}] * 6
    told = torch.from_numpy(beside_of(rows, dimensions=design.text))
    network(torch.randn(18, 4_000), None, told)[:, 0].square().sum().backward()
    for name, parameter in learning(network).items():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def test_in_training_some_clips_are_told_nothing() -> None:
    torch.manual_seed(0)
    condition = Condition(sex=True, dimensions=0)
    beside = torch.ones(2_000, 1)
    unknown = condition.sex.weight[0]
    heard = condition.train()(beside)
    assert float((heard == unknown).all(1).float().mean()) == pytest.approx(UNSAID, abs=0.03)
    assert not (condition.eval()(beside) == unknown).all(1).any()
