"""The stage in a real browser: halves, drag, keyboard, tiles, a phone."""

import pytest

from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser
LOWER, NOTHING = "#hide-lower_half", "#back"


def test_a_half_is_a_toggle_and_becomes_a_change(page):
    expect(page.locator('[data-row="now"] .stage-tile')).not_to_have_count(0)
    page.locator(LOWER).click()
    expect(page.locator(".stage-say")).to_contain_text("Without the lower half")
    expect(page.locator(LOWER)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    page.locator(LOWER).click()
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)
    expect(page.locator(".stage-block")).to_be_hidden()


def test_the_block_is_dragged_and_moved_by_keyboard(page):
    page.locator(LOWER).click()
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    block = page.locator(".stage-block")
    before = block.bounding_box()
    page.mouse.move(before["x"] + 60, before["y"] + 60)
    page.mouse.down()
    page.mouse.move(before["x"] + 60, before["y"] - 40, steps=5)
    page.mouse.up()
    expect(page.locator("#probe-line")).to_contain_text("box")
    assert before["y"] - block.bounding_box()["y"] == pytest.approx(100, abs=3)
    moved = block.bounding_box()
    block.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowUp")
    after = block.bounding_box()
    assert after["y"] > moved["y"] and after["height"] < moved["height"]
    page.keyboard.press("Delete")
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)


def test_a_tile_that_is_clicked_is_explained(page):
    page.locator('[data-row="now"] .stage-tile').nth(2).click()
    expect(page.locator("#why-heading")).to_contain_text("Match #3")
    expect(page.locator('[data-row="now"] .stage-tile.chosen')).to_have_count(1)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_sentence_probe_halves_and_list_are_on_the_first_screen(browser, address, width, height):
    shown = browser.new_page(viewport={"width": width, "height": height})
    shown.goto(address)
    expect(shown.locator('[data-row="now"] .stage-tile').first).to_be_visible()
    for place in (".stage-say", ".stage-probe", LOWER, NOTHING, '[data-row="now"]'):
        box = shown.locator(place).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height and box["x"] + box["width"] <= width, place
    assert shown.locator(LOWER).bounding_box()["height"] >= 44
    shown.close()
