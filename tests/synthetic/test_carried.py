"""Tables of bags and hats."""

import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic import carried


def test_bags_and_hats_have_builders():
    assert set(carried.BAG_WEIGHTS) == {"none", *carried.WORN_BAGS, *carried.HELD_BAGS}
    assert set(carried.HAT_WEIGHTS) == {"none", *carried.HATS}
    assert set(carried.HELD) == set(carried.HELD_BAGS)
