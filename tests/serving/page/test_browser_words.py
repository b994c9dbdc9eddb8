"""What a browser alone would do without a word is said: pictures it cannot show, a stopped run, the last part."""

import pytest

from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser

DROP = """(name) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File(["x"], name, {type: "image/any"}));
  document.querySelector("#canvas canvas").dispatchEvent(
    new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""


def test_a_picture_that_the_canvas_cannot_show_is_refused_in_words(page):
    for name in ("me.heic", "scan.TIFF", "x.jp2"):
        page.evaluate(DROP, name)
        expect(page.locator(".canvas-told")).to_contain_text(f"cannot show {name} on the canvas")
    page.locator("#canvas input[type=file]").first.set_input_files(
        {"name": "chosen.tif", "mimeType": "image/tiff", "buffer": b"II*\0"}
    )
    expect(page.locator(".canvas-told")).to_contain_text("chosen.tif")
    expect(page.locator("#probe-line")).to_contain_text("person 2")


def test_the_last_part_cannot_be_switched_off(page):
    page.locator("#settings button").first.click()
    boxes = page.locator("#terms input[type=checkbox]")
    for place in range(boxes.count() - 1):
        boxes.nth(place).uncheck()
    expect(page.locator("#terms input[type=checkbox]:checked")).to_have_count(1)
    page.wait_for_timeout(3000)  # the list of each click
    boxes.last.click()
    expect(page.locator("#terms input[type=checkbox]:checked")).to_have_count(1)
    expect(page.locator("#strip .thumbnail-item")).to_have_count(10)


def test_stop_says_that_it_stopped(page):
    page.get_by_role("tab", name=text.STEP_SWEEP).click()
    page.locator("#sweep-stride input").first.fill("10")
    page.locator("#sweep-run").click()
    expect(page.locator("#sweep")).to_contain_text("windows")
    page.locator("#sweep-stop").click()
    expect(page.locator("#sweep-told")).to_contain_text(text.SWEEP_STOPPED)
    page.locator("#sweep-run").click()
    expect(page.locator("#sweep-told")).not_to_contain_text(text.SWEEP_STOPPED)


def test_words_under_a_picture_keep_their_contrast_when_pointed_at(page):
    for grid in ("#strip", "#examples"):
        page.locator(f"{grid} .thumbnail-item").first.hover()
        page.wait_for_timeout(600)  # longer than Gradio's transition
        expect(page.locator(f"{grid} .caption-label").first).to_have_css("opacity", "1")
