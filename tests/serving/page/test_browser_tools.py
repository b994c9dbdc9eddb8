"""The tools of the stage in a real browser: what More opens, painting and cropping, undoing, and what is lit."""

import re

import pytest

from reid_demo.records import WEIGHINGS
from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser
DRAWER, MORE, LOWER, LINE = "#stage-drawer", "#more", "#hide-lower_half", "#probe-line"
FOCUSED = "document.activeElement.id"


def test_what_more_opens_is_closed_by_a_click_elsewhere_a_choice_or_leaving_it(page):
    drawer = page.locator(DRAWER)
    for place in (".stage-say", '[data-row="now"] .stage-tile', ".stage-probe", MORE):
        page.locator(MORE).click()
        expect(drawer).to_be_visible()
        page.locator(place).last.click()
        expect(drawer).to_be_hidden()
        expect(page.locator(MORE)).to_have_attribute("aria-expanded", "false")
    page.locator(MORE).click()
    drawer.locator("h3").click()  # not a choice
    expect(drawer).to_be_visible()
    page.locator("#hide-centre").click()
    expect(drawer).to_be_hidden()
    expect(page.locator(LINE)).to_contain_text("centre")
    assert page.evaluate(FOCUSED) == "more"
    page.locator(MORE).press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if not page.evaluate("document.activeElement.closest('#stage-drawer') !== null"):
            break
    expect(drawer).to_be_hidden()


def test_painting_and_cropping_take_the_place_of_the_buttons_and_move_nothing(page):
    places = (".stage-rows", ".stage-examples", ".stage-probe")
    before = [page.locator(place).bounding_box() for place in places]
    for tool in ("#paint", "#crop-by-hand"):
        page.locator(MORE).click()
        page.locator(tool).click()
        expect(page.locator(DRAWER)).to_be_hidden()
        expect(page.locator(".stage-mode")).to_be_visible()
        expect(page.locator(LOWER)).to_be_hidden()
        assert [page.locator(place).bounding_box() for place in places] == before
        page.keyboard.press("Escape")
        expect(page.locator(".stage-mode")).to_be_hidden()
        expect(page.locator(LOWER)).to_be_visible()
        assert page.evaluate(FOCUSED) == "more"
        page.locator(MORE).click()
        page.locator(tool).click()
        page.evaluate("document.activeElement.blur()")  # as after a stroke
        page.keyboard.press("Escape")
        expect(page.locator(".stage-mode")).to_be_hidden()


def test_undo_stands_on_the_first_screen_and_on_a_key(page):
    undo, back = page.locator("#undo"), page.locator("#back")
    for button in (undo, back):
        expect(button).to_have_attribute("aria-disabled", "true")
        button.click(force=True)  # says nothing and does nothing
    expect(page.get_by_text(text.NOTHING_TO_UNDO)).to_have_count(0)
    for take_back in (undo.click, lambda: page.keyboard.press("Control+z")):
        page.locator(LOWER).click()
        expect(page.locator(LINE)).to_contain_text("lower half")
        expect(undo).to_have_attribute("aria-disabled", "false")
        take_back()
        expect(page.locator(LINE)).to_contain_text(text.NO_RECIPE)
        expect(page.locator(".stage-block")).to_be_hidden()
    page.locator(LOWER).click()
    expect(page.locator(LINE)).to_contain_text("lower half")
    back.click()
    expect(page.locator(LINE)).to_contain_text(text.NO_RECIPE)
    expect(back).to_have_attribute("aria-disabled", "true")
    undo.click()  # that all was shown again is taken back, too
    expect(page.locator(LINE)).to_contain_text("lower half")
    page.locator("#open-settings").click()
    page.locator("#crop-box button").first.click()
    page.locator("#crop-x input").press("Control+z")  # the field's own
    page.wait_for_timeout(1000)
    expect(page.locator(LINE)).to_contain_text("lower half")


