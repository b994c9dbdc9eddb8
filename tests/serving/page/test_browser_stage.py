"""The stage in a real browser: halves, drag, keyboard, why, what stands on the first screen, and who can use it."""

import re

import pytest

from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser
LOWER, NOW = "#hide-lower_half", '[data-row="now"]'
SIZES = [(1440, 900), (390, 844)]


@pytest.fixture
def open_page(open_tab, address, settle):
    """Return a function that opens the page at a size; on a touch screen where it is a phone's."""
    opened = []

    def visit(width: int, height: int, scheme: str = "light", settled: bool = True, late=(), **more):
        size = {"width": width, "height": height}
        shown = open_tab(viewport=size, has_touch=width < 500, color_scheme=scheme, **more)
        opened.append(shown)
        shown.add_init_script(
            """window.shifts = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
                if (entry.hadRecentInput) return;
                window.shifts += entry.value;
                window.shifted = [...(window.shifted || []), ...entry.sources.map((s) =>
                    [entry.value.toFixed(3), s.node?.id || s.node?.className, s.previousRect.y, s.currentRect.y])];
            })).observe({type: 'layout-shift', buffered: true});"""
        )
        if late:  # the scripts of these components come 100 ms apart

            def hold(route) -> None:
                name = next(i for i, one in enumerate(late) if f"/{one}" in route.request.url)
                shown.wait_for_timeout(100 * name)
                route.continue_()

            shown.route(re.compile(rf"/assets/({'|'.join(late)})[^/]*\.js"), hold)

        def until_shown():
            shown.goto(address + ("?__theme=dark" if scheme == "dark" else ""))
            expect(shown.locator(f"{NOW} .stage-tile").first).to_be_visible()
            if settled:
                expect(shown.locator("#why article")).to_have_count(8)

        settle(shown, until_shown) if settled else until_shown()
        return shown

    yield visit
    for shown in opened:
        shown.close()


def test_a_half_is_a_toggle_and_becomes_a_change(page):
    expect(page.locator(f"{NOW} .stage-tile")).not_to_have_count(0)
    page.locator(LOWER).click()
    expect(page.locator(".stage-say")).to_contain_text("Without the lower half")
    expect(page.locator(LOWER)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    page.locator(LOWER).click()
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)
    expect(page.locator(".stage-block")).to_be_hidden()


def test_quick_presses_count_one_and_all(page):
    for half in ("upper", "lower", "left"):
        page.locator(f"#hide-{half}_half").click()
        page.wait_for_timeout(170)  # longer than the stage waits, shorter than a search
    expect(page.locator("#probe-line")).to_contain_text("Changes: left half")
    page.wait_for_timeout(1500)
    expect(page.locator("#probe-line")).to_contain_text("Changes: left half")
    expect(page.locator("#hide-left_half")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".stage-say")).to_contain_text("Without the left half")


def test_the_block_is_dragged_and_moved_by_keyboard(page):
    page.locator(LOWER).click()
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    block = page.locator(".stage-block")
    before = block.bounding_box()
    page.mouse.move(before["x"] + 60, before["y"] + 60)
    page.mouse.down()
    page.mouse.move(before["x"] + 60, before["y"] - 40, steps=5)
    expect(page.locator(".stage-chip")).to_have_class(re.compile("behind"))  # it still says "lower half"
    page.mouse.up()
    expect(page.locator("#probe-line")).to_contain_text("box")
    expect(page.locator(".stage-chip")).not_to_have_class(re.compile("behind"))
    assert before["y"] - block.bounding_box()["y"] == pytest.approx(100, abs=3)
    moved = block.bounding_box()
    block.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowUp")
    after = block.bounding_box()
    assert after["y"] > moved["y"] and after["height"] < moved["height"]
    page.keyboard.press("Delete")
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)


