"""Intervals against known values, and tables that find their place in a document."""

import numpy as np
import pytest

from reid_demo.errors import ConfigError
from reid_demo.measuring import intervals


def test_the_bootstrap_agrees_with_the_normal_approximation():
    values = np.random.default_rng(3).normal(2, 1, 400)
    found = intervals.bootstrap(values)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean(), abs=1e-4)
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)
    assert found == intervals.bootstrap(values) != intervals.bootstrap(values, seed=1)


def test_wilson_by_its_published_example():
    # Newcombe (1998), Table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert (intervals.wilson(81, 263).low, intervals.wilson(81, 263).high) == (0.2553, 0.3662)
    assert (intervals.wilson(0, 20).low, intervals.wilson(0, 20).high) == (0, pytest.approx(0.1611, abs=1e-4))


def test_an_empty_sample_is_refused():
    for count in (lambda: intervals.bootstrap([]), lambda: intervals.wilson(0, 0)):
        with pytest.raises(ConfigError, match="sample is empty"):
            count()


def test_a_table_replaces_what_stood_in_its_place(tmp_path):
    path = tmp_path / "numbers.md"
    path.write_text("before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n")
    text = intervals.table(("who", "share"), [("all", intervals.Interval(0.5, 0.4, 0.6))])
    for _ in range(2):
        intervals.put(path, "a", text)
    assert path.read_text() == (
        "before\n<!-- a -->\n| who | share |\n| --- | ---: |\n"
        "| all | 0.500 (0.400 to 0.600) |\n<!-- end of a -->\nafter\n"
    )
    with pytest.raises(ConfigError, match="no place for 'b'"):
        intervals.put(path, "b", text)
