"""What a browser alone would do without a word is said: pictures it cannot show, a stopped run, the last part."""

import base64
import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser

DROP = """([name, data]) => {
  const dropped = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  dropped.items.add(new File([bytes], name, {type: ""}));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""


def test_a_dropped_picture_of_a_kind_that_browsers_do_not_know_is_read_or_refused_in_words(page):
    refused = {
        "me.heic": (b"\0\0\0\x18ftypheic" + bytes(40), re.compile("HEIC pictures need|damaged|not an image")),
        "scan.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "not an image that can be read"),
    }
    for name, (data, words) in refused.items():
        page.evaluate(DROP, [name, base64.b64encode(data).decode()])
        expect(page.get_by_text(words).first).to_be_visible()
        expect(page.locator("#probe-line")).to_contain_text("person 2")
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 60, 3), np.uint8)).save(buffer, "TIFF")
    page.evaluate(DROP, ["scan.TIF", base64.b64encode(buffer.getvalue()).decode()])
    expect(page.locator("#probe-line")).to_contain_text(f"{text.UPLOADED}: 60 x 128")


def test_the_last_part_cannot_be_switched_off(page, settings):
    settings("link-box")
    boxes = page.locator("#terms input[type=checkbox]")
    for place in range(boxes.count() - 1):
        boxes.nth(place).uncheck()
    expect(page.locator("#terms input[type=checkbox]:checked")).to_have_count(1)
    boxes.last.click()
    boxes.last.press("Space")
    expect(page.locator("#terms input[type=checkbox]:checked")).to_have_count(1)
    expect(page.locator("#link input, #link textarea").first).to_have_value(re.compile("terms=0+1(&|$)"))
    expect(page.locator("#strip .thumbnail-item")).to_have_count(10)


def test_stop_says_that_it_stopped_and_only_then(page, tiny_engine, monkeypatch):
    real = tiny_engine.describer.describe

    def slowly(*given, **named):
        time.sleep(0.2)
        return real(*given, **named)

    page.get_by_role("tab", name=text.STEP_SWEEP).click()
    told = page.locator("#sweep-told")
    page.locator("#sweep-stop").click()
    expect(told).to_have_text("")  # there is nothing to stop
    for kind, value in (("stride", "10"), ("size", "20")):  # many windows
        page.locator(f"#sweep-{kind} input").first.fill(value)
    monkeypatch.setattr(tiny_engine.describer, "describe", slowly)
    page.locator("#sweep-run").click()
    expect(page.locator("#sweep")).to_contain_text("windows")
    page.locator("#sweep-stop").click()
    expect(told).to_contain_text(text.SWEEP_STOPPED)
    page.wait_for_timeout(1000)  # it stays
    expect(told).to_contain_text(text.SWEEP_STOPPED)
    mark = "<div class='wrap'><span class='error'>Error</span></div>"  # as Gradio at times draws it then
    page.locator("#sweep").evaluate("(place, mark) => place.insertAdjacentHTML('beforeend', mark)", mark)
    expect(page.locator("#sweep .error").last).to_be_hidden()
    monkeypatch.undo()
    for kind, value in (("stride", "50"), ("size", "40")):
        page.locator(f"#sweep-{kind} input").first.fill(value)
    page.locator("#sweep-run").click()
    expect(page.locator("#sweep")).to_contain_text("windows tried")
    expect(told).to_have_text("")
    page.locator("#sweep-stop").click()
    page.wait_for_timeout(300)
    expect(told).to_have_text("")  # it had ended


def test_words_under_a_picture_keep_their_contrast_when_pointed_at(page):
    page.locator("#strip .thumbnail-item").first.hover()
    page.wait_for_timeout(600)  # longer than Gradio's transition
    expect(page.locator("#strip .caption-label").first).to_have_css("opacity", "1")
