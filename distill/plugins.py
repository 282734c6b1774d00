"""Teachers and students of somebody else's package, by the name they are imported under: "package.module:Class"."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from distill.errors import DistillError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_plugin(name: str) -> bool:
    """Whether a name has the form of one.

    >>> is_plugin("my_package.teachers:Mine"), is_plugin("prosody"), is_plugin("mean:prosody,odyssey")
    (True, False, False)
    """
    return bool(_NAME.fullmatch(name))


def plugin(name: str, kind: type) -> Any:
    """The class that a name stands for. It is imported from what is installed here, never from a folder of weights.

    kind: what it has to be a subclass of, or a protocol whose methods it has to have.

    >>> plugin("pathlib:PurePath", object).__name__
    'PurePath'

    Raises:
        DistillError: it cannot be imported, or is of another kind.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise DistillError(
            f"{name}: cannot be imported ({error}); is its package installed, or on PYTHONPATH?"
        ) from None
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise DistillError(f"{name}: is no {kind.__name__}")
    return found
