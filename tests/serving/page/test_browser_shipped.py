"""The tab of rendered people in a browser, over the gallery and the weights that ship."""

import pytest

from reid_demo.engine import Engine
from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1440, 390])
def test_a_changed_person_is_ranked_and_searched_with(browser, shipped, width):
    shown = browser.new_page(viewport={"width": width, "height": 844})
    shown.goto(shipped)
    expect(shown.locator("#why article")).to_have_count(8)
    expect(shown.locator("#earned")).not_to_contain_text(text.EARNED_WAIT)
    shown.wait_for_timeout(1500)
    tab = shown.get_by_role("tab", name=text.STEP_PEOPLE)
    if width < 500:  # it stands behind the dots
        shown.locator("#tabs .overflow-menu > button").click()
        tab = shown.locator("#tabs .overflow-dropdown button", has_text=text.STEP_PEOPLE)
    tab.click()
    expect(shown.locator("#people img")).to_have_count(40)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    picture = shown.locator("#people button").nth(2)
    said = picture.get_attribute("aria-label")
    rank = picture.locator("b").inner_text().removeprefix("rank ")
    picture.click()
    expect(shown.locator("#probe-line")).to_contain_text(said.partition(":")[0])
    expect(shown.locator("#status")).to_contain_text(f"First right match at rank {rank}.")
    shown.close()


@pytest.fixture(scope="module")
def shipped():
    """Serve the page as it ships on a free port."""
    from reid_demo.serving.page.view import build_ui, launch_options

    demo = build_ui(Engine.load())
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
    yield url
    demo.close()
