"""A real page over the tiny engine in a real browser; skipped with its reason where that is not installed."""

import functools
import os
import shutil
import time
from collections import deque

import pytest
from waits import wait_until

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"]
ARGUMENTS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
# Chromium makes a renderer of its own for the pop-ups of an address bar that nobody sees. Of several such lists the
# last counts, so it repeats what Playwright switches off.
UNUSED = ("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "InitialWebUI", "OptimizationHints")
UNUSED += ("MediaRouter", "PaintHolding", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable")
UNUSED += ("ThirdPartyStoragePartitioning", "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose")
ARGUMENTS += [f"--disable-features={','.join(UNUSED)}"]
WAIT_MS = 60_000
QUIET_MS, LONGEST_MS = 300, 10_000
HEARD = deque(maxlen=60)  # what the tabs last asked for and complained of


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Say beside a failure what the tabs did last."""
    report = yield
    if report.failed and HEARD:
        report.sections.append(("Browser", "\n".join(line[:200] for line in HEARD)))
    return report


@pytest.fixture(scope="session")
def address(tiny_engine):
    """Serve the page over the tiny engine as `app.py` does, under its policies, on a free port."""
    import app

    demo = app.serve(tiny_engine, app.Place("127.0.0.1"), prevent_thread_lock=True, quiet=True)
    yield demo.local_url
    try:
        wait_until(lambda: not any(demo._queue.active_jobs), LONGEST_MS / 1000)  # work that outlives Python aborts it
    finally:
        demo.close()


@pytest.fixture(scope="session")
def browser():
    """Return a headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright.expect.set_options(timeout=WAIT_MS)
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def open_tab(browser):
    """Return a function that opens an empty tab in a context of these options, which share what the server sent."""
    contexts = {}

    def open_one(**options):
        held = repr(sorted(options.items()))
        if held not in contexts:
            contexts[held] = browser.new_context(**options)
        tab = contexts[held].new_page()
        tab.set_default_timeout(WAIT_MS)

        def note(event, request) -> None:
            if "/assets/" not in request.url and "/static/" not in request.url:
                HEARD.append(f"{event} {request.method} {request.url}")

        for event in ("request", "requestfinished", "requestfailed"):
            tab.on(event, functools.partial(note, event))
        tab.on("console", lambda message: HEARD.append(f"console {message.type} {message.text}"))
        tab.on("pageerror", lambda error: HEARD.append(f"pageerror {error}"))
        return tab

    yield open_one
    for context in contexts.values():
        context.close()


@pytest.fixture(scope="session")
def settle():
    """Return a function that calls `open_it` and waits until the tab has asked for nothing for a while."""

    def wait(tab, open_it) -> None:
        asked, last = set(), [time.monotonic()]

        def note(change):
            def noted(request) -> None:
                if "/heartbeat/" not in request.url:  # it lasts as long as the page
                    change(request)
                    last[0] = time.monotonic()

            return noted

        heard = {"request": asked.add, "requestfinished": asked.discard, "requestfailed": asked.discard}
        heard = {event: note(change) for event, change in heard.items()}
        for event, noted in heard.items():
            tab.on(event, noted)
        open_it()
        until = time.monotonic() + LONGEST_MS / 1000
        while (asked or time.monotonic() - last[0] < QUIET_MS / 1000) and time.monotonic() < until:
            tab.wait_for_timeout(50)
        for event, noted in heard.items():
            tab.remove_listener(event, noted)

    return wait


@pytest.fixture
def page(open_tab, address, settle):
    """Open the page and wait for its first result, its explanation and all that comes late."""
    shown = open_tab(viewport={"width": 1280, "height": 1000})
    settle(shown, lambda: _until_explained(shown, address))
    yield shown
    shown.close()


def _until_explained(shown, address: str) -> None:
    from playwright.sync_api import expect

    from reid_demo.serving.page import text

    shown.goto(address)
    expect(shown.locator("#why article")).to_have_count(8)
    expect(shown.locator("#strip .thumbnail-item")).to_have_count(10)
    expect(shown.locator("#earned")).to_contain_text("What earned #1")
    expect(shown.locator("#earned")).not_to_contain_text(text.EARNED_WAIT)


@pytest.fixture
def settings(page):
    """Return a function that opens the sidebar and one of its drawers."""

    def open_drawer(drawer: str | None = None) -> None:
        if not page.locator(".sidebar.open").count():
            page.locator("#open-settings").click()
        if drawer:
            page.locator(f"#{drawer} button").first.click()

    return open_drawer


@pytest.fixture
def paint(page):
    """Return a function that chooses the brush and draws a stroke between two points of the probe, in fractions."""

    def draw(start: tuple[float, float] = (0.42, 0.3), end: tuple[float, float] = (0.58, 0.35)) -> None:
        page.locator("#more").click()
        page.locator("#paint").click()
        box = page.locator(".stage-probe").bounding_box()
        page.mouse.move(box["x"] + box["width"] * start[0], box["y"] + box["height"] * start[1])
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * end[0], box["y"] + box["height"] * end[1], steps=6)
        page.mouse.up()
        page.locator("#mode-end").click()

    return draw
