"""One visitor looks through the gallery in a real browser, filters it, turns its pages and searches from it."""

import numpy as np
import pytest

from reid_demo.serving.page.handlers import browse

pytestmark = pytest.mark.browser


def test_look_filter_turn_and_search(page, monkeypatch):
    from playwright.sync_api import expect

    monkeypatch.setattr(browse, "PAGE", 8)
    grid, line = page.locator("#browse-grid .thumbnail-item"), page.locator("#browse-line")
    page.get_by_role("tab", name="Gallery", exact=True).click()
    expect(line).to_contain_text("18 pictures, 1 to 8 shown")
    expect(grid).to_have_count(8)
    expect(page.locator("#browse-back")).to_be_disabled()

    page.locator("#browse-on").click()
    expect(line).to_contain_text("9 to 16 shown")
    expect(page.locator("#browse-page input")).to_have_value("2")
    page.locator("#browse-page input").fill("3")
    expect(line).to_contain_text("17 to 18 shown")
    expect(grid).to_have_count(2)
    expect(page.locator("#browse-on")).to_be_disabled()
    page.locator("#browse-page input").fill("50")
    page.locator("#browse-page input").blur()
    expect(page.locator("#browse-page input")).to_have_value("3")

    page.locator("#browse-camera input").click()
    page.get_by_role("option", name="2", exact=True).click()
    expect(line).to_contain_text("6 of 18 pictures")
    expect(grid).to_have_count(6)
    expect(page.locator("#browse-on")).to_be_hidden()

    # By keyboard alone: type an id, walk to a picture and take it.
    taken = "field => { field.focus(); return field.selectionEnd - field.selectionStart === field.value.length }"
    assert page.locator("#browse-person input").evaluate(taken), "a quick key would be added to what the field says"
    page.keyboard.type("4")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(line).to_contain_text("1 of 18 pictures")
    expect(grid).to_have_count(1)  # the six before would lose the focus
    expect(grid).to_contain_text("id 4")
    in_grid = "document.activeElement.closest('#browse-grid') !== null"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(in_grid):
            break
    page.wait_for_timeout(700)
    assert page.evaluate(in_grid), "walking past a filter draws nothing anew"
    hurry = "places => places.forEach(place => document.querySelector(place).focus())"
    page.evaluate(hurry, ["#browse-camera input", "#browse-grid .thumbnail-item"])
    page.wait_for_timeout(100)
    assert page.evaluate(in_grid), "a filter that was left at once takes the focus back"
    page.wait_for_timeout(600)  # until its own answer has come
    page.keyboard.press("Enter")
    expect(page.locator("#probe-line")).to_contain_text("Gallery image, id 4: 64 x 128 px, id 4, camera 2")
    expect(page.locator("#strip .thumbnail-item").first).to_contain_text("id 4")
    expect(page.locator("#ranking-side")).to_be_in_viewport()

    page.locator("[data-example]").first.click()
    expect(page.locator("#probe-line")).to_contain_text("person 2")
    grid.first.click()  # the same picture once more
    expect(page.locator("#probe-line")).to_contain_text("Gallery image, id 4")

    page.locator("#browse-person input").click()  # what it says is taken hold of, so that typing replaces it
    page.wait_for_timeout(500)
    page.keyboard.type("77")
    page.keyboard.press("Enter")
    expect(line).to_contain_text("No picture here shows the person 77")
    expect(grid).to_have_count(0)
    page.get_by_role("tab", name="Sweep").click()
    page.get_by_role("tab", name="Gallery", exact=True).click()
    expect(line).to_contain_text("person 77")

    monkeypatch.setattr(browse, "_seen_by", lambda gallery, pid: np.array([2]))
    for person, count, offered in (("5", 1, ["2"]), ("all people", 6, ["1", "2", "3"])):  # camera 2 is still chosen
        page.locator("#browse-person input").click()
        page.get_by_role("option", name=person, exact=True).click()
        expect(line).to_contain_text(f"{count} of 18 pictures")
        page.locator("#browse-camera input").click()
        expect(page.get_by_role("option")).to_have_text([f"✓ {name}" for name in ("all cameras", *offered)])
        page.keyboard.press("Escape")