def test_a_tile_that_is_clicked_is_explained_and_stays_chosen(page):
    page.locator(f"{NOW} .stage-tile").nth(2).click()
    expect(page.locator("#why-heading")).to_contain_text("Match #3")
    expect(page.locator(f"{NOW} .stage-tile.chosen")).to_have_count(1)
    expect(page.locator("#stage-why-heading")).to_contain_text(f"{text.STAGE_WHY} 3")
    shown = page.locator(".stage-part em").all_inner_texts()
    terms = [float(term.replace("−", "-").replace("+", "")) for term in shown]
    assert len(terms) == 9
    total = float(page.locator(".stage-sum b").inner_text().split(",")[0])
    assert sum(terms) == pytest.approx(total, abs=0.006)  # each is rounded to a thousandth
    index = page.locator(f"{NOW} .stage-tile.chosen").get_attribute("data-index")
    page.locator(LOWER).click()
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    expect(page.locator(".stage-tile.chosen").first).to_have_attribute("data-index", index)
    expect(page.locator(".stage-sum b")).to_contain_text("was")


def test_a_part_lights_both_pictures_by_pointer_and_by_focus(page):
    pixels = "() => [...document.querySelectorAll('.stage-pair canvas')].map((c) => c.toDataURL())"
    page.locator(".stage-part").nth(2).hover()
    expect(page.locator('.stage-part[data-part="2"]')).to_have_class(re.compile("lit"))
    one = page.evaluate(pixels)
    page.locator(".stage-part").nth(6).focus()
    page.locator(".stage-say").hover()
    expect(page.locator('.stage-part[data-part="6"]')).to_have_class(re.compile("lit"))
    other = page.evaluate(pixels)
    assert one[0] != other[0] and one[1] != other[1]
    page.locator(".stage-part").first.hover()  # the whole person: plain pictures
    assert page.evaluate(pixels)[0] not in (one[0], other[0])


def test_weighings_are_compared_and_the_rows_are_named(page):
    page.locator(LOWER).click()
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    page.locator("#compare").click()
    expect(page.locator('[data-name="now"]')).to_have_text(text.STAGE_COSINE)
    expect(page.locator('[data-name="before"]')).to_have_text(text.STAGE_PART_AWARE)
    expect(page.locator(".stage-say")).to_contain_text(re.compile("cosine puts|both put"))
    page.locator("#hide-upper_half").click()
    expect(page.locator("#probe-line")).to_contain_text("upper half")
    expect(page.locator('[data-name="now"]')).to_have_text(text.STAGE_COSINE)  # through a change
    page.locator("#compare").click()
    expect(page.locator('[data-name="now"]')).to_have_text(text.STAGE_NOW)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_matters_is_on_the_first_screen(open_page, width, height):
    shown = open_page(width, height)
    places = [".stage-say > p", ".stage-probe", LOWER, "#hide-upper_half", "#hide-left_half", "#hide-right_half", NOW]
    if width > 860:
        places += ['[data-row="before"]', ".stage-why", '.stage-pair [data-side="match"]', ".stage-sum", ".stage-chips"]
    for place in places:
        box = shown.locator(place).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height, (place, box)
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1, (place, box)
    if width < 500:
        assert shown.locator(LOWER).bounding_box()["height"] >= 44
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    prose = shown.evaluate(
        """(height) => [...document.querySelectorAll('h1, .honesty, .stage p, .stage-verdict b, .stage-verify')]
            .filter((e) => e.offsetParent && !e.closest('.about-card') && e.getBoundingClientRect().top < height)
            .map((e) => e.innerText).join(' ')""",
        height,
    )
    assert len(prose.split()) <= 60, prose
    assert text.STAGE_VERIFY in prose
    assert shown.evaluate("window.shifts") < 0.05, shown.evaluate("window.shifted")


def test_sentence_and_row_stay_in_sight_on_a_phone_which_scrolls_by_a_swipe(open_page):
    shown = open_page(390, 844)
    for place, wanted in ((".stage-block", "none"), (".stage-probe", "auto"), (".stage-say", "auto"), (NOW, "auto")):
        assert shown.locator(place).evaluate("e => getComputedStyle(e).touchAction") == wanted
    for down in (300, 900, 2000):
        shown.evaluate("(y) => window.scrollTo(0, y)", down)
        shown.wait_for_timeout(200)
        bottom = 0
        for place in (".stage-say > p", NOW):
            box = shown.locator(place).bounding_box()
            assert box["y"] >= bottom - 30 and box["y"] + box["height"] <= 844, (down, place, box)
            bottom = box["y"]


