"""Who is asked, what is heard, and what computes: the values that a run is made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError
from teacher import engines
from teacher.asked import Asked, Task
from teacher.catalogue import absolute, card_of, open_teacher
from teacher.engines import Local, Ray, engine_of
from teacher.source import Source
from teacher.views import Views


def source(**given: Any) -> Source:
    nothing = dict.fromkeys(("audio", "where", "window", "hop", "cache"))
    return Source(**{"path": "recordings", **nothing, "vad": False, "vad_threshold": 0.5, "vad_pause": 0.3,
                     "cache_gb": 20.0, **given})  # fmt: skip


@pytest.mark.parametrize(
    ("given", "window", "hop"),
    [({}, 30.0, 30.0), ({"window": 5.0}, 5.0, 5.0), ({"window": 5.0, "hop": 2.5}, 5.0, 2.5), ({"hop": 1.0}, 30.0, 1.0),
     ({"window": 0.3}, 0.3, 0.3), ({"window": 30.0, "hop": 30.0}, 30.0, 30.0)],
)  # fmt: skip
def test_recordings_are_cut_as_the_teacher_takes_them(quick: Any, given: Any, window: float, hop: float) -> None:
    cut = source(**given).cut_for(quick.card)
    assert (cut.window, cut.hop, cut.find) == (window, hop, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"window": 30.1}, "--window 30.1: quick takes clips of 0.3 to 30 s"), ({"window": 0.29}, "--window 0.29"),
     ({"hop": 31.0}, "at most the window of 30 s"), ({"window": 2.0, "hop": -1.0}, "--hop -1: must be above 0")],
)  # fmt: skip
def test_a_cut_that_the_teacher_does_not_take_is_refused(quick: Any, given: Any, said: str) -> None:
    with pytest.raises(DistillError, match=said):
        source(**given).cut_for(quick.card)


def test_a_source_has_one_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    here = source(path="a").name()
    monkeypatch.chdir(tmp_path / "a")
    assert source(path=".").name() == source(path="../a").name() == source(path=tmp_path / "a").name() == here
    assert source(path="s3://bucket/s-{0..9}.tar").name() == "s3://bucket/s-{0..9}.tar"


@pytest.mark.parametrize("gigabytes", [float("inf"), float("nan"), -0.5])
def test_a_cache_has_a_size(gigabytes: float) -> None:
    with pytest.raises(DistillError, match=r"--cache-gb .*: must be gigabytes, 0 or more"):
        source(cache_gb=gigabytes)


# Who is asked --------------------------------------------------------------------------------------------------------


def test_views_are_asked_for_by_more_than_one(quick: Any) -> None:
    assert Asked("taught").open() is quick
    seen = Asked("taught", views=3).open()
    assert isinstance(seen, Views) and seen.views == 3 and seen.annotator is quick and seen.card is quick.card
    for views in (0, -1):
        with pytest.raises(DistillError, match=f"--views {views}: a clip is answered at least once"):
            Asked("taught", views=views)


def test_who_reads_the_manifest_has_no_views() -> None:
    with pytest.raises(DistillError, match="--views 2: ratings reads the manifest too, of which there are no views"):
        Asked("ratings", views=2).open()


def test_paths_among_a_teacher_s_name_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor of a cluster works in another folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "odyssey").mkdir()
    (tmp_path / "t.onnx").write_bytes(b"")
    there = tmp_path.as_posix()
    names = {
        "mine": f"{there}/mine", "./mine": f"{there}/mine", "t.onnx": f"{there}/t.onnx", "odyssey": "odyssey",
        "prosody": "prosody", "owner/name@v1": "owner/name@v1", "ratings:arousal": "ratings:arousal",
        "llm:config.yaml": f"llm:{there}/config.yaml", "mean:mine,prosody": f"mean:{there}/mine,prosody",
        "mean:llm:a/b.yaml,t.onnx": f"mean:llm:{there}/a/b.yaml,{there}/t.onnx",
    }  # fmt: skip
    assert {name: absolute(name) for name in names} == names
    assert all(absolute(name) == name for name in names.values())


def test_a_language_model_is_found_from_another_folder(
    configure: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    monkeypatch.chdir(tmp_path)
    name = absolute("llm:llm.yaml")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert open_teacher(name).card == card_of(name)


@pytest.mark.parametrize("name", ["mean:prosody,nobody", "nobody", "llm:nowhere.yaml", "ratings:joy", "../nowhere"])
def test_a_teacher_that_is_none_is_refused_from_its_card_on(name: str) -> None:
    for ask in (card_of, open_teacher):
        with pytest.raises(DistillError) as caught:
            ask(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ratings", "llm:config.yaml", "prosody", "mean:prosody,ratings:arousal"])
def test_reduced_precision_is_for_encoders_alone(name: str) -> None:
    with pytest.raises(DistillError, match=r"--precision bfloat16: .* computes in float32 alone; label without it"):
        open_teacher(name, "cpu", "bfloat16")


# What computes -------------------------------------------------------------------------------------------------------


def test_an_engine_is_known_by_its_name() -> None:
    assert engine_of("local", jobs=3) == Local(3) and engine_of("ray", "host:6379", 2) == Ray("host:6379", 2)
    with pytest.raises(DistillError, match="--engine slurm: there are local, ray"):
        engine_of("slurm")
    with pytest.raises(DistillError, match="--address auto: only the cluster of --engine ray has one"):
        engine_of("local", "auto")


@pytest.mark.parametrize(
    ("jobs", "own_threads", "most", "taken"),
    [(None, False, 99, 6), (None, True, 99, 1), (2, False, 99, 2), (8, True, 3, 3)],
)
def test_no_more_processes_are_started_than_there_are_batches(
    quick: Any, monkeypatch: pytest.MonkeyPatch, jobs: int | None, own_threads: bool, most: int, taken: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(engines, "annotate_batches", lambda batches, task, annotator, count: asked.append(count))
    quick.card = replace(quick.card, own_threads=own_threads)
    Local(jobs).annotate([], Task(Path(), Asked("taught", "cpu")), quick, most)
    assert asked == [taken]
