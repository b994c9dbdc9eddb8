"""Tables of clothes."""

import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic import fabrics, garments


def test_garments_name_patterns_that_exist():
    for table in (garments.TOPS, garments.COATS, garments.BOTTOMS):
        for row in table.values():
            assert set(row.patterns) <= set(fabrics.PATTERNS)
