"""The model card: read as the hub's own library reads it, and never in the place of somebody else's page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCard

from distill import runs
from export.exporting import export
from export.readme import readme, write_readme

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "wav2small" / "training.json"
DESCRIBED = ROOT / "students" / "pretrained" / "wav2small-int8.json"


def described(**changed: Any) -> dict[str, Any]:
    return {**json.loads(DESCRIBED.read_text()), **changed}


def result() -> dict[str, Any]:
    return json.loads(RESULT.read_text())


def card(**changed: Any) -> ModelCard:
    return ModelCard(readme("int8.onnx", described(**changed), result()))


def test_the_hub_reads_the_fields() -> None:
    data = card().data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "onnx", "audio-classification")
    assert {"speech-emotion-recognition", "arousal", "valence", "wav2small"} <= set(data.tags)
    assert data.metrics == ["ccc"] and data.datasets is None


def test_the_hub_reads_the_agreement_of_each_axis() -> None:
    results: list[EvalResult] = card().data.eval_results
    found = {entry.metric_name: entry.metric_value for entry in results}
    shown = {"arousal": "arousal", "dominance": "dominance (derived)", "valence": "valence"}
    assert found == {
        f"CCC {name} with the teacher": round(result()["ccc"][axis]["value"], 4) for axis, name in shown.items()
    }


def test_without_figures_there_are_none() -> None:
    text = readme("int8.onnx", described(), None)
    assert ModelCard(text).data.eval_results is None and "Not measured here." in text


@pytest.mark.parametrize(
    ("licence", "known", "name"),
    [("CC BY 4.0", "cc-by-4.0", None), ("CC-BY-NC-SA-4.0", "cc-by-nc-sa-4.0", None), ("Ours", "other", "Ours")],
)
def test_licences_go_by_the_names_of_the_hub(licence: str, known: str, name: str | None) -> None:
    data = card(licence=licence).data
    assert (data.license, data.license_name) == (known, name)


def test_a_data_set_of_the_hub_is_named() -> None:
    lineage = [*described()["lineage"], {"role": "audio", "name": "owner/speech", "data_licence": "MIT"}]
    assert card(lineage=lineage).data.datasets == ["owner/speech"]


def test_lineage_and_both_licences_are_told() -> None:
    text = readme("int8.onnx", described(licence="MIT", data_licence="MSP-Podcast (restricted)"), result())
    assert "The weights are under: **MIT**" in text
    assert "What they were trained on is under: **MSP-Podcast (restricted)**" in text
    assert "Not beyond the licence of the data" in text and "Not beyond the licence of the weights" not in text
    assert all(f"| {entry['role']} | {entry['name']} |" in text for entry in described()["lineage"])


def test_what_is_derived_and_what_is_lacking_is_told() -> None:
    assert "**Dominance is derived**" in card().text
    lacking = card(axes=["arousal", "valence"], derived=[]).text
    assert "not taught dominance, and answers NaN" in lacking and "is derived" not in lacking


def test_it_says_what_it_must_not_be_used_for() -> None:
    assert "## What it must not be used for" in card().text
    assert "article\n  5(1)(f)" in card().text


def test_somebody_elses_page_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# mine")
    assert write_readme(tmp_path / "s.onnx", described(), result()) == tmp_path / "s.md"
    assert (tmp_path / "README.md").read_text() == "# mine"
    assert "its model card is" in capsys.readouterr().err


def test_of_two_clips_there_is_no_interval() -> None:
    two = {**result(), "n": 2, "ccc": {"arousal": {"value": 0.5, "low": None, "high": None}, "valence": None}}
    assert "| arousal | 0.500 | - |" in readme("s.onnx", described(), two)


def test_a_page_of_the_same_student_is_renewed_and_of_another_kept(tmp_path: Path) -> None:
    assert write_readme(tmp_path / "s.onnx", described(), None).name == "README.md"
    assert write_readme(tmp_path / "s.onnx", described(), result()).name == "README.md"
    assert f"{result()['ccc']['arousal']['value']:.3f}" in (tmp_path / "README.md").read_text()
    assert write_readme(tmp_path / "t.onnx", described(), result()).name == "t.md"
    assert "for s.onnx" in (tmp_path / "README.md").read_text()


def test_a_bundle_brings_its_card(trained: Path, tmp_path: Path) -> None:
    told = export(trained, output=tmp_path / "s.onnx")
    text, measured = (tmp_path / "README.md").read_text(), runs.read_result(trained)
    assert told["sha256"] in text and measured is not None
    assert f"{measured['ccc']['arousal']['value']:.3f}" in text
