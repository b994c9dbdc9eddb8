"""One visitor makes a gallery and cuts a person out of a frame; another cannot see it; closing deletes it."""

import re
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from figures import draw_person
from PIL import Image
from waits import wait_until

from reid_demo.serving import visitors as private
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import own

pytestmark = pytest.mark.browser


@pytest.fixture
def files(tmp_path):
    """Return a zip of twelve pictures, one of them broken, and a frame with one person."""
    packed = tmp_path / "album.zip"
    with zipfile.ZipFile(packed, "w") as album:
        for pid in range(1, 13):
            picture = tmp_path / f"IMG_{pid:02d}.png"
            Image.fromarray(draw_person(pid, 1)).save(picture)
            album.write(picture, f"album/{picture.name}")
        album.writestr("broken.jpg", "no picture")
    frame = np.full((400, 600, 3), 128, np.uint8)
    frame[50:306, 200:328] = np.asarray(Image.fromarray(draw_person(3, 1)).resize((128, 256)))
    Image.fromarray(frame).save(tmp_path / "frame.png")
    return packed, tmp_path / "frame.png"


TWO_CORNERS = """async (picture, corners) => { // the second before the first is drawn
    const box = picture.getBoundingClientRect();
    for (const [x, y] of corners) {
        picture.dispatchEvent(new MouseEvent("click", {
            bubbles: true, clientX: box.left + x * box.width, clientY: box.top + y * box.height,
        }));
        await new Promise((resolve) => setTimeout(resolve, 300));
    }
}"""


def held() -> set:
    """Return the private galleries on disk."""
    roots = Path(tempfile.gettempdir()).glob(f"{private.PREFIX}*")
    return {path for root in roots for path in root.glob("galleries_*/*") if path.is_dir()}


def test_own_gallery_and_frame(page, browser, address, files, monkeypatch):
    from playwright.sync_api import expect

    before = held()
    album, frame = files
    page.get_by_role("tab", name="Your pictures").click()
    page.set_input_files("#own-files input[type=file]", album)
    expect(page.locator("#own-files")).to_contain_text("album")
    page.locator("#own-make").click()
    expect(page.locator("#own-told")).to_contain_text("12 pictures")
    expect(page.locator("#own-report")).to_contain_text("broken.jpg")
    expect(page.locator("#own-report")).to_contain_text("Its first picture is the probe now")
    expect(page.locator("#status")).to_contain_text("your own gallery of 12 pictures")
    expect(page.locator("#strip .thumbnail-item").first).to_contain_text("IMG_01")
    assert len(held() - before) == 1
    expect(page.locator(".stage-examples")).to_contain_text(text.STAGE_EXAMPLES_OF)  # their ranks are not of this one

    page.locator("#own-look").click()
    page.locator("#browse-grid .thumbnail-item").nth(4).click()
    expect(page.locator("#strip .thumbnail-item").first).to_contain_text("IMG_05")
    page.locator("#hide-lower_half").click()
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    expect(page.locator("#status")).to_contain_text("your own gallery")

    page.get_by_role("tab", name="Your pictures").click()
    with page.expect_file_chooser() as chooser:
        page.locator("#frame-open").click()
    chooser.value.set_files(frame)
    picture = page.locator("#frame img")
    expect(picture).to_be_visible()
    set_corner = own.click
    monkeypatch.setattr(own, "click", lambda *values: (time.sleep(0.6), set_corner(*values))[1])
    picture.evaluate(TWO_CORNERS, [[200 / 600, 50 / 400], [328 / 600, 306 / 400]])
    for side in ("width", "height"):
        expect(page.locator(f"#frame-{side} input")).to_have_value(re.compile(r"[1-9]\d+"))
    page.wait_for_timeout(1000)  # the numbers' own events are on their way
    page.locator("#frame-search").click()
    expect(page.locator("#probe-line")).to_contain_text("A box of your frame")
    expect(page.locator("#strip .thumbnail-item").first).to_contain_text("IMG_03")

    other = browser.new_page()
    other.goto(address)
    expect(other.locator("#strip .thumbnail-item")).to_have_count(10)
    expect(other.locator("#status")).not_to_contain_text("your own gallery")
    other.close()

    page.locator("#own-save").click()
    with page.expect_download() as download:
        page.locator("#own-fetch").click()
    with zipfile.ZipFile(download.value.path()) as saved:
        assert "my_gallery/meta.json" in saved.namelist()
    monkeypatch.setattr(private, "GRACE_S", 1)  # of minutes, for a connection that comes back
    monkeypatch.setattr(private, "SWEEP_S", 1)
    page.close()
    wait_until(lambda: held() <= before, 60)  # the clock deletes the gallery of a page that was closed


