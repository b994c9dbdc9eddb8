"""Bars and pictures as HTML: the numbers add up, and text cannot become tags."""

import base64
import re

import cv2
import numpy as np
import pytest

from reid_demo.drawing import figures

TABLE = figures.BarTable("terms", "sum")


def test_signed_bars_state_every_number_and_their_sum():
    table = figures.signed_bars(["global", "<b>"], np.array([0.75, -0.25]), TABLE)
    assert "+0.7500" in table and "−0.2500" in table and ">0.5000<" in table
    assert "&lt;b&gt;" in table and "<b>" not in table
    for left, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", table):
        assert 0 <= float(left) and float(left) + float(width) <= 100.01


@pytest.mark.parametrize(
    ("value", "form", "said"),
    [
        (0.25, "+.3f", "+0.250"),
        (-0.25, "+.3f", "−0.250"),
        (-0.25, ".2f", "−0.25"),
        (0.25, ".2f", "0.25"),
        (-0.0004, "+.3f", "0.000"),
        (0.0004, "+.3f", "0.000"),
        (-0.0, ".1f", "0.0"),
        (-12, "+d", "−12"),
        (0, "+d", "0"),
        (-0.00123, "+.3g", "−0.00123"),
    ],
)
def test_numbers_for_people_have_a_true_minus_and_zero_has_no_sign(value, form, said):
    assert figures.number(value, form) == said


def test_bars_of_nothing_do_not_fail():
    assert "0.0000" in figures.signed_bars([], np.array([]), TABLE)
    assert "table" in figures.paired_bars([], ("a", "b"), "none")


def test_image_tag_escapes_its_words():
    assert '"><script' not in figures.picture(np.zeros((4, 4, 3), np.uint8), '"><script>')


def test_thin_lines_of_colour_keep_it():
    """A heatmap's edge is one pixel wide; a JPEG that halves the resolution of colour blurs it (by 73 levels here)."""
    lines = np.zeros((32, 16, 3), np.uint8)
    lines[:, ::2], lines[:, 1::2] = (230, 60, 40), (40, 110, 230)
    kind, _, data = figures.picture_uri(lines).partition(";base64,")
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert kind == "data:image/jpeg"
    assert np.abs(shown.astype(int) - lines).mean() < 3
