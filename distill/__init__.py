"""Distil a large speech-emotion teacher into a student that fits a hearing aid.

One public function a stage, the same for the commands and for Python; each room is imported when it is asked for.

>>> import distill
>>> distill.predict.__module__
'distill.prediction'
"""

from typing import Any

_STAGES = {
    "label": "teacher.labelling:label",
    "train_teacher": "teacher.training:train_teacher",
    "train_student": "students.training:train_student",
    "export": "export.exporting:export",
    "card": "export.readme:card",
    "benchmark": "benchmarks.benchmark:benchmark",
    "predict": "distill.prediction:predict",
    "check": "distill.golden:check",
    "evaluate": "distill.evaluation:evaluate",
    "run": "distill.recipe:run_recipe",
}

__all__ = [
    "benchmark",
    "card",
    "check",
    "evaluate",
    "export",
    "label",
    "predict",
    "run",
    "train_student",
    "train_teacher",
]


def __getattr__(name: str) -> Any:
    if name not in _STAGES:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    from distill.cli import find

    return find(_STAGES[name])