def test_a_gallery_of_known_people_offers_to_be_measured(page, tmp_path):
    from playwright.sync_api import expect

    packed = tmp_path / "named.zip"
    with zipfile.ZipFile(packed, "w") as album:
        for pid in range(1, 22):
            for camid in (1, 2):
                picture = tmp_path / f"{pid:04d}_c{camid}s1_000001_00.png"
                Image.fromarray(draw_person(pid, camid)).save(picture)
                album.write(picture, picture.name)
    page.get_by_role("tab", name="Your pictures").click()
    expect(page.locator("#own-measure")).to_be_hidden()
    page.set_input_files("#own-files input[type=file]", packed)
    expect(page.locator("#own-files")).to_contain_text("named")
    page.locator("#own-make").click()
    expect(page.locator("#own-told")).to_contain_text("42 pictures")
    page.locator("#own-measure").click()
    expect(page.locator("#own-report")).to_contain_text("Measured on 21 of your people with 42 searches")
    expect(page.locator("#own-report")).to_contain_text("95 %")
    page.locator("#own-leave").click()
    expect(page.locator("#own-measure")).to_be_hidden()


def test_what_is_done_while_a_gallery_is_made_stays_and_its_tiles_are_its_own(page, files, tmp_path, monkeypatch):
    from playwright.sync_api import expect

    def send(path) -> None:
        page.set_input_files("#own-files input[type=file]", path)
        expect(page.locator("#own-files")).to_contain_text(path.stem)
        page.locator("#own-make").click()

    page.get_by_test_id(f"{text.UPLOAD}-upload-button").set_input_files(files[1].with_name("IMG_03.png"))
    expect(page.locator("#probe-line")).to_contain_text(text.UPLOADED)
    page.get_by_role("tab", name="Your pictures").click()
    (tmp_path / "torn.zip").write_bytes(b"no zip")
    send(tmp_path / "torn.zip")
    expect(page.locator(".toast-body")).to_contain_text("Pack it again")
    expect(page.locator("#own-files")).not_to_contain_text("torn")  # the server has deleted it

    slow, begin = threading.Event(), own.make
    monkeypatch.setattr(own, "make", lambda *given: (begin(*given), slow.wait(30))[0])
    send(files[0])
    page.locator("#hide-lower_half").click()
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    slow.set()
    expect(page.locator("#own-told")).to_contain_text("12 pictures")
    expect(page.locator("#status")).to_contain_text("your own gallery")
    expect(page.locator("#probe-line")).to_contain_text("lower half")
    expect(page.locator("#probe-line")).to_contain_text(text.UPLOADED)

    first = page.locator('[data-row="now"] .stage-tile:not(.leaving) img').first
    expect(first).to_have_attribute("src", re.compile("^data:"))
    before, row = first.get_attribute("src"), first.locator("..").get_attribute("data-index")
    with zipfile.ZipFile(tmp_path / "others.zip", "w") as album:
        for pid in range(1, 13):  # the same rows, other people
            picture = tmp_path / f"IMG_{pid:02d}.png"
            Image.fromarray(draw_person(pid + 20, 2)).save(picture)
            album.write(picture, picture.name)
    send(tmp_path / "others.zip")
    expect(page.locator("#strip .thumbnail-item")).to_have_count(10)
    tile = page.locator(f'[data-row="now"] .stage-tile[data-index="{row}"]:not(.leaving) img')
    expect(page.locator("#own-files")).not_to_contain_text("others")
    for one in page.locator(".stage-tile:not(.leaving) img").all():
        expect(one).to_have_attribute("src", re.compile("^data:"))
    assert tile.count() == 0 or tile.first.get_attribute("src") != before
