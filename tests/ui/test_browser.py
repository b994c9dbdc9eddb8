"""One journey in a real browser: open, choose an example, hide a half, search, click a match, see why.

Skipped with its reason where Playwright or Chromium is not installed.
"""

import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from reid_demo.ui import text  # noqa: E402
from reid_demo.ui.view import build_ui, launch_options  # noqa: E402

pytestmark = pytest.mark.browser
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"]
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def address(tiny_engine):
    """Serve the page over the tiny engine on a free port."""
    demo = build_ui(tiny_engine)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
    yield url
    demo.close()


@pytest.fixture(scope="module")
def browser():
    """Give a headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    """Open the page and wait for its first result and explanation."""
    shown = browser.new_page(viewport={"width": 1280, "height": 1000})
    shown.set_default_timeout(WAIT_MS)
    playwright.expect.set_options(timeout=WAIT_MS)
    shown.goto(address)
    playwright.expect(shown.locator("#why article")).to_have_count(8)
    yield shown
    shown.close()


def test_hide_search_and_see_why(page):
    expect = playwright.expect
    expect(page.locator("#strip .thumbnail-item")).to_have_count(10)
    expect(page.locator("#probe-line")).to_contain_text("person 2")

    page.locator("#examples .thumbnail-item").nth(1).click()
    expect(page.locator("#probe-line")).to_contain_text("person 50")
    expect(page.locator("#status")).to_contain_text("not in the gallery")
    page.locator("#examples .thumbnail-item").first.click()
    expect(page.locator("#probe-line")).to_contain_text("person 2")

    page.get_by_role("button", name=text.OCCLUDERS["lower_half"], exact=True).click()
    expect(page.locator("#probe-line")).to_contain_text("lower half (mean grey)")
    expect(page.locator("#status")).to_contain_text("untouched")

    page.wait_for_timeout(1500)  # the editor draws its new background after the answer
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas canvas").last.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.35, steps=6)
    page.mouse.up()
    page.locator("#search").click()
    expect(page.locator("#probe-line")).to_contain_text("painted (mean grey)")

    page.locator("#strip .thumbnail-item").nth(2).click()
    expect(page.locator("#why-heading")).to_contain_text("Match #3")
    expect(page.locator("#why article img")).to_have_count(16)
    total = page.locator("#why .bars tfoot .number").inner_text()
    assert total in page.locator("#why-heading").inner_text()

    page.locator("#undo").click()
    expect(page.locator("#probe-line")).not_to_contain_text("painted")
    expect(page.locator("#why-heading")).to_contain_text("Match #1")
    page.locator("#back").click()
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)


def test_a_bad_upload_warns_and_keeps_the_result(page, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"this is no picture")
    page.get_by_test_id(f"{text.UPLOAD}-upload-button").set_input_files(tmp_path / "broken.png")
    playwright.expect(page.get_by_text("not an image that can be read")).to_be_visible()
    playwright.expect(page.locator("#strip .thumbnail-item")).to_have_count(10)
    playwright.expect(page.locator("#probe-line")).to_contain_text("person 2")


def test_the_phone_page_has_one_column(browser, address):
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(address)
    playwright.expect(phone.locator("#why article")).to_have_count(8, timeout=WAIT_MS)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()
