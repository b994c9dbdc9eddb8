"""The page in another origin's frame: it works where that origin may frame it, as on a Space, and nowhere else."""

import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import app
from reid_demo.serving import border

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.browser


@pytest.fixture
def outside():
    """Serve a page of another origin that shows an address in a frame; return its own address."""

    class Outside(BaseHTTPRequestHandler):
        def do_GET(self):
            inner = self.path.partition("?")[2]
            body = f'<!doctype html><iframe src="{inner}" width="1270" height="990"></iframe>'.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Outside)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@dataclasses.dataclass(frozen=True)
class Framed(app.Place):
    """A place that one origin may frame, as a Space's page may be framed by the Hub."""

    origin: str = ""

    def rules(self) -> border.Rules:
        return dataclasses.replace(super().rules(), frames=(self.origin,))


def test_an_origin_that_may_frame_the_page_can_use_it(browser, tiny_engine, outside):
    demo = app.serve(tiny_engine, Framed("127.0.0.1", origin=outside), prevent_thread_lock=True, quiet=True)
    shown = browser.new_page(viewport={"width": 1280, "height": 1000})
    try:
        shown.goto(f"{outside}/?{demo.local_url}")
        inner = shown.frame_locator("iframe")
        expect(inner.locator("#strip .thumbnail-item")).to_have_count(10)
        shown.wait_for_timeout(1500)
        inner.locator("#hide-lower_half").click()
        expect(inner.locator("#probe-line")).to_contain_text("lower half")
    finally:
        shown.close()
        demo.close()


def test_no_other_origin_can_frame_it(browser, address, outside):
    shown, refused = browser.new_page(), []
    shown.on("console", lambda message: refused.append(message.text))
    shown.goto(f"{outside}/?{address}")
    shown.wait_for_timeout(1000)
    assert any("frame-ancestors" in words for words in refused)
    assert shown.frame_locator("iframe").locator("#strip").count() == 0
    shown.close()
