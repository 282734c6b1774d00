"""The model card: read as the hub's own library reads it, and never in the place of somebody else's page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCard

from distill import runs
from distill.errors import DistillError
from distill.files import write_json
from distill.recipe import read_recipe
from export.exporting import export
from export.readme import Known, readme, write_readme
from export.readme import card as write_card

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "wav2small" / "training.json"
DESCRIBED = ROOT / "students" / "pretrained" / "wav2small-int8.json"


def described(**changed: Any) -> dict[str, Any]:
    return {**json.loads(DESCRIBED.read_text()), **changed}


def result() -> dict[str, Any]:
    return json.loads(RESULT.read_text())


def card(**changed: Any) -> ModelCard:
    return ModelCard(readme("int8.onnx", described(**changed), Known(result())))


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
    text = readme("int8.onnx", described(), Known())
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
    text = readme("int8.onnx", described(licence="MIT", data_licence="MSP-Podcast (restricted)"), Known(result()))
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
    assert write_readme(tmp_path / "s.onnx", described(), Known(result())) == tmp_path / "s.md"
    assert (tmp_path / "README.md").read_text() == "# mine"
    assert "its model card is" in capsys.readouterr().err


def test_of_two_clips_there_is_no_interval() -> None:
    two = {**result(), "n": 2, "ccc": {"arousal": {"value": 0.5, "low": None, "high": None}, "valence": None}}
    assert "| arousal | 0.500 | - |" in readme("s.onnx", described(), Known(two))


def test_a_page_of_the_same_student_is_renewed_and_of_another_kept(tmp_path: Path) -> None:
    assert write_readme(tmp_path / "s.onnx", described(), Known()).name == "README.md"
    assert write_readme(tmp_path / "s.onnx", described(), Known(result())).name == "README.md"
    assert f"{result()['ccc']['arousal']['value']:.3f}" in (tmp_path / "README.md").read_text()
    assert write_readme(tmp_path / "t.onnx", described(), Known(result())).name == "t.md"
    assert "for s.onnx" in (tmp_path / "README.md").read_text()


def test_a_bundle_brings_its_card(trained: Path, tmp_path: Path) -> None:
    told = export(trained, output=tmp_path / "s.onnx")
    text, measured = (tmp_path / "README.md").read_text(), runs.read_result(trained)
    assert told["sha256"] in text and measured is not None
    assert f"{measured['ccc']['arousal']['value']:.3f}" in text


# --- what was measured since -----------------------------------------------------------------------------------------


def made_cards() -> list[Any]:
    """The last stage of the recipes of the students that come with the package."""
    recipes = {
        path: read_recipe(path, "a recipe") for path in sorted((ROOT / "students" / "pretrained").glob("*.yaml"))
    }
    return [
        pytest.param(stage, id=Path(stage["student"]).stem)
        for recipe in recipes.values()
        for stage in recipe.get("card", ())
    ]


@pytest.mark.parametrize("stage", made_cards())
def test_the_cards_of_those_that_come_are_made_of_the_committed_results(
    stage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, name = ROOT / stage["student"], Path(stage["training"]).parent.name
    for path in (student, student.with_suffix(".json")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(ROOT)
    written = write_card(
        tmp_path / student.name,
        evaluations=stage["evaluation"],
        training=f"benchmarks/results/{name}/training.json",  # a copy of the run's result.json
        comparison=stage["comparison"],
        languages=dict(text.split("=", 1) for text in stage["language"]),
        note=stage["note"].strip(),
    )
    assert written.read_text() == student.with_suffix(".md").read_text()
    data = ModelCard.load(written).data
    assert data.language == ["de", "en"] and len({entry.dataset_name for entry in data.eval_results}) == 3


def score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def evaluation(folder: Path, name: str = "e.json", **changed: Any) -> Path:
    """As `distill evaluate -o` writes it, of the student that `student` makes."""
    truth = {"file": "data/ratings.csv", "where": {"split": "dev"}, "audio": "data/short", "teacher": None}
    asked = {"student": "wav2small", "precision": "int8", "sha256": described()["sha256"]}
    ccc = {"arousal": score(0.8), "valence": score(0.4)}
    mae = {"arousal": 0.1, "valence": 0.2}
    result = {"n": 50, "ccc": ccc, "mae": mae, "slices": {}, "failed": 0, "asked": asked, "truth": truth, **changed}
    write_json(folder / name, result)
    return folder / name


@pytest.fixture
def student(tmp_path: Path) -> Path:
    (tmp_path / "int8.onnx").touch()
    write_json(tmp_path / "int8.json", described())
    return tmp_path / "int8.onnx"


def test_agreement_with_people_is_told_with_its_interval(student: Path, tmp_path: Path) -> None:
    text = write_card(student, evaluations=[evaluation(tmp_path)]).read_text()
    assert "### With people's ratings\n\nOn 50 clips of `ratings.csv` (split dev), recordings `short`." in text
    assert "| arousal | 0.800 (0.700 to 0.900) | 0.100 |" in text and "Nobody rated dominance." in text
    (entry,) = [entry for entry in ModelCard(text).data.eval_results if entry.metric_name == "CCC valence"]
    assert entry.metric_value == 0.4 and entry.dataset_name.startswith("people's ratings, 50 clips of ratings.csv")


def test_loudness_and_the_teacher_stand_beside_it(student: Path, tmp_path: Path) -> None:
    loud = {"n": 50, "left_out": "speaker", "ccc": {"arousal": score(0.3)}, "difference": {}}
    against = {"answers": "labels", "ratio": {"arousal": score(0.9), "valence": score(0.7)}}
    own = evaluation(tmp_path, loudness=loud, against=against)
    teacher = evaluation(
        tmp_path, "t.json", ccc={"arousal": score(0.85), "valence": score(0.6)},
        asked={"predictions": "labels", "teacher": "prosody"}, truth={"file": "elsewhere"},
    )  # fmt: skip
    text = write_card(student, evaluations=[own, teacher]).read_text()
    assert "| axis | this student | mean absolute error | loudness alone | the teacher `prosody` | share" in text
    row = next(line for line in text.splitlines() if line.startswith("| arousal | 0.800"))
    assert row.endswith("| 0.300 (0.200 to 0.400) | 0.850 (0.750 to 0.950) | 90.0% (80.0% to 100.0%) |")
    assert next(line for line in text.splitlines() if line.startswith("| valence | 0.400")).split(" | ")[3] == "-"
    assert "each speaker is answered by one through all the others" in text and text.count("### With") == 1


def test_sex_and_noise_are_told_and_speakers_are_not(student: Path, tmp_path: Path) -> None:
    part = {"n": 20, "ccc": {"arousal": score(0.7)}}
    slices = {"sex": {"female": part}, "snr": {">20 dB": part}, "speaker": {"S1": part}}
    text = write_card(student, evaluations=[evaluation(tmp_path, slices=slices)]).read_text()
    assert "| sex female | 20 | 0.700 (0.600 to 0.800) | - |" in text
    assert "| snr >20 dB | 20 |" in text and "SNR is estimated" in text and "S1" not in text


def test_robustness_of_the_same_answers_stands_with_them(student: Path, tmp_path: Path) -> None:
    limit = {"drop": 0.05, "change": None}
    found = {"ccc": {"arousal": 0.7}, "drop": {"arousal": score(0.1)}, "passed": False, "limit": limit}
    robust = evaluation(tmp_path, "r.json", robustness={"conditions": {"noise 10 dB": found}})
    sliced = evaluation(tmp_path, slices={"sex": {"female": {"n": 20, "ccc": {}}}})
    text = write_card(student, evaluations=[sliced, robust]).read_text()
    assert text.count("### With people's ratings") == 1 and "| sex female | 20 |" in text
    assert "| noise 10 dB | 0.700 (+0.100) | - | at most 0.05 lost: NOT kept |" in text


def test_an_evaluation_of_another_file_is_refused(student: Path, tmp_path: Path) -> None:
    other = evaluation(tmp_path, asked={"student": "wav2small", "precision": "float32", "sha256": "f" * 64})
    with pytest.raises(DistillError, match=r"e\.json: of another file than this student \(wav2small, float32"):
        write_card(student, evaluations=[other])
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize("option", ["evaluations", "training", "comparison"])
def test_what_is_something_else_is_refused(student: Path, tmp_path: Path, option: str) -> None:
    write_json(tmp_path / "else.json", {"n": 3})
    path: Any = tmp_path / "else.json"
    with pytest.raises(DistillError, match=r"else\.json: no "):
        write_card(student, **{option: [path] if option == "evaluations" else path})


def test_languages_and_a_note_are_told(student: Path) -> None:
    text = write_card(student, languages={"de": "German, acted", "en": "English"}, note="Two speakers.").read_text()
    assert ModelCard(text).data.language == ["de", "en"]
    assert "Languages that it has heard: **German, acted; English**" in text and "## How well\n\nTwo speakers." in text


def test_a_card_of_nothing_new_is_refused_and_the_one_that_is_there_stays(student: Path) -> None:
    before = {path.name: path.read_bytes() for path in student.parent.glob("*.md")}
    with pytest.raises(DistillError, match="nothing was given to write"):
        write_card(student)
    assert {path.name: path.read_bytes() for path in student.parent.glob("*.md")} == before


def test_the_command_writes_the_card(distill: Any, student: Path, tmp_path: Path) -> None:
    done = distill("card", student, "--evaluation", evaluation(tmp_path), "--language", "de=German", "--json")
    assert json.loads(done.stdout) == {"card": str(tmp_path / "README.md")}, done.stderr
    assert "With people's ratings" in (tmp_path / "README.md").read_text()
