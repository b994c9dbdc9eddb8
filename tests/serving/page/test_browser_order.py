"""The page keeps order in a real browser: nothing overprints, jumps, leaves or contradicts itself, on both sizes."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser
LOWER, NOW, BEFORE = "#hide-lower_half", '[data-row="now"]', '[data-row="before"]'
STUCK = (".stage-say > p", ".stage-now-head", NOW)  # what stays in sight on a phone
MOST_STUCK = 205  # px that it takes with a sentence of two lines
SHIFTS = """window.shifts = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    if (!entry.hadRecentInput) window.shifts += entry.value;
})).observe({type: 'layout-shift', buffered: true});"""
HEARD = """window.heard = []; new MutationObserver(() => {
    for (const e of document.querySelectorAll('[role=status], [aria-live]')) {
        if (e.closest('.stage')) continue;
        const words = e.textContent.trim();
        if (words && window.heard.at(-1) !== words) window.heard.push(words);
    }
}).observe(document, {subtree: true, childList: true, characterData: true});"""


@pytest.fixture
def open_page(open_tab, address, settle):
    """Return a function that opens the page at a size and waits until it is still."""
    opened = []

    def visit(width: int = 1440, height: int = 900, query: str = ""):
        shown = open_tab(viewport={"width": width, "height": height}, has_touch=width < 500)
        opened.append(shown)
        shown.add_init_script(SHIFTS)
        shown.add_init_script(HEARD)

        def until_explained():
            shown.goto(address + query)
            expect(shown.locator("#why article")).to_have_count(8)

        settle(shown, until_explained)
        return shown

    yield visit
    for shown in opened:
        shown.close()


def boxes_of(shown, selector: str) -> list[dict]:
    return shown.locator(selector).evaluate_all("all => all.map((e) => e.getBoundingClientRect().toJSON())")


def test_a_screen_reader_hears_words_when_a_search_is_done(open_page):
    shown = open_page()
    shown.locator(LOWER).click()
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    shown.wait_for_function("words => window.heard.some((said) => said.includes(words))", arg=text.STATUS_DONE)
    assert not [words for words in shown.evaluate("window.heard") if "common." in words]


def test_what_stays_in_sight_on_a_phone_is_low_and_named_in_both_views(open_page):
    shown = open_page(390, 844)
    expect(shown.locator(".honesty")).to_be_visible()
    shown.locator(LOWER).click()
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    for compares in (False, True):
        if compares:
            shown.evaluate("window.scrollTo(0, 0)")
            shown.locator("#compare").click()
            expect(shown.locator('[data-name="now"]')).to_have_text(text.STAGE_COSINE)
        shown.evaluate("window.scrollTo(0, 900)")
        shown.wait_for_timeout(600)
        say, head, row = (shown.locator(place).bounding_box() for place in STUCK)
        assert 0 <= say["y"] <= 1 and abs(head["y"] - say["y"] - say["height"]) <= 1, (say, head)
        assert abs(row["y"] - head["y"] - head["height"]) <= 1, (head, row)
        lines = say["height"] > 60
        assert row["y"] + row["height"] <= MOST_STUCK + 25 * lines, row
        name = shown.locator('[data-name="now"]').bounding_box()
        at = f"document.elementFromPoint({name['x'] + 4}, {name['y'] + name['height'] / 2})"
        assert shown.evaluate(f"{at}.closest('.stage-now-head') !== null"), "the row's name is covered"


def test_on_a_phone_a_change_can_be_taken_back_beside_the_probe(open_page):
    shown = open_page(390, 844)
    shown.locator(LOWER).click()
    chip = shown.locator(".stage-chip")
    expect(chip).to_have_count(1)
    box, hand = chip.bounding_box(), shown.locator(".stage-hand").bounding_box()
    assert box["height"] >= 44 and hand["y"] <= box["y"] and box["y"] + box["height"] <= hand["y"] + hand["height"]
    assert shown.evaluate("window.shifts") < 0.05
    chip.click()
    expect(shown.locator("#probe-line")).to_contain_text(text.NO_RECIPE)
    wide = open_page()
    wide.locator(LOWER).click()
    expect(wide.locator(".stage-rows .stage-chip")).to_have_count(1)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_second_row_shows_others_until_something_is_hidden_and_nothing_shifts_when_it_is(open_page, width, height):
    shown = open_page(width, height)
    rows = "(row) => [...document.querySelectorAll(`${row} .stage-tile:not(.leaving)`)].map((e) => e.dataset.index)"
    upper, lower = shown.evaluate(rows, NOW), shown.evaluate(rows, BEFORE)
    assert lower and not set(upper) & set(lower) and shown.locator(".stage-lines line").count() == 0
    first = shown.locator(f"{BEFORE} .stage-tile b").first.inner_text()
    assert first.split()[0] == str(len(upper) + 1)
    expect(shown.locator('[data-name="before"]')).to_contain_text(first.split()[0])
    shown.evaluate("window.shifts = 0")
    shown.locator(LOWER).click()
    expect(shown.locator('[data-name="before"]')).to_have_text(text.STAGE_BEFORE)
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    shown.wait_for_timeout(800)
    assert shown.evaluate(rows, BEFORE) == upper, "the ranking that was"
    assert shown.evaluate("window.shifts") < 0.05
    shown.locator("#back").click()
    expect(shown.locator('[data-name="before"]')).not_to_have_text(text.STAGE_BEFORE)
    shown.wait_for_timeout(800)
    assert shown.evaluate(rows, BEFORE) == lower


def test_tiles_stay_in_their_row_while_they_glide_and_print_over_no_other(open_page):
    shown = open_page()
    shown.evaluate(
        """() => { window.out = []; window.bare = []; const watch = () => {
            const row = document.querySelector('[data-row="now"]'), end = row.getBoundingClientRect().right + 1;
            for (const tile of row.querySelectorAll('.stage-tile')) {
                const box = tile.getBoundingClientRect(), style = getComputedStyle(tile);
                if (box.right > end + 24) window.out.push(box.right - end);
                if (!/^rgb\\(/.test(style.backgroundColor)) window.bare.push(style.backgroundColor);
                if (tile.matches('.leaving') && getComputedStyle(tile.querySelector('b')).visibility !== 'hidden')
                    window.bare.push('a caption that leaves');
            }
            requestAnimationFrame(watch);
        }; watch(); }"""
    )
    for half in ("lower", "upper", "left", "right"):
        shown.locator(f"#hide-{half}_half").click()
        shown.wait_for_timeout(700)
    assert shown.evaluate("window.out") == [] == shown.evaluate("window.bare")


def test_why_says_which_image_of_the_right_person_it_explains_where_that_is_not_the_best(open_page):
    shown = open_page()
    note = shown.locator("#stage-why-heading small")
    right = shown.locator(f"{NOW} .stage-tile.right")
    assert right.count() > 1
    best = right.first.locator("b").inner_text().split()[0]
    right.nth(1).click()
    expect(note).to_have_text(text.STAGE_OTHER_IMAGE.format(rank=best))
    right.first.click()
    expect(note).to_have_text("")


def test_every_tile_has_its_score_and_the_example_on_show_is_marked(open_page):
    shown = open_page()
    current = '[data-example][aria-current="true"]'
    expect(shown.locator(current)).to_have_attribute("data-example", "0")
    shown.locator("[data-example]").nth(1).click()
    expect(shown.locator("#probe-line")).to_contain_text("person 50")
    expect(shown.locator(current)).to_have_attribute("data-example", "1")
    shown.locator("[data-example]").first.click()
    expect(shown.locator("#probe-line")).to_contain_text("person 2")
    for half in ("lower", "upper", "left", "right"):
        shown.locator(f"#hide-{half}_half").click()
        expect(shown.locator("#probe-line")).to_contain_text(f"{half} half")
        scores = shown.locator(f"{NOW} .stage-tile:not(.leaving) span").all_inner_texts()
        assert all(re.fullmatch(r"−?\d\.\d\d", score) for score in scores), scores


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_pictures_to_verify_stand_in_one_row(open_page, width, height):
    shown = open_page(width, height)
    for changed in (False, True):
        if changed:
            shown.locator(LOWER).click()
            expect(shown.locator("#probe-line")).to_contain_text("lower half")
        tab = shown.get_by_role("tab", name=text.STEP_VERIFY)
        if not tab.is_visible():
            shown.locator("#tabs .overflow-menu > button").click()
            tab = shown.locator("#tabs .overflow-dropdown button", has_text=text.STEP_VERIFY)
        tab.click()
        expect(shown.locator("#verify .pair img")).to_have_count(3 if changed else 2)
        boxes = boxes_of(shown, "#verify .pair img")
        assert len({round(box["y"]) for box in boxes}) == len({round(box["height"]) for box in boxes}) == 1
        ends = [box["right"] for box in boxes]
        assert all(box["left"] >= end for box, end in zip(boxes[1:], ends, strict=False)) and ends[-1] <= width


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_bars_and_numbers_of_what_changed_keep_apart(open_page, width, height):
    shown = open_page(width, height)
    shown.locator(LOWER).click()
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    shown.get_by_role("tab", name=text.STEP_CHANGED).click()
    expect(shown.locator("#changed .lines .bar").first).to_be_visible()
    gaps = shown.evaluate(
        """() => [...document.querySelectorAll('#changed .lines .bar')].map((bar) => {
            const words = (cell) => { const r = document.createRange(); r.selectNodeContents(cell);
                return r.getBoundingClientRect(); };
            const cell = bar.closest('td'), box = bar.getBoundingClientRect();
            return Math.min(box.left - words(cell.previousElementSibling).right,
                words(cell.nextElementSibling).left - box.right);
        })"""
    )
    assert len(gaps) >= 17 and min(gaps) >= 4, sorted(gaps)[:3]


def test_back_shows_the_probe_before_and_stays_on_the_page(open_page):
    shown = open_page(query="?__theme=light")
    start = shown.url
    shown.locator(LOWER).click()
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    shown.wait_for_url(re.compile("recipe="))
    shown.locator("[data-example]").nth(1).click()
    expect(shown.locator("#probe-line")).to_contain_text("person 50")
    shown.wait_for_url(re.compile("probe=example%3A0050"))
    assert "__theme=light" in shown.url and shown.url != start
    shown.go_back()
    expect(shown.locator("#probe-line")).to_contain_text("person 2")
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    expect(shown.locator("#why article")).to_have_count(8)
    shown.wait_for_timeout(1500)
    shown.go_forward()
    expect(shown.locator("#probe-line")).to_contain_text("person 50")


def test_the_address_after_back_has_the_settings_of_now(open_page):
    shown = open_page()
    shown.locator("[data-example]").nth(1).click()
    expect(shown.locator("#probe-line")).to_contain_text("person 50")
    shown.wait_for_url(re.compile("probe=example%3A0050"))
    shown.locator("#open-settings").click()
    other = shown.locator("#weighing input:not(:checked)").first
    name = other.get_attribute("value")
    other.check()
    shown.wait_for_url(re.compile(f"weighing={name}"))
    shown.go_back()
    expect(shown.locator("#probe-line")).to_contain_text("person 2:")
    shown.wait_for_url(re.compile(rf"probe=example%3A0002.*weighing={name}"))


def test_back_and_forward_go_from_probe_to_probe_and_lose_nothing(open_page):
    shown = open_page()
    line, upload = shown.locator("#probe-line"), shown.get_by_test_id(f"{text.UPLOAD}-upload-button")
    reloads = []
    shown.on("load", lambda: reloads.append(shown.url))

    def bring(width: int) -> None:
        picture = np.random.default_rng(width).integers(0, 256, (128, width, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        upload.set_input_files({"name": f"{width}.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
        expect(line).to_contain_text(f"{text.UPLOADED}: {width} x 128")

    shown.locator(LOWER).click()
    expect(line).to_contain_text("lower half")
    bring(60)
    shown.locator("#hide-upper_half").click()
    expect(line).to_contain_text("upper half")
    bring(50)
    steps = shown.evaluate("history.length")
    shown.go_back()
    expect(line).to_contain_text(f"{text.UPLOADED}: 60 x 128")
    expect(line).to_contain_text("upper half")
    expect(shown.locator("#hide-upper_half")).to_have_attribute("aria-pressed", "true")
    shown.wait_for_timeout(1000)
    shown.go_back()
    expect(line).to_contain_text("person 2")
    expect(line).to_contain_text("lower half")
    shown.wait_for_timeout(1000)
    shown.evaluate("history.go(2)")
    expect(line).to_contain_text(f"{text.UPLOADED}: 50 x 128")
    shown.wait_for_timeout(1000)
    shown.evaluate("history.back(); setTimeout(() => history.back(), 20)")  # quicker than the page follows
    expect(line).to_contain_text("person 2")
    expect(line).to_contain_text("lower half")
    shown.wait_for_url(re.compile("recipe="))
    shown.locator("#undo").click()  # a change is taken back by the page
    expect(line).to_contain_text(text.NO_RECIPE)
    assert shown.evaluate("history.length") == steps and reloads == []


def test_a_picture_that_is_not_kept_any_more_is_said_to_be_gone_and_the_page_stays(open_page, monkeypatch):
    from reid_demo.serving.page.handlers import session

    monkeypatch.setattr(session, "MOST_PLACES", 1)
    shown = open_page()
    line = shown.locator("#probe-line")
    picture = io.BytesIO()
    Image.fromarray(np.full((128, 60, 3), 90, np.uint8)).save(picture, "PNG")
    shown.get_by_test_id(f"{text.UPLOAD}-upload-button").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    )
    expect(line).to_contain_text(text.UPLOADED)
    shown.locator("[data-example]").nth(1).click()
    expect(line).to_contain_text("person 50")
    shown.locator("[data-example]").first.click()
    expect(line).to_contain_text("person 2")
    shown.wait_for_url(re.compile("probe=example%3A0002"))
    shown.wait_for_timeout(1000)
    place = shown.evaluate("history.state.place")
    shown.evaluate("history.go(-2)")
    expect(shown.get_by_text(text.PLACE_GONE).first).to_be_visible()
    shown.wait_for_function("place => history.state.place === place", arg=place)
    expect(line).to_contain_text("person 2")
    shown.go_back()
    expect(line).to_contain_text("person 50")