def test_an_example_is_lit_as_long_as_it_is_seen_as_shipped(page):
    first = page.locator("[data-example]").first
    lit, origin = re.compile("true"), re.compile("origin")
    expect(first).to_have_attribute("aria-current", lit)
    expect(first).not_to_have_class(origin)
    page.locator(LOWER).click()
    expect(first).to_have_attribute("aria-current", "false")
    expect(first).to_have_class(origin)
    expect(first).to_have_attribute("title", text.STAGE_AGAIN)
    page.locator("#back").click()
    expect(first).to_have_attribute("aria-current", lit)
    expect(first).not_to_have_class(origin)
    page.locator("[data-example]").nth(1).click()
    expect(page.locator("[data-example]").nth(1)).to_have_attribute("aria-current", lit)
    expect(first).not_to_have_class(origin)


def test_all_matches_fill_the_width(open_tab, address):
    shown = open_tab(viewport={"width": 1920, "height": 900})
    shown.goto(address)
    expect(shown.locator("#strip .thumbnail-item")).to_have_count(10)
    expect(shown.locator("#earned")).not_to_contain_text(text.EARNED_WAIT)
    for width in (1920, 1440, 390):
        shown.set_viewport_size({"width": width, "height": 900})
        if width > 860:  # once all is laid out: side by side and of one height
            height = "document.querySelector('{}').getBoundingClientRect().height"
            apart = f"Math.abs({height.format('#earned')} - {height.format('#strip')})"
            shown.wait_for_function(f"{apart} <= 1")
        tiles = shown.locator("#strip .thumbnail-item").evaluate_all(
            "all => all.map((e) => e.getBoundingClientRect().toJSON())"
        )
        strip, earned, found = (shown.locator(place).bounding_box() for place in ("#strip", "#earned", "#found"))
        rows = {round(tile["top"]) for tile in tiles}
        assert len(rows) == (1 if width > 860 else 2)
        assert strip["x"] + strip["width"] - max(tile["right"] for tile in tiles) <= 24
        if width > 860:  # hardly higher than the tiles
            assert found["height"] - tiles[0]["height"] <= 40
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
    shown.close()


def test_a_verdict_that_wraps_moves_nothing(open_tab, address):
    shown = open_tab(viewport={"width": 1440, "height": 900})
    shown.goto(address)
    expect(shown.locator("#why article")).to_have_count(8)
    tops = """async (words) => {
        for (let frame = 0; frame < 3; frame++)  // the rows are drawn anew in the frame after the width has changed
            await new Promise(requestAnimationFrame);
        const said = document.querySelector('.stage-verdict b'), range = document.createRange();
        said.textContent = words;
        range.selectNodeContents(said);
        const lines = new Set([...range.getClientRects()].map((r) => Math.round(r.top))).size;
        return [lines, ['.stage-hand', '.stage-rows', '.stage-now-head', '[data-row="now"]', '.stage-examples']
            .map((place) => document.querySelector(place).getBoundingClientRect().top)];
    }"""
    scored = {"who": text.VERDICTS[False], "similarity": 0.628, "strength": text.STRONG_YET, "probe": "a partly hidden"}
    said = text.VERDICT_SCORED.format(**scored, threshold=0.678)
    for width, lines in ((1440, 2), (1240, 2), (390, 3)):
        shown.set_viewport_size({"width": width, "height": 900})
        one, before = shown.evaluate(tops, "Right person first")
        more, after = shown.evaluate(tops, text.STAGE_VERDICT_OF.format(weighing="part-aware", verdict=said))
        assert (one, more) == (1, lines) and after == before, width
    shown.close()


