"""What is read from label tables before a training, and the examples that it becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.errors import DistillError
from students.lessons import read_lessons


def test_one_table_or_several_are_read(make_labels: Any, tmp_path: Path) -> None:
    one, other = make_labels(tmp_path / "one", clips=4), make_labels(tmp_path / "other", clips=3)
    assert [len(table) for table in read_lessons(one).tables] == [4]
    lessons = read_lessons([one, str(other)])
    assert [len(table) for table in lessons.tables] == [4, 3]
    assert lessons.weights is None and lessons.embeddings is None


def test_embeddings_are_read_only_for_a_hint_that_takes_them(make_labels: Any, tmp_path: Path) -> None:
    labels = make_labels(tmp_path, dimensions=5)
    assert read_lessons(labels, hints={"match_embedding": 0.0, "relational": 0.0}).embeddings is None
    (rows,) = read_lessons(labels, hints={"match_embedding": 1.0, "relational": 0.0}).embeddings or []
    assert rows.shape == (12, 5)


def test_examples_follow_the_tables_row_by_row(make_labels: Any, tmp_path: Path) -> None:
    labels = [make_labels(tmp_path / name, clips=4, dimensions=5) for name in ("one", "other")]
    lessons = read_lessons(labels, hints={"match_embedding": 1.0, "relational": 0.0})
    examples = lessons.examples(None, None)
    assert [example.root for example in examples] == [tmp_path / "one/audio"] * 4 + [tmp_path / "other/audio"] * 4
    assert [example.group for example in examples[:4]] == ["speaker s0", "speaker s1", "speaker s2", "speaker s3"]
    assert lessons.embeddings is not None
    for example, row in zip(examples, np.concatenate(lessons.embeddings), strict=True):
        assert (example.embedding == row).all() and example.weight is None
    assert {example.root for example in lessons.examples(tmp_path, None)} == {tmp_path}


def test_a_table_that_does_not_tell_its_teacher_is_refused(make_labels: Any, tmp_path: Path) -> None:
    labels = make_labels(tmp_path)
    info = json.loads((labels / "labels.json").read_text())
    (labels / "labels.json").write_text(json.dumps({**info, "teacher": None}))
    with pytest.raises(DistillError, match="lacks teacher; label again"):
        read_lessons(labels)
