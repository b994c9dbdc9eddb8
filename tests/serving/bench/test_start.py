"""The start of the page is measured on the real one."""

import pytest

from reid_demo.errors import ReidError
from reid_demo.serving.bench.start import AIMS, bench_start


def test_a_start_is_timed_and_its_memory_read(tiny_weights, tiny_gallery_folder):
    rows = bench_start(["--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder)], repeats=1)
    took, *memory = rows
    assert took.unit == "s" and 0.5 < took.value < 120 and took.reference == AIMS["s"]
    assert took.ratio == pytest.approx(AIMS["s"] / took.value)
    for row in memory:
        assert row.unit == "GB" and 0.1 < row.value < 1.2


def test_a_page_that_does_not_start_is_an_error(tmp_path):
    with pytest.raises(ReidError, match="did not start"):
        bench_start(["--gallery", str(tmp_path / "missing")], repeats=1)