def test_while_weighings_are_compared_why_explains_the_row_that_was_clicked(page):
    page.locator(LOWER).click()
    expect(page.locator(LINE)).to_contain_text("lower half")
    heading, tab = page.locator("#stage-why-heading"), page.locator("#why-heading")
    usual = WEIGHINGS[page.evaluate("document.querySelector('#weighing input:checked').value")]
    expect(tab).to_contain_text(f"by {usual},")
    page.locator("#compare").click()
    expect(heading).to_contain_text(f"by {usual}")
    expect(page.locator(f'[data-row="{"now" if usual == "cosine" else "before"}"] .chosen.elsewhere')).to_have_count(0)
    expect(page.locator(".stage-tile.chosen.elsewhere:not(.leaving)")).to_have_count(1)
    for row, name in (("now", "cosine"), ("before", "part_aware"), ("now", "cosine")):
        tile = page.locator(f'[data-row="{row}"] .stage-tile:not(.leaving)').nth(2)
        rank, index = tile.locator("b").inner_text().split()[0], tile.get_attribute("data-index")
        tile.press("Enter") if row == "before" else tile.click()
        expect(heading).to_have_text(re.compile(f"{text.STAGE_WHY} {rank} .*by {WEIGHINGS[name]}"))
        expect(tab).to_contain_text(f"Match #{rank} by {WEIGHINGS[name]},")
        expect(page.locator("#earned")).to_contain_text(f"What earned #{rank} by {WEIGHINGS[name]}")
        page.wait_for_url(re.compile(f"compare={name}"))
        expect(page.locator("#why .distances [aria-current] th")).to_have_text(WEIGHINGS[name])
        sums = [page.locator(place).inner_text() for place in (".stage-sum b", "#why .bars tfoot .number")]
        assert float(sums[0].split(",")[0]) == pytest.approx(float(sums[1]), abs=0.00051)
        expect(page.locator('[data-name="now"]')).to_have_text(text.STAGE_COSINE)  # still compared
        pressed = page.locator('.stage-tile[aria-pressed="true"]')
        expect(pressed).to_have_count(1)
        expect(pressed).to_have_attribute("data-index", index)
    page.locator("#hide-upper_half").click()  # through a change
    expect(page.locator(LINE)).to_contain_text("upper half")
    expect(tab).to_contain_text("by cosine,")
    page.get_by_role("tab", name=text.STEP_VERIFY).click()
    expect(page.locator("#verify-count")).to_contain_text(f"ranked by {usual}")
    page.locator("#compare").click()
    expect(page.locator("#earned h3")).not_to_contain_text(" by ")
    page.get_by_role("tab", name=text.STEP_WHY).click()
    expect(tab).to_contain_text(f"by {usual},")
    expect(heading).not_to_contain_text("by ")


def test_beside_a_long_list_what_earned_the_match_stays_in_sight(page, settings):
    settings()
    page.locator("#top-k input[type=number]").fill("18")
    page.keyboard.press("Tab")
    expect(page.locator("#strip .thumbnail-item")).to_have_count(18)
    page.keyboard.press("Escape")
    expect(page.locator("#earned")).to_have_css("position", "sticky")
    boxes = [page.locator(place).bounding_box()["height"] for place in ("#earned", "#strip")]
    assert boxes[0] < boxes[1] - 50, "the card ends where its words end"


def test_a_number_of_four_digits_is_read_in_full(page, settings):
    settings("crop-box")
    for name in text.CROP_FIELDS:
        field = page.locator(f"#crop-{name} input")
        field.fill("1000")
        assert field.evaluate("e => e.scrollWidth <= e.clientWidth"), name


def test_a_crop_by_enter_hides_nothing_more(page):
    page.locator(LOWER).click()
    expect(page.locator(LINE)).to_contain_text("lower half")
    page.locator("#more").click()
    page.locator("#crop-by-hand").click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(LINE)).to_contain_text("crop")
    page.wait_for_timeout(500)  # longer than a block takes to settle
    expect(page.locator(".stage-chip")).to_have_count(2)


def test_a_double_click_on_done_presses_nothing_else(page):
    page.locator(LOWER).click()
    expect(page.locator(LINE)).to_contain_text("lower half")
    page.locator("#more").click()
    page.locator("#paint").click()
    page.locator("#mode-end").dblclick()
    page.wait_for_timeout(500)
    expect(page.locator(LINE)).to_contain_text("lower half")
    expect(page.locator(".stage-halves")).not_to_have_class(re.compile("away"))
    page.locator("#back").click()  # a click of its own counts, there too
    expect(page.locator(LINE)).to_contain_text(text.NO_RECIPE)


def test_the_keyboard_goes_on_where_something_went(page):
    focused = "document.activeElement.id || document.activeElement.className"
    page.locator(LOWER).click()
    page.locator(".stage-block").focus()
    page.keyboard.press("Delete")
    assert page.evaluate(focused) == "more"
    expect(page.locator(LINE)).to_contain_text(text.NO_RECIPE)
    page.locator(LOWER).click()
    page.locator(".stage-chip").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".stage-chip")).to_have_count(0)
    assert page.evaluate(focused) == "more"
    page.locator("#open-settings").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.closest('.sidebar.open') !== null")
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "open-settings"
