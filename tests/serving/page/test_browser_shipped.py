"""The page over the gallery and the weights that ship: changed people, what set the mark, and what can be seen."""

import re

import pytest

from reid_demo.data import stories
from reid_demo.engine import Engine
from reid_demo.model import checkpoint
from reid_demo.search import bundled
from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser
SHIPPED = stories.read_stories(bundled.DEFAULT_GALLERY, checkpoint.fingerprint(bundled.DEFAULT_WEIGHTS))


@pytest.fixture(scope="module")
def shipped():
    """Serve the page as it ships, under its policies, on a free port."""
    import app

    demo = app.serve(Engine.load(), app.Place("127.0.0.1"), prevent_thread_lock=True, quiet=True)
    yield demo.local_url
    demo.close()


@pytest.fixture
def opened(open_tab, shipped, settle, request):
    """Open the page at a width, with a finger where it is a phone's."""
    shown = open_tab(viewport={"width": request.param, "height": 844}, has_touch=request.param < 500)

    def until_explained():
        shown.goto(shipped)
        expect(shown.locator("#why article")).to_have_count(8)
        expect(shown.locator("#earned")).not_to_contain_text(text.EARNED_WAIT)

    settle(shown, until_explained)
    yield shown
    shown.close()


SIZES = pytest.mark.parametrize("opened", [1440, 390], indirect=True)


@SIZES
def test_a_changed_person_is_ranked_and_searched_with(opened):
    tab, width = opened.get_by_role("tab", name=text.STEP_PEOPLE), opened.viewport_size["width"]
    if width < 500:  # it stands behind the dots
        opened.locator("#tabs .overflow-menu > button").click()
        tab = opened.locator("#tabs .overflow-dropdown button", has_text=text.STEP_PEOPLE)
    tab.click()
    expect(opened.locator("#people img")).to_have_count(40)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    picture = opened.locator("#people button").nth(2)
    said = picture.get_attribute("aria-label")
    rank = picture.locator("b").inner_text().removeprefix("rank ")
    picture.click()
    expect(opened.locator("#probe-line")).to_contain_text(said.partition(":")[0])
    expect(opened.locator("#status")).to_contain_text(f"First right match at rank {rank}.")


@SIZES
def test_what_set_the_mark_is_behind_the_verdicts_i_which_stands_beside_it(opened):
    verdict, mark = (opened.locator(f".stage-verdict {one}").bounding_box() for one in ("b", "summary"))
    assert mark["x"] >= verdict["x"] + verdict["width"] and mark["x"] + mark["width"] <= opened.viewport_size["width"]
    assert mark["y"] < verdict["y"] + verdict["height"] and verdict["y"] < mark["y"] + mark["height"]
    opened.locator(".stage-verdict summary").click()
    card = opened.locator(".stage-verdict .about-card")
    expect(card).to_contain_text("FPIR")
    expect(card).to_contain_text("95 %")
    expect(card.locator(".stage-alarms img")).to_have_count(16)
    broken = "e => [...e.querySelectorAll('img')].filter((one) => one.complete && !one.naturalWidth).length"
    assert card.evaluate(broken) == 0
    box = card.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= opened.viewport_size["width"]


@SIZES
def test_what_can_be_seen_stands_in_even_columns(opened):
    boxes = opened.locator("#why .seen li").evaluate_all("all => all.map((e) => e.getBoundingClientRect().toJSON())")
    columns = {round(box["x"]) for box in boxes}
    assert len(boxes) == 8 and len(boxes) % len(columns) == 0
    assert len({round(box["height"]) for box in boxes}) == 1, "no line wraps"


@pytest.mark.parametrize("opened", [1440], indirect=True)
def test_the_weighings_button_is_pressed_as_long_as_they_are_compared(opened):
    button, name = opened.locator("#compare"), opened.locator('[data-name="now"]')
    for kind in (stories.PARTS, stories.RISES, stories.PARTS):
        place = [story.story for story in SHIPPED].index(kind)
        opened.locator("[data-example]").nth(place).click()
        compared = kind == stories.PARTS
        expect(name).to_have_text(text.STAGE_COSINE if compared else text.STAGE_NOW)
        expect(button).to_have_attribute("aria-pressed", str(compared).lower())


@pytest.mark.parametrize("opened", [1440], indirect=True)
def test_stage_and_tabs_write_negative_numbers_alike(opened):
    stage = opened.locator(".stage-part em").all_inner_texts()
    tab = opened.locator("#why tbody tr.part .number").all_inner_texts()
    assert len(stage) == len(tab) == 9 and any(one[0] == "−" for one in stage), "no term is negative"
    assert all(one[0] == other[0] for one, other in zip(stage, tab, strict=True) if one[0] != "0"), (stage, tab)
    opened.get_by_role("tab", name=text.STEP_CHANGED).click()
    expect(opened.locator("#changed-sentence")).to_be_visible()
    opened.get_by_role("tab", name=text.STEP_SWEEP).click()
    opened.locator("#sweep-stride input").first.fill("50")
    opened.locator("#sweep-run").click()
    expect(opened.locator("#sweep-progress")).to_contain_text("windows tried")
    for place in (".stage", "#why", "#changed", "#sweep"):
        said = opened.locator(place).evaluate("e => e.textContent")
        assert "−" in said and not re.findall(r"(?<![\w-])-\d", said), place
