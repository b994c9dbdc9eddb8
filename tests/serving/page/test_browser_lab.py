"""Journeys through the laboratory in a real browser: what changed, sweep, sets, verify and export, link, recipe."""

import json

import pytest

from reid_demo.records import WEIGHINGS
from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_from_a_change_to_its_numbers(page, settings):
    tab(page, text.STEP_CHANGED)
    expect(page.locator("#changed")).to_contain_text(text.CHANGED_EMPTY)
    page.locator("#hide-upper_half").click()
    expect(page.locator("#changed-sentence")).to_contain_text("Hiding the upper half")
    expect(page.locator("#changed svg")).to_be_visible()
    settings()
    page.locator("#weighing").get_by_label(WEIGHINGS["part_aware"]).check()
    page.keyboard.press("Escape")
    tab(page, text.STEP_WHY)
    expect(page.locator("#why .distances [aria-current]")).to_contain_text(WEIGHINGS["part_aware"])

    tab(page, text.STEP_SWEEP)
    page.locator("#sweep-run").click()
    expect(page.locator("#sweep-progress")).to_contain_text("windows tried")
    expect(page.locator("#sweep img")).to_have_count(4)
    page.locator("#more").click()
    page.locator("#hide-centre").click()
    expect(page.locator("#sweep img")).to_have_count(0)  # maps of another probe do not stay

    tab(page, text.STEP_SETS)
    page.locator("#sets-run").click()
    expect(page.locator("#sets .download")).to_have_count(2)
    expect(page.locator("#sets svg")).to_be_visible()


def test_decide_save_and_open_the_case(page, tmp_path):
    page.locator("#more").click()
    page.locator("#hide-lower_third").click()
    expect(page.locator("#probe-line")).to_contain_text("lower third")
    tab(page, text.STEP_VERIFY)
    page.locator("#verify-confirmed").click()
    expect(page.locator("#verify-heading")).to_contain_text("#2")
    page.locator("#verify-rejected").click()
    expect(page.locator("#verify-count")).to_contain_text("1 confirmed, 1 rejected")
    expect(page.locator("#strip .thumbnail-item").first).to_contain_text("confirmed")
    ranked = page.locator("#strip .thumbnail-item").all_inner_texts()
    page.locator("#case-make").click()
    expect(page.locator("#case-files .download")).to_have_count(3)
    with page.expect_download() as waiting:
        page.get_by_text(text.CASE_SAVE["json"]).click()
    waiting.value.save_as(tmp_path / "case.json")
    assert json.loads((tmp_path / "case.json").read_text())["candidates"][0]["decision"] == "confirmed"

    page.locator("[data-example]").nth(1).click()
    expect(page.locator("#probe-line")).to_contain_text("person 50")
    page.get_by_test_id(f"{text.CASE_LOAD}-upload-button").set_input_files(tmp_path / "case.json")
    expect(page.locator("#probe-line")).to_contain_text("person 2")
    expect(page.locator("#verify-count")).to_contain_text("1 confirmed, 1 rejected")
    assert page.locator("#strip .thumbnail-item").all_inner_texts() == ranked


def test_a_link_opens_the_same_view_and_a_recipe_replays(page, open_tab, settings):
    page.locator("#hide-right_half").click()
    expect(page.locator("#probe-line")).to_contain_text("right half")
    page.locator("#strip .thumbnail-item").nth(3).click()
    expect(page.locator("#why-heading")).to_contain_text("Match #4")
    settings("link-box")
    field = page.locator("#link textarea")
    expect(field).to_have_value(playwright_pattern("match=4"))
    other = open_tab(viewport={"width": 1280, "height": 1000})
    other.goto(field.input_value())
    expect(other.locator("#why-heading")).to_contain_text("Match #4")
    expect(other.locator("#probe-line")).to_contain_text("right half")
    assert other.locator("#why-heading").inner_text() == page.locator("#why-heading").inner_text()
    other.close()

    settings("recipe-side")
    written = page.locator("#recipe textarea").input_value()
    page.locator("[data-example]").nth(1).press("Enter")
    expect(page.locator("#probe-line")).to_contain_text("person 50")
    expect(page.locator("#recipe textarea")).to_have_value("[]")
    page.locator("#recipe textarea").fill(written)
    page.locator("#replay").click()
    expect(page.locator("#probe-line")).to_contain_text("right half")


def playwright_pattern(words: str):
    import re

    return re.compile(f"^http.*{re.escape(words)}")


def test_on_a_phone_the_numbers_fit_and_decisions_stand_side_by_side(open_tab, address):
    phone = open_tab(viewport={"width": 390, "height": 844})
    phone.goto(address)
    expect(phone.locator("#why article")).to_have_count(8)
    phone.locator("#hide-lower_half").click()
    tab(phone, text.STEP_CHANGED)
    expect(phone.locator("#changed-sentence")).to_be_visible()
    for table in phone.locator("#changed .two table").all():
        assert table.evaluate("t => t.scrollWidth <= t.parentElement.clientWidth")
    phone.locator("#tabs .overflow-menu > button").click()
    phone.locator("#tabs .overflow-dropdown").get_by_role("button", name=text.STEP_VERIFY, exact=True).click()
    tops = [phone.locator(f"#verify-{name}").bounding_box()["y"] for name in ("confirmed", "rejected", "open")]
    assert max(tops) == min(tops)
    phone.close()
