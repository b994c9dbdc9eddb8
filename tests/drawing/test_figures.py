"""Bars and pictures as HTML: the numbers add up, and text cannot become tags."""

import re

import numpy as np

from reid_demo.drawing import figures

TABLE = figures.BarTable("terms", "sum")


def test_signed_bars_state_every_number_and_their_sum():
    table = figures.signed_bars(["global", "<b>"], np.array([0.75, -0.25]), TABLE)
    assert "+0.7500" in table and "-0.2500" in table and ">0.5000<" in table
    assert "&lt;b&gt;" in table and "<b>" not in table
    for left, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", table):
        assert 0 <= float(left) and float(left) + float(width) <= 100.01


def test_bars_of_nothing_do_not_fail():
    assert "0.0000" in figures.signed_bars([], np.array([]), TABLE)
    assert "table" in figures.paired_bars([], ("a", "b"), "none")


def test_image_tag_escapes_its_words():
    assert '"><script' not in figures.picture(np.zeros((4, 4, 3), np.uint8), '"><script>')
