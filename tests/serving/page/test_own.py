"""A visitor's own gallery and whole frames, without Gradio."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError, GalleryError, ImageError, OcclusionError
from reid_demo.images import PROBE_SIDE, read_image
from reid_demo.measuring.calibrate import calibrate_stored
from reid_demo.records import Occlusion
from reid_demo.search.detector import Found
from reid_demo.serving import gradio_patches
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import browse, link, mark, own, ranking
from reid_demo.serving.page.handlers.places import go
from reid_demo.serving.page.handlers.probe import Hiding, PixelBox, hide, open_example, open_match, open_picture
from reid_demo.serving.page.handlers.ranking import caption
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.visitors import PrivateGalleries
from reid_demo.whatif.confidence import FILE, read


@pytest.fixture
def settings(tiny_engine):
    return default_settings(tiny_engine)


@pytest.fixture
def galleries(tiny_engine):
    return PrivateGalleries(tiny_engine)


@pytest.fixture
def uploads(tmp_path):
    """Return a zip of three pictures and a broken one, and a single picture."""
    packed = tmp_path / "album.zip"
    with zipfile.ZipFile(packed, "w") as files:
        for pid in (2, 3, 4):
            buffer = io.BytesIO()
            Image.fromarray(draw_person(pid, 1)).save(buffer, "PNG")
            files.writestr(f"day one/IMG_{pid}.png", buffer.getvalue())
        files.writestr("<b>broken.png", b"no picture")
    single = tmp_path / "IMG_5.png"
    Image.fromarray(draw_person(5, 1)).save(single)
    return [str(packed), str(single)]


def made(galleries, session, settings, uploads, owner="me"):
    token, report = own.make(galleries, own.Upload(owner, uploads))
    return own.enter(galleries, session, settings, token), report


def test_a_picture_that_others_are_shown_is_not_deleted(galleries, tmp_path):
    """Its path is told to everybody who sees it, and a call may name it as if it were an upload."""
    shown = gradio_patches.save_whole(Image.fromarray(draw_person(3, 1)), str(tmp_path))
    own.make(galleries, own.Upload("me", [shown]))
    assert Path(shown).exists()


def test_a_visit_searches_its_own_gallery_with_every_verb(tiny_engine, galleries, settings, uploads, tmp_path):
    shipped = open_example(tiny_engine, Session(), settings, 0)
    now, report = made(galleries, shipped, settings, uploads)
    engine = galleries.engine_of(now.own)
    assert len(now.matches) == 4 and now.matches[0].similarity > 0.99, "its first picture is the probe and found"
    assert Path(now.matches[0].record.path).name.startswith("IMG_2")
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob("*.png")), "uploads are gone"
    said = own.told(engine, report)
    assert "4 pictures" in said and "&lt;b" not in said and "broken.png" in said
    assert "1 files not used." in said and "frames without" not in said  # only what there is
    assert "takes 20 people under two cameras" in said and "files tell 0." in said
    assert "first picture is the probe" in own.told(engine, report, first=True)
    assert "first picture is the probe" not in said
    assert "4 pictures, which only you see" in ranking.status(engine, now)
    assert "own-badge" not in ranking.status(tiny_engine, shipped)
    believed = "How far a similarity can be believed"  # an own gallery was not measured, and that is said
    assert believed in ranking.status(engine, now) and believed not in ranking.status(tiny_engine, shipped)
    assert caption(now, now.matches[0]).endswith("IMG_2")
    hidden = hide(engine, now, settings, Hiding("lower_half", "black"))
    assert hidden.own == now.own and len(hidden.matches) == 4 and hidden.matches[0].similarity < 0.999
    example = open_example(engine, now, settings, 0)
    assert example.own == now.own and example.pid is None and example.first_right is None
    with pytest.raises(ImageError, match="never goes into one|for shipped examples"):
        link.query(engine, example)


def test_the_visitors_own_probe_stays(tiny_engine, galleries, settings, uploads):
    mine = open_picture(tiny_engine, Session(), settings, draw_person(3, 2))
    now, _ = made(galleries, mine, settings, uploads)
    assert now.image is mine.image and {m.index for m in now.matches} == {0, 1, 2, 3} and now.decisions == {}


def test_leaving_deletes_and_goes_back(tiny_engine, galleries, settings, uploads):
    now, _ = made(galleries, Session(), settings, uploads)
    back = own.leave(galleries, now, settings)
    assert back.own == "" and len(back.matches) == settings.top_k and back.source == "gallery:0"
    with pytest.raises(GalleryError, match="no longer here"):
        galleries.engine_of(now.own)
    for verb in (lambda: own.leave(galleries, back, settings), lambda: own.save(galleries, back)):
        with pytest.raises(GalleryError, match="no gallery of your own"):
            verb()
    gone = own.leave(galleries, now, settings)  # deleted meanwhile: the way back stays open
    assert gone.own == ""


def test_a_shipped_probe_is_known_in_the_shipped_gallery_alone(tiny_engine, galleries, settings, uploads):
    shipped = open_example(tiny_engine, Session(), settings, 0)
    now, _ = made(galleries, shipped, settings, uploads)
    engine = galleries.engine_of(now.own)
    back = go(engine, now, settings, {"place": shipped.place})
    assert back.own and back.source == shipped.source and back.pid is None and back.first_right is None
    left = own.leave(galleries, back, settings)
    assert (left.pid, left.camid, left.first_right) == (shipped.pid, shipped.camid, shipped.first_right)
    assert [match.index for match in left.matches] == [match.index for match in shipped.matches]
    example = hide(engine, open_example(engine, now, settings, 1), settings, Hiding("centre"))
    known = own.leave(galleries, example, settings)
    assert example.pid is None and known.pid == open_example(tiny_engine, Session(), settings, 1).pid and known.recipe


def test_a_visit_looks_through_its_own_gallery(tiny_engine, galleries, settings, uploads):
    shipped = browse.look(tiny_engine, Session())
    now, _ = made(galleries, Session(), settings, uploads)
    engine = galleries.engine_of(now.own)
    view = browse.look(engine, now)
    assert [words for _, words in browse.pictures(engine, view)] == ["IMG_2", "IMG_3", "IMG_4", "IMG_5"]
    picked = browse.search_from(engine, now, settings, view, 3)
    assert picked.own == now.own and picked.source == "gallery:3" and picked.matches[0].index == 3
    with pytest.raises(GalleryError, match="no longer searched"):
        browse.search_from(engine, now, settings, shipped, 3)


def test_no_upload_is_a_sentence(galleries):
    for nothing in (None, []):
        with pytest.raises(ImageError, match="Choose pictures or a zip"):
            own.make(galleries, own.Upload("me", nothing))


@pytest.fixture
def frame(tmp_path):
    """Return a frame of 1536 x 512 px with a person at x 600 to 728, y 100 to 356."""
    picture = np.full((512, 1536, 3), 128, np.uint8)
    picture[100:356, 600:728] = np.asarray(Image.fromarray(draw_person(2, 1)).resize((128, 256)))
    path = tmp_path / "frame.png"
    Image.fromarray(picture).save(path)
    return own.open_frame(path)


class OnePerson:
    """A finder that knows where the person is."""

    def find(self, image):
        return [Found((600, 100, 728, 356), 1.0)]


def test_a_person_who_was_found_becomes_the_probe(tiny_engine, settings, frame):
    assert "1536 x 512" in own.frame_line(frame) and own.fields(frame) == [None] * 4
    found = own.choose(own.find(frame, OnePerson()), 0)
    assert own.fields(found) == [600, 100, 128, 256] and "1 found" in own.frame_line(found)
    assert [words for _, words in own.cuts(found)] == ["1"]
    now = own.search_box(tiny_engine, Session(), settings, found, PixelBox(*own.fields(found)))
    assert now.title == "Person 1 of your frame" and now.image.shape == (256, 128, 3) and now.source == ""
    alone = open_picture(
        tiny_engine, Session(), settings, np.asarray(Image.fromarray(draw_person(2, 1)).resize((128, 256)))
    )
    assert [m.index for m in now.matches] == [m.index for m in alone.matches]
    assert np.array_equal(now.image, alone.image)


def test_two_clicks_make_a_box_in_the_pixels_of_the_frame(tiny_engine, settings, frame):
    shown = own.draw(frame)
    assert shown.shape == (341, 1024, 3)
    first = own.click(frame, 728 / 1.5, 356 / 1.5)
    assert first.corner == (728, 356) and first.box is None and "opposite" in own.frame_line(first)
    both = own.click(first, 600 / 1.5, 100 / 1.5)
    assert both.box == (600, 100, 728, 356) and both.corner is None
    assert (own.draw(both) != shown).any() and (own.draw(first) != shown).any()
    now = own.search_box(tiny_engine, Session(), settings, both, PixelBox(*own.fields(both)))
    assert now.title == "A box of your frame"
    outside = own.click(own.click(frame, -5, -5), 5000, 5000)
    assert outside.box == (0, 0, 1536, 512)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((None, 0, 10, 10), "Choose a person"),
        ((0, 0, 0, 0), "Choose a person"),
        ((1500, 0, 100, 100), "leaves the frame, which is 1536 x 512"),
        ((-1, 0, 100, 100), "leaves the frame"),
        ((0, 0, 100, 0), "leaves the frame"),
    ],
)
def test_a_wrong_box_is_a_sentence(tiny_engine, settings, frame, box, words):
    with pytest.raises(OcclusionError, match=words):
        own.search_box(tiny_engine, Session(), settings, frame, PixelBox(*box))


def test_what_is_no_frame_or_no_person_is_a_sentence(tiny_engine, settings, frame, tmp_path):
    with pytest.raises(ImageError, match="at least 16"):
        own.search_box(tiny_engine, Session(), settings, frame, PixelBox(0, 0, 8, 100))
    with pytest.raises(ImageError, match="Open a frame first"):
        own.find(own.Frame(), OnePerson())
    with pytest.raises(ImageError, match="Open a frame first"):
        own.open_frame(None)
    with pytest.raises(OcclusionError, match="Choose a person"):
        own.choose(frame, 0)
    bad = tmp_path / "bad.png"
    bad.write_text("x")
    with pytest.raises(ImageError, match="not an image"):
        own.open_frame(bad)
    assert "saw nobody" in own.frame_line(replace(frame, people=()))
    assert own.draw(own.Frame()) is None and own.frame_line(own.Frame()) == ""


def test_a_wide_picture_may_be_a_frame_and_what_cannot_be_read_is_none(tmp_path):
    """The search for it as a probe says what is wrong; said twice, it reads as two faults."""
    broken, tall, wide = (tmp_path / name for name in ("broken.jpg", "tall.png", "wide.png"))
    broken.write_bytes(b"no picture")
    Image.fromarray(draw_person(3, 1)).save(tall)
    Image.fromarray(draw_person(3, 1)).rotate(90, expand=True).save(wide)
    assert [own.is_wide(path) for path in (None, broken, tall, wide)] == [False, False, False, True]


@pytest.fixture
def named(tmp_path):
    """Return a zip of 21 people under two cameras each, named as in Market-1501."""
    packed = tmp_path / "named.zip"
    with zipfile.ZipFile(packed, "w") as files:
        for pid in range(1, 22):
            for camid in (1, 2):
                buffer = io.BytesIO()
                Image.fromarray(draw_person(pid, camid)).save(buffer, "PNG")
                files.writestr(f"{pid:04d}_c{camid}s1_000001_00.png", buffer.getvalue())
    return [str(packed)]


def test_a_gallery_of_known_people_is_measured_as_the_command_does(tiny_engine, galleries, settings, named, uploads):
    now, report = made(galleries, Session(), settings, named)
    engine = galleries.engine_of(now.own)
    assert own.can_measure(engine) and "under two cameras" not in own.told(engine, report)
    measured = replace(settings, weighing=engine.default_scoring.weighing)
    mine = open_picture(engine, now, measured, draw_person(3, 3))
    assert ranking.verdict(engine, mine, mine.matches[0], ()) == "" and ranking.confidence(engine, mine) is None
    said = own.measure(galleries, now)
    after = galleries.engine_of(now.own)
    found = calibrate_stored(engine.gallery, engine.gallery.fingerprint)
    assert after.calibration == found == read(engine.gallery.folder / FILE, engine.gallery.fingerprint)
    level, spread = found.whole.confident, found.whole.mark.threshold
    assert f"21 of your people with {found.whole.num_absent} searches" in said
    assert f"strong from {level.threshold:.3f}" in said and f"between {spread[0]:.3f} and {spread[1]:.3f}" in said
    judged = ranking.confidence(after, mine)
    assert judged.confident == (mine.matches[0].similarity >= level.threshold)
    assert "believed" not in ranking.status(after, mine) and tiny_engine.calibration is None
    shown = mark.mark(after, mine)
    assert [pair["similarity"] for pair in shown["above"]] == [f"{a.similarity:.3f}" for a in found.whole.mark.above]
    with zipfile.ZipFile(own.save(galleries, now)) as saved:
        assert f"my_gallery/{FILE}" in saved.namelist()
    few, _ = made(galleries, Session(), settings, uploads, "other")
    with pytest.raises(DatasetError, match="a threshold needs 20"):
        own.measure(galleries, few)
    with pytest.raises(GalleryError, match="no gallery of your own"):
        own.measure(galleries, Session())


def test_the_images_that_set_the_mark_are_shown_as_they_were_searched():
    engine = Engine.load()
    settings = default_settings(engine)
    opened = open_example(engine, Session(), settings, 0)
    hidden = hide(engine, opened, settings, Hiding("lower_half"))
    for session, rates in ((opened, engine.calibration.whole), (hidden, engine.calibration.occluded)):
        shown = mark.mark(engine, session)
        assert f"between {rates.mark.threshold[0]:.3f} and {rates.mark.threshold[1]:.3f}" in shown["interval"]
        for side in ("above", "below"):
            alarms = getattr(rates.mark, side)
            assert [pair["similarity"] for pair in shown[side]] == [f"{alarm.similarity:.3f}" for alarm in alarms]
            assert all((engine.gallery.folder / alarm.match).is_file() for alarm in alarms)
        alarm = rates.mark.above[0]
        image = read_image(engine.gallery.folder / "probes" / alarm.probe)
        probe = engine.occlude(image, [Occlusion(alarm.hidden)] if alarm.hidden else [])
        scores = engine.gallery.scores(engine.describe(probe), engine.default_scoring)
        row = [record.path for record in engine.gallery.records].index(alarm.match)
        assert float(scores[row]) == pytest.approx(alarm.similarity, abs=2e-3)
        assert shown["above"][0]["probe"] == figures.picture_uri(overlays.thumbnail(probe, *mark.SIZE))
    assert f"{engine.calibration.whole.confident.threshold:.3f}" in ranking.rates(engine, opened)
    of_gallery = open_match(engine, opened, settings)
    assert mark.mark(engine, of_gallery)["interval"] == "" and ranking.rates(engine, of_gallery) == text.MARK_NONE
    alone = ranking.rank_again(engine, opened, replace(settings, terms=("global",)))
    assert mark.mark(engine, alone)["above"] == () and "switched off" in ranking.rates(engine, alone)


def test_a_large_box_of_a_frame_is_shrunk_as_any_probe(tiny_engine, settings, tmp_path):
    Image.fromarray(np.full((1500, 900, 3), 128, np.uint8)).save(tmp_path / "large.png")
    frame = own.open_frame(tmp_path / "large.png")
    now = own.search_box(tiny_engine, Session(), settings, frame, PixelBox(0, 0, 900, 1500))
    assert max(now.image.shape) == PROBE_SIDE
