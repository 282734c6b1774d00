"""One order of the three axes, everywhere."""

import numpy as np
import pytest

from distill.annotation import AXES, axis_columns, shown_axes


def test_the_order() -> None:
    assert AXES == ("arousal", "dominance", "valence")
    assert shown_axes(["valence", "dominance", "arousal"]) == AXES


def test_an_unknown_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown axis 'tension'"):
        shown_axes(["arousal", "tension"])


def test_lacking_answers_become_nan() -> None:
    columns = axis_columns([(0.5, None, 0.25), (None, None, None)])
    assert columns.dtype == np.float32
    np.testing.assert_array_equal(columns, [[0.5, np.nan, 0.25], [np.nan] * 3])
    assert axis_columns([]).shape == (0, 3)
