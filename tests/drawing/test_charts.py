"""Charts parse as XML and contain their text and numbers."""

import re
from xml.etree import ElementTree

import pytest

from reid_demo.drawing.charts import RIGHT, WRONG, Curve, Slope, curves, slopes

SVG = "{http://www.w3.org/2000/svg}"


def test_slope_labels_stand_inside_the_picture():
    rows = [Slope("id 20085 · camera 14", 3, 1, RIGHT), Slope("id 7", 1, 12, WRONG)]
    chart = ElementTree.fromstring(slopes(rows, 10, "title", ("before", "after"), "beyond"))
    width = float(chart.get("viewBox").split()[2])
    labels = [text for group in chart.iter(f"{SVG}g") for text in group.findall(f"{SVG}text")]
    assert {"id 20085 · camera 14", "id 7"} <= {label.text for label in labels}
    for group in chart.iter(f"{SVG}g"):
        for text in group.findall(f"{SVG}text"):
            reach = 7.5 * len(text.text)
            x = float(text.get("x"))
            assert (x - reach >= 0) if group.get("text-anchor") == "end" else (x + reach <= width)


def test_a_chart_of_nothing_is_still_a_chart():
    assert ElementTree.fromstring(slopes([], 10, "title", ("before", "after"), "beyond")).tag.endswith("svg")


@pytest.mark.parametrize("words", ["<b>", "a & b"])
def test_words_are_escaped(words):
    chart = ElementTree.fromstring(slopes([Slope(words, 1, 2, RIGHT)], 10, words, (words, words), words))
    assert words in {text.text for text in chart.iter(f"{SVG}text")}


@pytest.mark.parametrize(("upper", "lower"), [(1.0, 0.98), (0.5, 0.49), (0.49, 0.5), (0.02, 0.0), (0.98, 1.0)])
def test_names_of_curves_stand_in_their_order_clear_of_each_other_and_of_the_title(upper, lower):
    pair = [Curve("R-1", [(0, 1), (0.5, upper)]), Curve("mAP", [(0, 1), (0.5, lower)])]
    drawn = curves(pair, "Title", "hidden")
    heights = [float(re.search(rf'y="([\d.]+)"[^>]*>{name}<', drawn)[1]) for name in ("R-1", "mAP")]
    title = float(re.search(r'y="([\d.]+)"[^>]*>Title<', drawn)[1])
    assert abs(heights[0] - heights[1]) > 14 and min(heights) > title + 14 and max(heights) < 280
    if 0.1 < upper < 0.9:  # in the middle there is room for the lines' own order
        assert (heights[0] < heights[1]) == (upper > lower)