def test_the_page_opens_with_its_result_though_the_queue_never_answers(open_tab, address):
    shown = open_tab(viewport={"width": 1440, "height": 900})
    shown.route("**/queue/join*", lambda route: None)  # held for ever
    shown.goto(address)
    expect(shown.locator(f"{NOW} .stage-tile img").first).to_have_attribute("src", re.compile("^data:"))
    expect(shown.locator(".stage-say")).to_contain_text("right person")
    expect(shown.locator(".stage-part")).to_have_count(9)
    shown.locator(LOWER).click()  # and it drags: that passes the queue by
    expect(shown.locator(".stage-say")).to_contain_text("Without the lower half")
    shown.close()


def test_what_is_pressed_before_the_visit_is_opened_is_done_once_it_is(open_tab, address):
    shown = open_tab(viewport={"width": 1440, "height": 900})
    held = []
    # The first one opens the visit. The route stays: taking it away would meet what the page asks for just then.
    shown.route("**/gradio_api/run/*", lambda route: route.continue_() if held else held.append(route))
    shown.goto(address)
    expect(shown.locator(".stage-part")).to_have_count(9)
    expect(shown.locator(".stage-block")).to_be_hidden()
    shown.locator(LOWER).click()
    expect(shown.locator(".stage-block")).to_be_visible()
    shown.wait_for_timeout(500)  # longer than a block takes to settle
    assert held and "Without" not in shown.locator(".stage-say").inner_text()
    for route in held:
        route.continue_()
    expect(shown.locator(".stage-say")).to_contain_text("Without the lower half")
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    shown.close()


def test_what_is_done_quickly_is_done_in_its_order_though_requests_may_overtake_each_other(page):
    sent, held = [], []

    def hold(route) -> None:
        verb = re.search(r'"verb":"(\w+)"', route.request.post_data or "")
        sent.extend(verb.groups() if verb else ())
        held.append(route) if sent == ["settle"] and not held else route.continue_()

    page.route("**/queue/join*", hold)
    page.locator(LOWER).click()
    page.locator("#back").click()  # while the block's own request is on its way
    page.wait_for_timeout(500)  # longer than another request would take
    assert sent == ["settle"]
    with page.expect_request(lambda request: '"verb":"back"' in (request.post_data or "")):
        held[0].continue_()
    expect(page.locator("#probe-line")).to_contain_text(text.NO_RECIPE)
    expect(page.locator("[data-example]").first).to_have_attribute("aria-current", "true")
    expect(page.locator(".stage-block")).to_be_hidden()


def test_what_a_busy_server_refuses_does_not_keep_back_what_is_done_next(page):
    refused = []

    def refuse(route) -> None:
        if refused or '"settle"' not in (route.request.post_data or ""):
            route.continue_()
        else:
            refused.append(route)
            route.fulfill(status=503, json={"detail": "Busy"})

    page.route("**/queue/join*", refuse)
    page.locator(LOWER).click()
    expect(page.locator(".toast-body")).to_contain_text("busy")
    page.locator("#hide-upper_half").click()
    expect(page.locator("#probe-line")).to_contain_text("upper half", timeout=10_000)


def test_nothing_shifts_where_the_stage_comes_after_what_stands_below_it(open_page):
    shown = open_page(1440, 900, late=("Tab", "Gallery", "Markdown", "HTML"))
    assert shown.evaluate("window.shifts") < 0.05, shown.evaluate("window.shifted")


