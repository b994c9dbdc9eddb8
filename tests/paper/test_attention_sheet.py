"""The sheet has one row per image and one column per template, on one scale, whatever the images' sizes."""

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import main
from reid_demo.config import variant
from reid_demo.drawing import overlays
from reid_demo.errors import ConfigError
from reid_demo.model.describer import Describer
from reid_demo.model.dpti import build_model
from reid_demo.paper.attention_sheet import GAP, HEAD, HEIGHT, WIDTH, attention_sheet


def cell(sheet, row, column):
    top, left = HEAD + row * (HEIGHT + GAP), GAP + column * (WIDTH + GAP)
    return sheet[top : top + HEIGHT, left : left + WIDTH]


@pytest.mark.parametrize("maps", ["template", "part"])
def test_rows_are_images_and_columns_their_maps(maps, tiny_describer):
    images = [draw_person(1, 1), draw_person(2, 1, 90, 50)]
    sheet = attention_sheet(tiny_describer, images, maps=maps)
    assert sheet.shape == (24 + 2 * 200 + 44, 8 + 9 * 104, 3) and sheet.dtype == np.uint8
    for row, image in enumerate(images):
        descriptor = tiny_describer.describe([image])[0]
        heats = descriptor.template_attention if maps == "template" else descriptor.part_attention
        np.testing.assert_allclose(cell(sheet, row, 0).mean((0, 1)), image.mean((0, 1)), atol=6)
        for column, heat in enumerate(heats, start=1):
            wanted = overlays.heat_overlay(image, heat).astype(int)
            assert np.abs(cell(sheet, row, column) - wanted).max() <= 2  # alone or in a batch
    assert (cell(sheet, 0, 1) != cell(sheet, 0, 2)).any() or maps == "part"
    foot = sheet[-44:]
    for value in (0.0, overlays.FULL_SCALE):  # the scale's own ends are drawn
        assert (foot == overlays.colours(np.array(value))).all(axis=2).any()


def test_networks_without_such_maps_are_refused(tiny_describer):
    small = {"dim": 16, "ffn_dim": 16}
    image = [draw_person(1, 1)]
    with pytest.raises(ConfigError, match="variant G"):
        attention_sheet(Describer(build_model(variant("G", **small))), image)
    static = Describer(build_model(variant("G+T", **small)))
    with pytest.raises(ConfigError, match="--maps part"):
        attention_sheet(static, image)
    assert attention_sheet(static, image, maps="part").shape[0] == 268
    with pytest.raises(ConfigError, match="Unknown maps"):
        attention_sheet(tiny_describer, image, maps="odd")
    with pytest.raises(ConfigError, match="at least one image"):
        attention_sheet(tiny_describer, [])


def test_the_command_writes_a_png(tmp_path, tiny_weights, capsys):
    Image.fromarray(draw_person(1, 1)).save(tmp_path / "a.png")
    options = ["--weights", str(tiny_weights), "--device", "cpu", "--out", str(tmp_path / "deep" / "sheet.png")]
    assert main(["attention-sheet", str(tmp_path / "a.png"), *options]) == 0
    assert Image.open(tmp_path / "deep" / "sheet.png").size == (944, 268)
    assert main(["attention-sheet", str(tmp_path / "gone.png"), *options]) == 1
    assert "gone.png" in capsys.readouterr().err
