"""A hub id becomes a folder: from the cache without a network, downloaded once, or one clear line. No hub is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants, errors

from distill.errors import DistillError
from teacher.catalogue import card_of, open_teacher
from teacher.published import hub
from teacher.published.cards import FAMILIES
from teacher.tuning.backbone import find_backbone
from teacher.tuning.text import find_text_encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ODYSSEY = FAMILIES["odyssey"].card.source


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's library."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def keep(cache: Path, hub_id: str, checkpoint: Path, *, without: str = "") -> None:
    """What a download leaves in the cache."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(checkpoint, snapshot, dirs_exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    if without:
        (snapshot / without).unlink()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """answering(error_or_model): what the hub says to the question for a model."""

    def install(answer: Any) -> None:
        def model_info(self: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer() if callable(answer) else answer

        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)

    yield install


def http(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "no")
    return error


def test_what_was_downloaded_needs_no_network(cache: Path, published: Mapping[str, Path], answering: Any) -> None:
    answering(AssertionError("the hub was asked"))
    keep(cache, ODYSSEY, published["odyssey"])
    teacher = open_teacher("odyssey", "cpu")
    assert teacher.card.revision == COMMIT and teacher.card.licence == "MIT"
    assert open_teacher(f"{ODYSSEY}@{COMMIT}", "cpu").card.revision == COMMIT
    assert np.isfinite(teacher.annotate(np.ones((1, 16000), np.float32), [16000], 16000).adv).all()


def test_another_repository_of_a_known_architecture_has_no_licence_but_its_own(
    cache: Path, published: Mapping[str, Path]
) -> None:
    keep(cache, "somebody/tuned", published["audeering"])
    card = open_teacher("somebody/tuned", "cpu").card
    assert (card.name, card.source, card.revision) == ("somebody/tuned", "somebody/tuned", COMMIT)
    assert card.licence == card.data_licence == "unknown"


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_an_interrupted_download_is_not_taken_for_a_checkpoint(
    cache: Path, published: Mapping[str, Path], answering: Any, lost: str
) -> None:
    keep(cache, ODYSSEY, published["odyssey"], without=lost)
    answering(ConnectionError("no network"))
    with pytest.raises(DistillError, match="cannot be reached"):
        open_teacher("odyssey", "cpu")


def test_a_download_takes_the_commit_and_no_code(
    cache: Path, published: Mapping[str, Path], answering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ["config.json", "README.md", "modeling_ser.py", "model.safetensors", "pytorch_model.bin", "optimizer.pt"]
    answering(SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename=name) for name in files]))
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        if options.get("local_files_only"):
            raise errors.LocalEntryNotFoundError("not there")
        asked.update(options)
        keep(cache, repository, published["odyssey"])
        return str(next(cache.glob("models--*/snapshots/*")))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder, revision = hub.fetch(ODYSSEY)
    assert revision == COMMIT == asked["revision"] and (folder / "config.json").is_file()
    assert asked["allow_patterns"] == ["config.json", "README.md", "model.safetensors"]


def test_what_there_is_instead_is_of_the_option_that_named_it(cache: Path, answering: Any) -> None:
    answering(ConnectionError("no network"))
    with pytest.raises(DistillError, match=r"reached; there is a folder with its files \(--backbone FOLDER\)$"):
        find_backbone(ODYSSEY)
    with pytest.raises(DistillError, match=r"there is a folder with its files \(--text-encoder FOLDER\)$"):
        find_text_encoder(ODYSSEY)


@pytest.mark.parametrize(
    ("error", "word"),
    [(ConnectionError("no network"), "cannot be reached.*--teacher prosody.*--teacher FOLDER"),
     (http(errors.OfflineModeIsEnabled), "cannot be reached"), (http(errors.GatedRepoError), "HF_TOKEN"),
     (http(errors.RepositoryNotFoundError), "knows no such model"),
     (http(errors.RevisionNotFoundError), "knows no such model")],
)  # fmt: skip
def test_a_hub_that_does_not_answer_is_one_line(cache: Path, answering: Any, error: Exception, word: str) -> None:
    answering(error)
    with pytest.raises(DistillError, match=word) as caught:
        open_teacher("odyssey")
    assert "\n" not in str(caught.value)


def test_a_repository_without_weights_is_refused(cache: Path, answering: Any) -> None:
    answering(SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename="config.json")]))
    with pytest.raises(DistillError, match="no weights to be read"):
        hub.fetch("somebody/empty")


def test_a_hub_that_never_answers_is_given_up(cache: Path, answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.05)
    released = threading.Event()
    answering(lambda: released.wait(30))
    with pytest.raises(DistillError, match="cannot be reached"):
        hub.fetch("somebody/slow")
    released.set()


def test_patience_leaves_the_line_within_five_seconds() -> None:
    assert hub.PATIENCE < 4.5


def test_the_command_says_it_without_a_network(tmp_path: Path, corpus: Path) -> None:
    """In a process of its own, with an empty cache: whether there is a network here or not, none is used."""
    done = subprocess.run(
        [sys.executable, "-m", "distill", "label", str(corpus), "-o", str(tmp_path / "labels")],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "--teacher prosody" in done.stderr and "--teacher FOLDER" in done.stderr
    assert not (tmp_path / "labels").exists()


def test_a_card_is_known_before_anything_is_downloaded(answering: Any) -> None:
    answering(AssertionError("the hub was asked"))
    mean = card_of("mean:odyssey,audeering")
    assert mean is not None and mean.licence == "CC-BY-NC-SA-4.0" and "restricted" in mean.data_licence
    assert card_of(ODYSSEY) == FAMILIES["odyssey"].card
    assert card_of("somebody/unheard-of") is None