def test_the_list_is_reached_in_ten_tabs_and_says_what_it_shows(open_page):
    shown = open_page(1440, 900)
    shown.locator(LOWER).click()
    expect(shown.locator("#probe-line")).to_contain_text("lower half")
    shown.evaluate("document.activeElement.blur()")
    for _ in range(10):
        shown.keyboard.press("Tab")
        if shown.evaluate("document.activeElement.matches('[data-row=now] .stage-tile')"):
            break
    else:
        pytest.fail("ten tabs do not reach the list")
    label = shown.evaluate("document.activeElement.getAttribute('aria-label')")
    right, wrong = text.STAGE_MARKS["right"], text.STAGE_MARKS["wrong"]
    assert re.fullmatch(rf"Rank \d+, person \d+, camera \d+, ({right}|{wrong})", label), label
    assert shown.locator(".stage-say > p").get_attribute("role") == "status"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_large_and_dark_enough_and_targets_wide_enough(open_page, scheme):
    shown = open_page(1440, 900, scheme)
    shown.locator("#more").click()
    faults = shown.evaluate(
        """() => {
            const rgb = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
            const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92
                : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
            const found = [];
            for (const e of document.querySelectorAll('#header *, .stage *')) {
                const words = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
                if (!words || !e.offsetParent || e.closest('.leaving')) continue;
                const style = getComputedStyle(e), a = light(rgb(style.color)), b = light(behind(e));
                const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                if (parseFloat(style.fontSize) < 12) found.push(['small', e.className, style.fontSize]);
                if (ratio < 4.5) found.push(['faint', e.className, e.textContent.slice(0, 20), ratio.toFixed(2)]);
            }
            for (const e of document.querySelectorAll('button, summary, select')) {
                const box = e.getBoundingClientRect();
                if (!e.offsetParent || !e.closest('#header, .stage')) continue;
                if (box.width < 24 || box.height < 24) found.push(['tiny', e.id || e.className, box.height]);
            }
            return found;
        }"""
    )
    assert faults == []
    shown.keyboard.press("Escape")
    expect(shown.locator("#stage-drawer")).to_be_hidden()
    shown.locator("#open-settings").click()
    expect(shown.locator("#top-k")).to_be_visible()
    shown.keyboard.press("Escape")
    expect(shown.locator("#top-k")).to_be_hidden()


def test_the_buttons_that_hide_are_one_stop_with_arrows(page):
    page.locator("#hide-upper_half").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    page.keyboard.press("Tab")
    assert page.evaluate("!document.activeElement.closest('.stage-halves')")


def test_what_an_i_tells_opens_on_focus_on_hover_and_by_a_click(open_page):
    shown = open_page(1440, 900)
    card, mark = shown.locator(".stage-scale .about-card"), shown.locator(".stage-scale summary")
    mark.hover()
    expect(card).to_be_visible()
    shown.locator(".stage-say").hover()
    expect(card).to_be_hidden()
    mark.click()
    expect(card).to_be_visible()
    shown.keyboard.press("Escape")
    expect(card).to_be_hidden()
    shown.locator("#compare").focus()
    shown.keyboard.press("Tab")
    expect(card).to_be_visible()


def test_at_twice_the_size_nothing_scrolls_sideways(open_page):
    shown = open_page(720, 450)
    assert shown.evaluate("document.documentElement.scrollWidth") <= 720
    assert shown.locator(".stage-say").is_visible() and shown.locator(LOWER).is_visible()


def test_a_server_that_does_not_answer_is_said_and_asked_again(page):
    """Gradio's client answers a call that failed with nothing, not with an error."""
    for tile in page.locator(f"{NOW} .stage-tile img").all():
        expect(tile).to_have_attribute("src", re.compile("^data:"))
    page.route(re.compile("component_server"), lambda route: route.abort())
    page.locator("#hide-upper_half").click()
    expect(page.locator(".stage-say")).to_contain_text(text.STAGE_LOST_SERVER)
    page.unroute(re.compile("component_server"))
    page.locator("#hide-left_half").click()
    expect(page.locator(".stage-say")).to_contain_text("Without the left half")
    for tile in page.locator(".stage-tile:not(.leaving) img").all():
        expect(tile).to_have_attribute("src", re.compile("^data:"))


def test_the_keyboard_sets_how_many_matches_are_listed(page, settings):
    settings()
    page.locator("#top-k input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#strip .thumbnail-item")).to_have_count(11)


def test_a_file_that_is_dropped_beside_its_field_does_not_leave_the_page(page):
    dropped = page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["{}"], "case.json", { type: "application/json" }));
            const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
            return event.defaultPrevented;
        }"""
    )
    assert dropped
