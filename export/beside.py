"""What lies beside a student that is in place: golden vectors, and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill import runs
from distill.golden import Clip, write_golden
from export.golden import golden_clips
from export.readme import Known, write_readme
from export.source import Source


def write_beside(
    run: Path, source: Source, described: Mapping[str, Any], output: Path, *, synthetic: bool = False
) -> None:
    """Write golden vectors and model card of the student `output`, which was exported from `run`.

    synthetic: golden vectors of synthesised clips, even where the recordings might be handed on.
    """
    clips, licence = golden_of(source, synthetic=synthetic)
    write_golden(output, clips, audio_licence=licence)
    write_readme(output, described, Known(runs.read_result(run)))


def golden_of(source: Source, *, synthetic: bool = False) -> tuple[list[Clip], str]:
    """The clips of a student's golden vectors, and the licence they are handed on under."""
    return golden_clips(source.held_out, source.config["lineage"], synthetic=synthetic)
