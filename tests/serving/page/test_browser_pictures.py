"""Pictures that are brought: large ones, slow ones, wide ones, and a page that opens with one search."""

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
UPLOAD = f"{text.UPLOAD}-upload-button"


def jpeg(width: int, height: int) -> bytes:
    """Return a soft picture, so that its file is small whatever its size."""
    soft = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(soft).resize((width, height), Image.Resampling.BILINEAR).save(buffer, "JPEG")
    return buffer.getvalue()


def bring(page, name: str, data: bytes) -> None:
    page.get_by_test_id(UPLOAD).set_input_files({"name": name, "mimeType": "image/jpeg", "buffer": data})


def seconds_to_list(page, name: str, data: bytes, words: str) -> float:
    start = time.perf_counter()
    bring(page, name, data)
    expect(page.locator("#probe-line")).to_contain_text(words)
    return time.perf_counter() - start


def test_a_huge_picture_costs_about_what_a_small_one_does(page):
    small, huge = jpeg(100, 200), jpeg(6000, 4000)
    seconds_to_list(page, "first.jpg", small, f"{text.UPLOADED}: 100 x 200")
    page.locator("[data-example]").first.click()
    expect(page.locator("#probe-line")).to_contain_text("person 2")
    page.wait_for_timeout(1500)
    usual = seconds_to_list(page, "small.jpg", small, f"{text.UPLOADED}: 100 x 200")
    page.wait_for_timeout(1500)
    long = seconds_to_list(page, "huge.jpg", huge, f"{text.UPLOADED}: 1024 x 683")
    assert long < 3 * usual + 3, (long, usual)


def test_a_slow_picture_never_overwrites_what_was_chosen_later(page):
    held = []

    def hold(route):
        if b"slow.jpg" in (route.request.post_data_buffer or b""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/upload*", hold)
    for later in ("an example", "another picture"):
        bring(page, "slow.jpg", jpeg(120, 260))
        page.wait_for_timeout(300)
        if later == "an example":
            page.locator("[data-example]").nth(1).click()
            words = "person 50"
        else:
            bring(page, "quick.jpg", jpeg(90, 200))
            words = f"{text.UPLOADED}: 90 x 200"
        expect(page.locator("#probe-line")).to_contain_text(words)
        assert len(held) == 1
        held.pop().continue_()
        page.wait_for_timeout(3000)
        expect(page.locator("#probe-line")).to_contain_text(words)
    bring(page, "slow.jpg", jpeg(120, 260))  # the one that was chosen last comes, however late
    page.wait_for_timeout(1500)
    held.pop().continue_()
    expect(page.locator("#probe-line")).to_contain_text(f"{text.UPLOADED}: 120 x 260")


def test_a_picture_that_came_too_late_never_takes_the_place_of_the_newer_one(page):
    """Both may arrive before the page has read either: the later answer was read twice, and nothing was searched."""
    held, told = [], []
    page.route("**/upload*", lambda route: held.append(route))
    page.on("request", lambda request: told.append(request.url) if "/queue/join" in request.url else None)
    bring(page, "slow.jpg", jpeg(120, 260))
    page.wait_for_timeout(300)
    bring(page, "quick.jpg", jpeg(90, 200))
    page.wait_for_timeout(300)
    slow, quick = held
    quick.continue_()
    expect(page.locator("#probe-line")).to_contain_text(f"{text.UPLOADED}: 90 x 200")
    page.wait_for_timeout(2000)
    told.clear()
    slow.continue_()
    page.wait_for_timeout(2000)
    assert not told  # the page never heard of it
    expect(page.locator("#probe-line")).to_contain_text(f"{text.UPLOADED}: 90 x 200")


def test_a_picture_that_is_brought_while_another_is_searched_counts(page):
    for name, size in (("one.jpg", (3000, 6000)), ("two.jpg", (80, 160))):
        bring(page, name, jpeg(*size))
    expect(page.locator("#probe-line")).to_contain_text(f"{text.UPLOADED}: 80 x 160")
    page.wait_for_timeout(2000)
    expect(page.locator("#probe-line")).to_contain_text(f"{text.UPLOADED}: 80 x 160")


def test_a_wide_picture_opens_the_person_finder_by_itself(page):
    bring(page, "wide.jpg", jpeg(1200, 500))
    expect(page.locator("#frame-line")).to_contain_text("1200 x 500")
    expect(page.locator("#frame img")).to_be_visible()
    own = page.get_by_role("tab", name=text.STEP_OWN)
    expect(own).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text(re.compile("may hold more than one person")).first).to_be_visible()
    page.get_by_role("tab", name=text.STEP_WHY, exact=True).click()
    bring(page, "tall.jpg", jpeg(100, 200))
    expect(page.locator("#probe-line")).to_contain_text("100 x 200")
    page.wait_for_timeout(1500)
    expect(own).to_have_attribute("aria-selected", "false")


@pytest.mark.parametrize(("query", "searches", "chosen"), [("", 0, 1), ("?probe=example:0002&match=3", 1, 3)])
def test_opening_searches_once_and_keeps_the_match_of_a_link(
    open_tab, address, tiny_engine, monkeypatch, query, searches, chosen
):
    probe, lists, uploads = tiny_engine.describe, tiny_engine.search_and_rank, []
    described, ranked = [], []
    image = np.asarray(Image.open(tiny_engine.examples[0].path).convert("RGB"))

    def describe(picture):
        described.append(picture.shape == image.shape and bool((picture == image).all()))
        return probe(picture)

    def search_and_rank(found, top_k=10, *more):
        ranked.append(top_k)
        return lists(found, top_k, *more)

    monkeypatch.setattr(tiny_engine, "describe", describe)
    monkeypatch.setattr(tiny_engine, "search_and_rank", search_and_rank)
    shown = open_tab(viewport={"width": 1280, "height": 1000})
    shown.on("request", lambda request: uploads.append(request.url) if "/upload" in request.url else None)
    shown.goto(address + query)
    expect(shown.locator("#why-heading")).to_contain_text(f"Match #{chosen}")
    expect(shown.locator("#earned")).to_contain_text(f"What earned #{chosen}")
    expect(shown.locator("#earned")).not_to_contain_text(text.EARNED_WAIT)
    shown.wait_for_timeout(2000)
    expect(shown.locator("#why-heading")).to_contain_text(f"Match #{chosen}")
    assert described.count(True) == searches and ranked.count(10) == searches and uploads == []
    if query:
        shown.locator("#open-settings").click()
        shown.locator("#link-box button").first.click()
        expect(shown.locator("#link textarea")).to_have_value(re.compile(r"\?probe=example%3A0002.*match=3"))
    shown.close()
