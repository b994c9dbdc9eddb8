"""Record the README's pictures from the real page: `python -m docs.record` writes docs/drag.webp and docs/page.jpg.

It serves the shipped gallery, opens it in Chromium (Debian's `chromium`, driven by Playwright, as the tests do), and
drags the block over the probe of an example. Every person shown is synthetic.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from reid_demo.engine import Engine
from reid_demo.serving.page.view import build_ui, launch_options

FOLDER = Path(__file__).parent
SIZE = {"width": 1440, "height": 900}
WIDE = 960  # px of the animation
STEP_MS, REST_MS, GLIDE_MS = 110, 1400, 420
MOST_BYTES = 2_000_000
EXAMPLE = 0  # place in the strip
FLAGS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"]


def frames(page: Page) -> list[tuple[Image.Image, int]]:
    """Drag the block away and back; return pictures with how long each is shown, ms."""
    taken = [(picture(page), REST_MS)]
    box = page.locator(".stage-block").bounding_box()
    x, y, far = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    for place in [*range(1, 11), 10, 10, *range(9, -1, -1), 0, 0]:
        page.mouse.move(x, y - far * place / 10)
        page.wait_for_timeout(GLIDE_MS // 2)
        taken.append((picture(page), STEP_MS))
    page.mouse.up()
    page.wait_for_timeout(3 * GLIDE_MS)
    taken.append((picture(page), REST_MS))
    return taken


def picture(page: Page) -> Image.Image:
    """Return what the page shows of its first screen."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def write(taken: list[tuple[Image.Image, int]], path: Path) -> None:
    """Write an animation of less than `MOST_BYTES`."""
    small = [image.resize((WIDE, image.height * WIDE // image.width), Image.Resampling.LANCZOS) for image, _ in taken]
    shown = [duration for _, duration in taken]
    for quality in range(80, 10, -10):
        small[0].save(
            path, "WEBP", save_all=True, append_images=small[1:], duration=shown, loop=0, quality=quality, method=4
        )
        if path.stat().st_size < MOST_BYTES:
            return
    raise SystemExit(f"{path} cannot be made smaller than {MOST_BYTES} bytes. Take fewer pictures or a smaller size.")


def main() -> None:
    """Serve the page, drag on it, and write both pictures."""
    demo = build_ui(Engine.load())
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(url)
        page.locator("#why article").first.wait_for(timeout=60_000)
        page.locator(f'[data-example="{EXAMPLE}"]').click()
        page.wait_for_timeout(6000)  # its list, its explanation and all that comes late
        page.mouse.move(2, 2)
        picture(page).save(FOLDER / "page.jpg", quality=86, optimize=True)
        write(frames(page), FOLDER / "drag.webp")
        browser.close()
    demo.close()


if __name__ == "__main__":
    main()
