"""What somebody else's package brings is found by its name, and refused in one line where it is no such thing."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest

from distill.annotation import LoadedTeacher
from distill.errors import DistillError
from distill.plugins import is_plugin, plugin


@pytest.mark.parametrize("name", ["a:B", "a.b.c:D", "_a._b:_C", "a1:B2"])
def test_names_of_plugins(name: str) -> None:
    assert is_plugin(name)


@pytest.mark.parametrize(
    "name", ["", "a", ":B", "a:", "a.b", "a..b:C", "1a:B", "a:1", "a:B.c", "a:B:C", "a/b:C", "a: B"]
)
def test_names_that_are_none(name: str) -> None:
    assert not is_plugin(name)


def test_a_plugin_is_the_class_itself() -> None:
    assert plugin("collections:OrderedDict", dict) is OrderedDict


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("no_such_package.at_all:X", r"cannot be imported \(No module named 'no_such_package'\); is its package"),
        ("collections:NoSuchClass", "cannot be imported .*NoSuchClass"),
        ("math:pi", "is no dict"),
        ("json:dumps", "is no dict"),
        ("collections:deque", "is no dict"),
    ],
)
def test_what_is_no_such_class_is_refused_by_name(name: str, fault: str) -> None:
    with pytest.raises(DistillError, match=f"^{name}: {fault}"):
        plugin(name, dict)


def test_a_protocol_is_met_by_its_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugin_of_a_test.py").write_text(
        "class With:\n    @classmethod\n    def load(cls):\n        return cls()\n\nclass Without:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert plugin("plugin_of_a_test:With", LoadedTeacher).__name__ == "With"
    with pytest.raises(DistillError, match="is no LoadedTeacher"):
        plugin("plugin_of_a_test:Without", LoadedTeacher)


def test_a_package_that_lacks_one_of_its_own_names_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking_plugin_of_a_test.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DistillError, match="No module named 'no_such_dependency'"):
        plugin("lacking_plugin_of_a_test:X", object)
