"""Small checkpoints in the published format, one of each kind; a chat server that does as it is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.teacher import checkpoints
from tests.teacher.chat import Chat, serving

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a hub


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """{name: folder} of every kind, and of "vox-profile with lora"; not to be changed."""
    root = tmp_path_factory.mktemp("published")
    made = {kind: checkpoints.write(kind, root / kind) for kind in checkpoints.KINDS}
    return {**made, "vox-profile with lora": checkpoints.write("vox-profile", root / "lora", lora=True)}


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    """A chat server that answers well until it is told otherwise."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def configure(chat: Chat, tmp_path: Path) -> Callable[..., Path]:
    """configure(key=value, ...): a configuration for the chat server, as a file; its cache is tmp_path/cache."""

    def write(**keys: Any) -> Path:
        path = tmp_path / "llm.yaml"
        quick = {"url": chat.url, "model": "made-up", "cache": "cache", "backoff": 0.01, "timeout": 5}
        path.write_text(json.dumps({**quick, **keys}))  # JSON is YAML
        return path

    return write
