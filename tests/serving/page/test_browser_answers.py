"""No click is lost in a real browser: neither while the last answers still arrive nor right after another one."""

import pytest

from reid_demo.serving.page import text

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser
LINE = "#probe-line"
SLOW_END = """{ // a line on which the end of each stream of answers takes `window.late` ms
    const plainly = window.fetch.bind(window);
    window.late = 0;
    window.fetch = async (...request) => {
        const answer = await plainly(...request);
        if (!String(request[0].url ?? request[0]).includes("/queue/data?")) return answer;
        const slow = new TransformStream({ async transform(part, controller) {
            const words = new TextDecoder().decode(part), end = words.search(/data: *{"msg": *"close_stream"/);
            if (end < 0 || !window.late) { controller.enqueue(part); return; }
            const bytes = new TextEncoder();
            controller.enqueue(bytes.encode(words.slice(0, end)));
            await new Promise((resolve) => setTimeout(resolve, window.late));
            controller.enqueue(bytes.encode(words.slice(end)));
        } });
        return new Response(answer.body.pipeThrough(slow), { status: answer.status, headers: answer.headers });
    };
}"""


def test_a_click_made_while_the_end_of_the_answers_is_on_its_way_is_answered(open_tab, address, settle):
    shown = open_tab(viewport={"width": 1280, "height": 1000})
    shown.add_init_script(SLOW_END)
    settle(shown, lambda: shown.goto(address))
    expect(shown.locator("#why article")).to_have_count(8)
    shown.evaluate("window.late = 1500")
    for half in ("lower half", "upper half", "left half"):
        shown.locator(f"#hide-{half.replace(' ', '_')}").click()
        expect(shown.locator(LINE)).to_contain_text(half, timeout=15_000)
    expect(shown.locator("#earned")).not_to_contain_text(text.EARNED_WAIT, timeout=15_000)
    shown.close()


@pytest.mark.parametrize("taken", ["#undo", "#back"])
def test_what_is_taken_back_at_once_stays_taken_back(page, taken):
    page.evaluate(
        "(taken) => { for (const id of ['#hide-lower_half', taken]) document.querySelector(id).click(); }", taken
    )
    page.wait_for_timeout(2500)  # longer than a block needs to settle
    expect(page.locator(LINE)).to_contain_text(text.NO_RECIPE)
    expect(page.locator(".stage-block")).to_be_hidden()
    expect(page.locator("[data-example]").first).to_have_attribute("aria-current", "true")
