"""Distil a large speech-emotion teacher into a student that fits a hearing aid.

One public function a stage, the same for the commands and for Python; each room is imported when it is asked for.

>>> import distill
>>> distill.predict.__module__
'distill.predict'
"""

import sys
from types import ModuleType
from typing import Any

_STAGES = {
    "label": "teacher.labelling:label",
    "train_student": "students.training:train_student",
    "export": "export.exporting:export",
    "benchmark": "benchmarks.benchmark:benchmark",
    "predict": "distill.predict:predict",
    "evaluate": "distill.evaluate:evaluate",
}

__all__ = ["benchmark", "evaluate", "export", "label", "predict", "train_student"]


def __getattr__(name: str) -> Any:
    if name not in _STAGES:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    from distill.cli import find

    return find(_STAGES[name])


class _Package(ModuleType):
    """Keeps a stage's name for its function: importing the module `distill.predict` would put the module there."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _STAGES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
