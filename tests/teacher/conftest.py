"""Small checkpoints in the published format, one of each kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.teacher import checkpoints

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a hub


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """{name: folder} of every kind, and of "vox-profile with lora"; not to be changed."""
    root = tmp_path_factory.mktemp("published")
    made = {kind: checkpoints.write(kind, root / kind) for kind in checkpoints.KINDS}
    return {**made, "vox-profile with lora": checkpoints.write("vox-profile", root / "lora", lora=True)}
