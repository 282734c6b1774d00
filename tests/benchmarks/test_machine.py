"""What is said of the machine: enough to read the figures by, and never a guess."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from importlib import metadata
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.machine import INSTRUCTION_SETS, describe, instruction_sets


@pytest.mark.parametrize(
    ("features", "there"),
    [(set(), []), ({"sse2", "ssse3"}, []), ({"avx2", "fma", "avx512f", "avx512_vnni"}, ["avx2", "fma", "avx512f",
      "avx512_vnni"]), ({"asimd", "asimddp", "i8mm", "sve"}, ["neon", "dotprod", "i8mm", "sve"]),
     ({"hw.optional.neon", "hw.optional.arm.feat_dotprod"}, ["neon", "dotprod"]), ({"neon"}, ["neon"])],
)  # fmt: skip
def test_features_of_linux_and_macos_are_one_vocabulary(features: set[str], there: list[str]) -> None:
    found = instruction_sets(features)
    assert [name for name, present in found.items() if present] == there
    assert list(found) == list(INSTRUCTION_SETS), "what is not there is said, too"


def test_the_description_is_plain_json_of_now() -> None:
    said = describe()
    assert json.loads(json.dumps(said)) == said
    age = datetime.now(timezone.utc) - datetime.fromisoformat(said["date"])
    assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(minutes=1) and said["date"].endswith("+00:00")
    assert said["threads"] == 1 and 1 <= said["cores"] <= (os.cpu_count() or 1)
    assert said["onnxruntime"] == metadata.version("onnxruntime")


def test_what_the_system_does_not_say_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> Any:
        raise ValueError("unrecognized configuration name")

    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine.os, "sysconf", refuse)
    monkeypatch.setattr(machine.metadata, "version", not_installed)
    said = describe()
    assert said["memory_bytes"] is said["distill"] is said["onnxruntime"] is None
