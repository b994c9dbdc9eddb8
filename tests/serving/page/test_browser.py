"""Journeys in a real browser: open, choose an example, hide, paint, search, see why; bad files; a phone."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser


def test_hide_search_and_see_why(page, paint):
    expect(page.locator("#probe-line")).to_contain_text("person 2")
    page.locator("[data-example]").nth(1).click()
    expect(page.locator("#probe-line")).to_contain_text("person 50")
    expect(page.locator("#status")).to_contain_text("not in the gallery")
    page.locator("[data-example]").first.click()
    expect(page.locator("#probe-line")).to_contain_text("person 2")

    page.get_by_role("button", name=text.OCCLUDERS["lower_half"], exact=True).click()
    expect(page.locator("#probe-line")).to_contain_text("lower half (mean grey)")
    expect(page.locator("#status")).to_contain_text("untouched")
    paint()  # searched when the stroke ends
    expect(page.locator("#probe-line")).to_contain_text("painted (mean grey)")

    page.locator("#strip .thumbnail-item").nth(2).click()
    expect(page.locator("#why-heading")).to_contain_text("Match #3")
    expect(page.locator("#why article img")).to_have_count(16)
    total = page.locator("#why .bars tfoot .number").inner_text()
    assert total in page.locator("#why-heading").inner_text()
    expect(page.locator("#earned")).to_contain_text("What earned #3")
    expect(page.locator("#earned")).not_to_contain_text(text.EARNED_WAIT)  # its coming moves what is below
    page.locator("#why tr.part-3").hover()
    for over in page.locator("#why .over-3").all():
        expect(over).to_have_css("opacity", "1")
    expect(page.locator("#why .over-4").first).to_have_css("opacity", "0")
    chosen = page.locator('[data-row="now"] .stage-tile.chosen, [data-row="before"] .stage-tile.chosen').first
    chosen = chosen.get_attribute("data-index")

    page.locator("#undo").click()  # the stroke, which came last; the half is on top
    expect(page.locator("#probe-line")).not_to_contain_text("painted")
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    page.locator("#back").click()
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)
    expect(page.locator(".stage-tile.chosen").first).to_have_attribute("data-index", chosen)  # through all changes


def test_strokes_lie_under_the_block_and_are_one_change(page, paint):
    paint()
    expect(page.locator(".stage-chip")).to_have_count(1)
    page.locator("#more").click()
    page.locator("#hide-lower_third").click()
    expect(page.locator("#probe-line")).to_contain_text("painted (mean grey) → lower third (mean grey)")
    paint((0.45, 0.2), (0.5, 0.2))
    page.wait_for_timeout(1000)
    expect(page.locator("#probe-line")).to_contain_text("painted (mean grey) → lower third (mean grey)")
    page.locator("#more").click()
    page.locator("#fill").select_option("black")
    expect(page.locator("#probe-line")).to_contain_text("painted (black) → lower third (black)")
    page.locator(".stage-chip").first.click()
    expect(page.locator("#probe-line")).to_contain_text("Changes: lower third (black)")


def test_a_swipe_over_the_probe_paints_nothing_unless_the_brush_was_chosen(page):
    box = page.locator(".stage-probe").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 200, steps=5)
    page.mouse.up()
    page.wait_for_timeout(500)
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)


def test_a_crop_by_hand_is_searched_at_once(page):
    page.locator("#more").click()
    page.locator("#crop-by-hand").click()
    frame = page.locator(".stage-block")
    frame.focus()
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+ArrowUp")
    page.locator("#crop-now").click()
    expect(page.locator("#probe-line")).to_contain_text("Changes: crop")
    expect(page.locator("#probe-line")).to_contain_text(
        re.compile(r"person 2: \d+ x \d+ px, id 2")
    )  # still the example
    assert int(re.search(r"x (\d+) px", page.locator("#probe-line").inner_text())[1]) < 110
    page.locator("#undo").click()
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)


def test_the_probe_stands_in_its_own_proportions(page):
    wide = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    page.get_by_test_id(f"{text.UPLOAD}-upload-button").set_input_files(
        {"name": "wide.png", "mimeType": "image/png", "buffer": png(wide)}
    )
    expect(page.locator("#probe-line")).to_contain_text("120 x 60")
    page.wait_for_timeout(500)
    box = page.locator(".stage-probe").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(2, rel=0.03)


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)


def animated() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_bad_file_is_one_sentence_and_changes_nothing(page):
    page.locator("#hide-upper_half").click()
    expect(page.locator("#probe-line")).to_contain_text("upper half")
    before = page.locator("#strip .thumbnail-item").all_inner_texts()
    bad = {
        "text.jpg": (b"this is no picture", "not an image that can be read"),
        "cut.png": (png(PICTURE)[:6000], "damaged or cut short"),
        "wide.png": (png(np.zeros((20, 20_000, 3), np.uint8)), "20000 x 20 pixels"),
        "dot.png": (png(PICTURE[:4, :4]), "each side needs at least"),
    }
    for name, (data, sentence) in bad.items():
        page.get_by_test_id(f"{text.UPLOAD}-upload-button").set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": data}
        )
        expect(page.get_by_text(sentence).first).to_be_visible()
    expect(page.locator("#probe-line")).to_contain_text("upper half")
    assert page.locator("#strip .thumbnail-item").all_inner_texts() == before


def test_odd_but_good_files_are_searched(page):
    good = {
        "animated.gif": animated(),
        "sixteen.png": png(np.full((128, 65), 40_000, np.uint16)),
        "cmyk.jpg": cmyk(),
        "palette.png": png(PICTURE[:, :60].copy(), "P"),
    }
    sizes = {"animated.gif": "64 x 128", "sixteen.png": "65 x 128", "cmyk.jpg": "64 x 128", "palette.png": "60 x 128"}
    for name, data in good.items():
        page.get_by_test_id(f"{text.UPLOAD}-upload-button").set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": data}
        )
        expect(page.locator("#probe-line")).to_contain_text(f"{text.UPLOADED}: {sizes[name]}")
        page.locator("[data-example]").first.click()
        expect(page.locator("#probe-line")).to_contain_text("person 2")


def test_a_picture_that_is_pasted_or_dropped_anywhere_is_searched(page):
    bring = """async (kind) => {
        const blob = await (await fetch(document.querySelector('.stage-probe img').src)).blob();
        const data = new DataTransfer();
        data.items.add(new File([blob], 'mine.webp', { type: 'image/webp' }));
        const event = kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
            : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("paste", "drop"):
        page.evaluate(bring, kind)
        expect(page.locator("#probe-line")).to_contain_text(text.UPLOADED)
        page.locator("[data-example]").first.click()
        expect(page.locator("#probe-line")).to_contain_text("person 2")


def test_everything_has_a_name_and_can_be_reached_by_keyboard(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, select')]
            .filter(e => e.checkVisibility({visibilityProperty: true}))
            .filter(e => !e.innerText.trim() && !e.getAttribute('aria-label')
                && !e.title && !(e.labels && e.labels.length))
            .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert unnamed == []
    pictures = page.evaluate("() => [...document.querySelectorAll('#why img')].filter(i => !i.alt).length")
    assert pictures == 0
    expect(page.locator("#earned")).not_to_contain_text(text.EARNED_WAIT)
    page.locator("#hide-left_half").press("Enter")
    expect(page.locator("#probe-line")).to_contain_text("left half")
    page.locator("#strip .thumbnail-item").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#why-heading")).to_contain_text("Match #2")
    page.locator("#why article.part-2").focus()
    expect(page.locator("#why .over-2").first).to_have_css("opacity", "1")


def test_the_page_fits_its_width(open_tab, address):
    shown = open_tab(viewport={"width": 390, "height": 844})
    shown.goto(address)
    expect(shown.locator("#why article")).to_have_count(8)
    for width in (390, 768, 1280):
        shown.set_viewport_size({"width": width, "height": 844})
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.locator(".gradio-container").bounding_box()["width"] <= width
    shown.close()
