"""Building a gallery from a folder: incremental, resumable, and it reports what it skips."""

import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import main
from reid_demo.data.layouts import market_ids
from reid_demo.errors import GalleryError
from reid_demo.images import formats, read_image
from reid_demo.model import checkpoint
from reid_demo.model.describer import Describer
from reid_demo.model.dpti import build_model
from reid_demo.records import Scoring
from reid_demo.search import build, gallery
from reid_demo.search.build import JOURNAL, IndexOptions, index_folder
from reid_demo.search.gallery_views import ONE_VIEW, VIEWS, describe_in_views
from reid_demo.search.scan import zip_name


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photos" / "sub"
    folder.mkdir(parents=True)
    for pid in range(3):
        Image.fromarray(draw_person(pid, 1)).save(folder / f"{pid + 1:04d}_c1s1_000001_00.jpg", quality=95)
    Image.fromarray(draw_person(9, 2)).save(tmp_path / "photos" / "holiday picture.png")
    return tmp_path / "photos"


def run(images, out, tiny_describer, tiny_weights, **more):
    return index_folder(images, out, tiny_describer, checkpoint.fingerprint(tiny_weights), IndexOptions(**more))


def test_market_names_give_ids():
    assert market_ids("0002_c1s1_000451_03.jpg") == (2, 1)
    assert market_ids("-1_c12s1_000451_03.jpg") == (-1, 12)
    assert market_ids("holiday.jpg") == (None, None)


def test_index_is_incremental(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    first = run(images, out, tiny_describer, tiny_weights)
    assert (first.added, first.kept, first.total) == (4, 0, 4)
    second = run(images, out, tiny_describer, tiny_weights)
    assert (second.added, second.kept) == (0, 4)
    (images / "sub" / "0001_c1s1_000001_00.jpg").unlink()
    third = run(images, out, tiny_describer, tiny_weights)
    assert (third.added, third.kept, third.removed, third.total) == (0, 3, 1, 3)
    loaded = gallery.load(out, checkpoint.fingerprint(tiny_weights))
    assert sorted(r.pid for r in loaded.records if r.pid is not None) == [2, 3]
    assert all(loaded.image_path(i).is_file() for i in range(len(loaded)))
    assert len(list((out / "images").rglob("*.jpg"))) == 3


def test_the_similarity_of_a_gallery_can_be_chosen_and_changed_without_describing_anew(
    images, tmp_path, tiny_weights, capsys
):
    out, options = tmp_path / "gallery", ["--weights", str(tiny_weights), "--json"]
    named = [(["--similarity", name], wanted) for name, wanted in (("plain", "cosine"), ("part-aware", "part_aware"))]
    for flags, name in (([], "part_aware"), (["--similarity", "cosine"], "cosine"), ([], "part_aware"), *named):
        fresh = not out.exists()
        main(["index", str(images), "--out", str(out), *options, *flags])
        report = json.loads(capsys.readouterr().out)
        assert (report["added"], report["kept"]) == ((4, 0) if fresh else (0, 4))
        loaded = gallery.load(out)
        assert loaded.scoring == Scoring(name) and loaded.is_indexed(loaded.scoring)
        found = loaded.search(loaded.descriptor(2), 1, loaded.scoring)[0]
        assert found.index == 2 and found.similarity == pytest.approx(1, abs=1e-3)
    probe = loaded.image_path(0)
    values = {}
    for flags in ([], ["--cosine"], ["--part-aware"]):
        main(["search", str(probe), "--gallery", str(out), "--top-k", "4", *options, *flags])
        (answer,) = json.loads(capsys.readouterr().out)
        values[" ".join(flags)] = sorted(match["similarity"] for match in answer["matches"])
    assert values[""] == values["--part-aware"] and values["--cosine"] != values[""]


def test_bad_and_double_files_are_reported(images, tmp_path, tiny_describer, tiny_weights):
    (images / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    copy = images / "copy.jpg"
    copy.write_bytes((images / "sub" / "0001_c1s1_000001_00.jpg").read_bytes())
    report = run(images, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert [path for path, _ in report.skipped] == ["broken.jpg"]
    assert report.duplicates == 1 and report.total == 4


def test_a_second_writer_is_refused(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    out.mkdir()
    with open(out / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(GalleryError, match="Another"):
            run(images, out, tiny_describer, tiny_weights)


def test_wrong_folders_are_refused(images, tmp_path, tiny_describer, tiny_weights):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(GalleryError, match="No images"):
        run(empty, tmp_path / "gallery", tiny_describer, tiny_weights)
    with pytest.raises(GalleryError, match="not a folder"):
        run(tmp_path / "nowhere", tmp_path / "gallery", tiny_describer, tiny_weights)
    with pytest.raises(GalleryError, match="something other than a gallery"):
        run(images / "sub", images, tiny_describer, tiny_weights)
    with pytest.raises(GalleryError, match="another --out"):
        run(images, images, tiny_describer, tiny_weights)
    mine = tmp_path / "mine" / "images"
    mine.mkdir(parents=True)
    (mine / "dear.jpg").write_bytes(b"photo")
    with pytest.raises(GalleryError, match="something other than a gallery"):
        run(images, mine.parent, tiny_describer, tiny_weights)
    assert (mine / "dear.jpg").read_bytes() == b"photo"


def test_every_kind_of_image_is_taken(tmp_path, tiny_describer, tiny_weights):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, suffix in enumerate(("png", "webp", "bmp", "tiff", "gif", "jpeg", "ppm")):
        Image.fromarray(draw_person(number, 1)).save(photos / f"{number}.{suffix}")
    Image.fromarray(draw_person(20, 1)).save(photos / "LOUD.JPG")
    (photos / "notes.txt").write_text("no image")
    (photos / ".hidden.jpg").write_bytes((photos / "LOUD.JPG").read_bytes())
    report = run(photos, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert report.total == 8 and not report.skipped and not report.duplicates
    loaded = gallery.load(tmp_path / "gallery")
    assert all(r.pid is None and r.camid is None and r.path.endswith(".jpg") for r in loaded.records)


def test_a_gallery_image_finds_itself(images, tmp_path, tiny_describer, tiny_weights):
    run(images, tmp_path / "gallery", tiny_describer, tiny_weights)
    loaded = gallery.load(tmp_path / "gallery")
    for row in range(len(loaded)):
        probe = next(iter(tiny_describer.describe_stream([read_image(loaded.image_path(row))])))
        best = loaded.search(probe, 1)[0]
        assert best.index == row and best.similarity > 0.98  # it was described in other views as well

    report = run(images, tmp_path / "gallery", tiny_describer, tiny_weights, views=ONE_VIEW)
    assert (report.added, report.kept) == (4, 0) and "in other views (whole, mirror, " in report.rebuilt
    loaded = gallery.load(tmp_path / "gallery")
    for row in range(len(loaded)):
        probe = next(iter(tiny_describer.describe_stream([read_image(loaded.image_path(row))])))
        best = loaded.search(probe, 1)[0]
        assert best.index == row and best.similarity == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_are_described_in_the_views_that_were_asked_for(images, tmp_path, tiny_weights, capsys, precision):
    """Name each precision, because the default depends on the processor: bfloat16 if it has it, else float32."""
    out, options = tmp_path / "gallery", ["--weights", str(tiny_weights), "--device", "cpu", "--precision", precision]
    describer = Describer(checkpoint.load_weights(tiny_weights), "cpu", precision=precision)
    for flags, views in (([], VIEWS), (["--one-view"], ONE_VIEW)):
        main(["index", str(images), "--out", str(out), *options, *flags])
        loaded = gallery.load(out)
        assert loaded.views == views and json.loads((out / gallery.META).read_text())["views"] == list(views)
        pictures = [read_image(loaded.image_path(row)) for row in range(len(loaded))]
        for row, wanted in enumerate(describe_in_views(describer, pictures, views)):
            stored = loaded.descriptor(row)
            near = {"float32": 2e-3, "bfloat16": 3e-2}[precision]  # runtimes round bfloat16 in their own places
            np.testing.assert_allclose(stored.parts, wanted.parts, atol=near * np.abs(wanted.parts).max())
            np.testing.assert_allclose(stored.presence, wanted.presence, atol={2e-3: 1e-5}.get(near, 1e-2))
    assert "Everything was described again. Its images were described in other views" in capsys.readouterr().out


def test_weights_that_need_one_view_describe_in_one_unless_four_are_asked_for(images, tmp_path, tiny_config, capsys):
    weights, out = tmp_path / "weights", tmp_path / "gallery"
    checkpoint.save_weights(build_model(dataclasses.replace(tiny_config, one_view=True)), weights)
    for flags, views in (([], ONE_VIEW), (["--four-views"], VIEWS)):
        main(["index", str(images), "--out", str(out), "--weights", str(weights), "--device", "cpu", *flags])
        assert gallery.load(out).views == views
    with pytest.raises(SystemExit):
        main(["index", str(images), "--out", str(out), "--weights", str(weights), "--four-views", "--one-view"])


def test_a_gallery_of_an_earlier_release_is_read_as_it_was_described(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    run(images, out, tiny_describer, tiny_weights, views=ONE_VIEW)
    about = json.loads((out / gallery.META).read_text())
    del about["views"]
    (out / gallery.META).write_text(json.dumps({**about, "format_version": 2}))
    assert gallery.load(out).views == ONE_VIEW
    report = run(images, out, tiny_describer, tiny_weights)
    assert report.added == 4 and gallery.load(out).views == VIEWS


def test_a_renamed_file_is_followed_without_describing_it_again(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    run(images, out, tiny_describer, tiny_weights)
    (images / "holiday picture.png").rename(images / "0007_c5s1_000001_00.png")
    report = run(images, out, tiny_describer, tiny_weights)
    assert (report.added, report.kept, report.removed) == (0, 4, 0)
    record = next(r for r in gallery.load(out).records if r.pid == 7)
    assert record.camid == 5 and "0007_c5" in record.path and (out / record.path).is_file()
    assert len([p for p in (out / "images").rglob("*") if p.is_file()]) == 4


def test_nothing_new_rewrites_nothing(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    run(images, out, tiny_describer, tiny_weights)
    before = (out / gallery.META).stat().st_mtime_ns
    run(images, out, tiny_describer, tiny_weights)
    assert (out / gallery.META).stat().st_mtime_ns == before
    index_folder(images, out, tiny_describer, checkpoint.fingerprint(tiny_weights), IndexOptions("better name"))
    assert gallery.load(out).name == "better name"
    run(images, out, tiny_describer, tiny_weights)
    assert gallery.load(out).name == "better name"  # kept where none is given


def test_other_weights_describe_everything_again_and_say_so(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    run(images, out, tiny_describer, tiny_weights)
    with pytest.raises(GalleryError, match=f"index IMAGES --out {out}"):
        gallery.load(out, "other")
    report = index_folder(images, out, tiny_describer, "other")
    assert (report.added, report.kept) == (4, 0) and "other weights" in report.rebuilt
    assert gallery.load(out, "other").fingerprint == "other"


def test_a_gallery_described_anew_from_its_own_pictures_keeps_their_names(
    images, tmp_path, tiny_describer, tiny_weights
):
    out = tmp_path / "gallery"
    run(images / "sub", out, tiny_describer, tiny_weights)
    before = (out / "records.jsonl").read_bytes()
    shutil.copytree(out / "images", tmp_path / "pictures")
    report = index_folder(tmp_path / "pictures", out, tiny_describer, "of other weights")
    assert report.added == 3 and (out / "records.jsonl").read_bytes() == before
    assert gallery.load(out, "of other weights").image_path(0).is_file()


def test_a_damaged_gallery_is_rebuilt(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    run(images, out, tiny_describer, tiny_weights)
    (out / gallery.VECTORS).write_bytes(b"oops")
    with pytest.raises(GalleryError, match="damaged.*index"):
        gallery.load(out)
    report = run(images, out, tiny_describer, tiny_weights)
    assert report.added == 4 and "damaged" in report.rebuilt
    assert len(gallery.load(out)) == 4


def test_a_full_disk_is_an_error_and_not_a_skipped_file(images, tmp_path, tiny_describer, tiny_weights, monkeypatch):
    from pathlib import Path

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(GalleryError, match="No space left.*to resume"):
        run(images, tmp_path / "gallery", tiny_describer, tiny_weights)


SLOW_INDEX = """
import sys, time
from reid_demo.model import checkpoint
from reid_demo.model.describer import Describer
from reid_demo.model.dpti import build_model
from reid_demo.search.build import index_folder
describe = Describer.describe
def slowly(self, images):
    time.sleep(0.3)
    return describe(self, images)
Describer.describe = slowly
source, out, weights = sys.argv[1:]
describer = Describer(checkpoint.load_weights(weights), "cpu", batch_size=4)
index_folder(source, out, describer, checkpoint.fingerprint(weights))
"""


def kill_when(arguments, ready) -> None:
    """Start a run and kill it as soon as `ready()`."""
    process = subprocess.Popen([sys.executable, "-c", SLOW_INDEX, *map(str, arguments)])
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_run_loses_nothing(tmp_path, tiny_describer, tiny_weights):
    photos, out = tmp_path / "photos", tmp_path / "gallery"
    photos.mkdir()
    for number in range(48):
        Image.fromarray(draw_person(number, 1)).save(photos / f"{number:04d}_c1_{number}.png")
    first = photos / "0000_c1_0.png"
    others = [path for path in sorted(photos.iterdir()) if path != first]
    away = tmp_path / "away"
    away.mkdir()
    for path in others:
        path.rename(away / path.name)
    run(photos, out, tiny_describer, tiny_weights)
    for path in others:
        (away / path.name).rename(path)
    journal = out / JOURNAL / "records.jsonl"

    def lines() -> int:
        return len(journal.read_bytes().splitlines()) if journal.is_file() else 0

    kill_when([photos, out, tiny_weights], lambda: lines() >= 8)
    done = lines()
    assert 8 <= done < 47
    assert len(gallery.load(out, checkpoint.fingerprint(tiny_weights))) == 1  # the old gallery is whole
    with open(journal, "ab") as file:
        file.write(b'{"path": "images/torn')  # as a run killed while writing leaves it
    report = run(photos, out, tiny_describer, tiny_weights)
    assert (report.resumed, report.added, report.kept, report.total) == (done, 47, 1, 48)
    assert not (out / JOURNAL).exists() and not list(out.glob(".writing-*"))
    run(photos, tmp_path / "fresh", tiny_describer, tiny_weights)
    resumed, fresh = gallery.load(out), gallery.load(tmp_path / "fresh")
    assert resumed.records == fresh.records
    np.testing.assert_allclose(resumed.parts, fresh.parts, atol=2e-3)
    np.testing.assert_allclose(resumed.presence, fresh.presence, atol=1e-6)
    assert all(resumed.image_path(row).is_file() for row in range(48))


def test_a_run_killed_while_it_puts_the_files_in_place_is_finished_by_the_next_reader(
    images, tmp_path, tiny_describer, tiny_weights
):
    out, other = tmp_path / "gallery", tmp_path / "other"
    run(images, out, tiny_describer, tiny_weights)
    (images / "holiday picture.png").unlink()
    run(images, other, tiny_describer, tiny_weights)
    for moved in range(5):
        place = tmp_path / f"half-{moved}"
        place.mkdir()
        names = (gallery.VECTORS, gallery.PARTS, gallery.PRESENCE, gallery.RECORDS, gallery.META)
        (place / gallery.READY).mkdir()
        for at, name in enumerate(names):
            (place / name).write_bytes(((other if at < moved else out) / name).read_bytes())
            if at >= moved:
                (place / gallery.READY / name).write_bytes((other / name).read_bytes())
        loaded = gallery.load(place)
        assert len(loaded) == 3 and loaded.records == gallery.load(other).records
        assert not (place / gallery.READY).exists()


def test_the_report_is_json(images, tmp_path, tiny_describer, tiny_weights):
    report = run(images, tmp_path / "gallery", tiny_describer, tiny_weights)
    told = json.loads(json.dumps(dataclasses.asdict(report)))
    assert told["total"] == 4 and told["exact"] is True and told["seconds"] > 0


def test_names_that_are_not_text_are_listed(images, tmp_path, tiny_describer, tiny_weights):
    bad = os.fsencode(images / "caf") + b"\xe9.png"
    with open(bad, "wb") as file:
        file.write((images / "holiday picture.png").read_bytes()[:-1])
    report = run(images, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert [reason for _, reason in report.skipped] == ["Its name is not valid text. Rename the file."]
    assert report.total == 4


def test_the_command_tells_what_it_did(images, tmp_path, tiny_weights, capsys):
    out = tmp_path / "gallery"
    command = ["index", str(images), "--out", str(out), "--weights", str(tiny_weights), "--device", "cpu"]
    (images / "broken.png").write_bytes(b"no picture")
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["added"], told["total"], told["exact"]) == (4, 4, True) and told["skipped"][0][0] == "broken.png"
    assert "5/5" in captured.err and "image/s" in captured.err
    assert main([*command, "--exact-limit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "4 kept" in shown and "skipped broken.png: " in shown and "approximate" in shown
    assert main(["index", str(tmp_path / "nowhere"), "--out", str(out), "--weights", str(tiny_weights)]) == 1
    assert capsys.readouterr().err.count("error: ") == 1
    assert main([*command, "--precision", "half"]) == 1
    assert "float32 or bfloat16, not 'half'" in capsys.readouterr().err


def test_several_processes_make_the_same_gallery(tmp_path, tiny_weights):
    """Equal to the last bit. 70 images are three batches of 32: two processes describe two, then one."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for pid in range(70):
        Image.fromarray(draw_person(pid % 12, pid // 12, 64, 32)).save(photos / f"{pid + 1:04d}_c1s1_000001_00.png")
    (photos / "0000.jpg").write_bytes(b"no picture")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    told = []
    for name, starter in (("alone", []), ("together", together)):
        command = [sys.executable, *starter, "-m", "reid_demo", "index", str(photos), "--out", str(tmp_path / name)]
        command += ["--weights", str(tiny_weights), "--device", "cpu", "--name", "same", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        told.append({**json.loads(done.stdout), "seconds": 0})
    assert told[0] == told[1] and told[0]["added"] == told[0]["total"] == 70 and len(told[0]["skipped"]) == 1
    for name in ("parts.npy", "presence.npy", "records.jsonl", "vectors.faiss"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "together" / name).read_bytes(), name


def test_a_run_of_several_processes_that_fails_ends_them_all(tmp_path, tiny_weights):
    (tmp_path / "none").mkdir()
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "reid_demo",
    ]
    command += ["index", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--weights", str(tiny_weights)]
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr.count("error: No images were found under") == 1
    assert done.stdout == "" and not (tmp_path / "out").exists()


def folder_of_one(place):
    place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_person(1, 1)).save(place / "0001_c1_1.png")
    return place


@pytest.mark.parametrize("name", ["\u4eba" * 81, "\U0001f9cd" * 60, "x" * 250])
def test_names_are_limited_in_bytes(name, tmp_path, tiny_describer, tiny_weights):
    photos = folder_of_one(tmp_path / "photos")
    Image.fromarray(draw_person(2, 1)).save(photos / f"{name}.png")
    report = run(photos, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert report.total == 2 and not report.skipped
    for record in gallery.load(tmp_path / "gallery").records:
        assert len(os.path.basename(record.path).encode()) <= 255


def test_a_number_beyond_64_bits_is_named_and_its_neighbours_stay_two_people(tmp_path, tiny_describer, tiny_weights):
    photos, large = folder_of_one(tmp_path / "photos"), 2**63 - 1
    for number, pid in enumerate((large, large - 1, large + 1), start=2):
        Image.fromarray(draw_person(number, 1)).save(photos / f"{pid}_c1s1_000001_00.png")
    Image.fromarray(draw_person(9, 1)).save(photos / f"0002_c{10**20}s1_000001_00.png")
    report = run(photos, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert [path for path, _ in report.skipped] == [
        f"0002_c{10**20}s1_000001_00.png",
        f"{large + 1}_c1s1_000001_00.png",
    ]
    assert all("more than 64 bits" in reason for _, reason in report.skipped)
    loaded = gallery.load(tmp_path / "gallery")
    assert sorted(r.pid for r in loaded.records) == [1, large - 1, large] and loaded.num_pids == 3
    assert loaded.identities.show(large).sum() == 1


@pytest.mark.parametrize("images_in_it", [1, 2])
def test_galleries_of_one_and_two_pictures_are_searched(images_in_it, tmp_path, tiny_describer, tiny_weights):
    photos = folder_of_one(tmp_path / "photos")
    if images_in_it == 2:
        Image.fromarray(draw_person(2, 1)).save(photos / "b.png")
    report = run(photos, tmp_path / "gallery", tiny_describer, tiny_weights)
    loaded = gallery.load(tmp_path / "gallery")
    found = loaded.search(loaded.descriptor(0), 10)
    assert report.total == len(found) == images_in_it and found[0].index == 0


def test_what_was_not_looked_into_is_said(tmp_path, tiny_describer, tiny_weights, capsys):
    photos = folder_of_one(tmp_path / "photos")
    run(photos, photos / "mine.gallery", tiny_describer, tiny_weights)
    shutil.copytree(photos / "mine.gallery" / "images", photos / "stopped.gallery" / "images")
    (photos / "stopped.gallery" / JOURNAL).mkdir()
    Image.fromarray(draw_person(7, 1)).save(photos / "stopped.gallery" / "images" / "other.png")
    (photos / "linked").symlink_to(folder_of_one(tmp_path / "elsewhere"))
    (photos / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "page.eps").write_text("%!PS")
    if "HEIF" not in formats():
        (photos / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / "README").write_text("words")
    (photos / ".hidden").mkdir()
    main(["index", str(photos), "--out", str(tmp_path / "out"), "--weights", str(tiny_weights), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["total"] == 1
    reasons = dict(report["unread"])
    assert "pip install pillow-heif" in reasons.pop("phone.HEIC", "pip install pillow-heif")
    assert set(reasons) == {"linked", "gone.png", "page.eps", "README", "mine.gallery", "stopped.gallery"}
    assert (
        "not followed" in reasons["linked"]
        and "gallery" in reasons["mine.gallery"]
        and "unfinished" in reasons["stopped.gallery"]
        and ".eps" in reasons["page.eps"]
    )
    main(["index", str(photos), "--out", str(tmp_path / "out"), "--weights", str(tiny_weights)])
    told = capsys.readouterr().out
    assert f"{len(report['unread'])} not read" in told and "not read linked: " in told


def test_a_folder_that_cannot_be_opened_is_said(monkeypatch, tmp_path, tiny_describer, tiny_weights):
    photos = folder_of_one(tmp_path / "photos")
    closed = folder_of_one(photos / "closed")
    opened = os.scandir

    def scandir(path):  # as for a user to whom the folder is closed; tests may run as root
        if path == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = run(photos, tmp_path / "gallery", tiny_describer, tiny_weights)
    why = "The folder cannot be opened (Permission denied)."
    assert report.total == 1 and report.unread == [("closed", why)]
    monkeypatch.setattr(os, "scandir", opened)
    Image.fromarray(draw_person(2, 1)).save(closed / "0002_c1_1.png")
    assert run(photos, tmp_path / "gallery", tiny_describer, tiny_weights).total == 2
    monkeypatch.setattr(os, "scandir", scandir)
    report = run(photos, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert (report.total, report.removed, report.unread) == (1, 1, [("closed", why)]), "an update says what it drops"


def test_nothing_readable_lists_reasons(tmp_path, tiny_describer, tiny_weights):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 128\n{ 1 1 add pop } loop\n")
    (photos / "b.jpg").write_bytes(b"words")
    Image.new("RGB", (9, 30)).save(photos / "c.png")
    with pytest.raises(
        GalleryError, match="None of the 3 images .* could be read. 2 x: .*not an image.* 1 x: .*at least"
    ):
        run(photos, tmp_path / "gallery", tiny_describer, tiny_weights)


@pytest.mark.parametrize("about", [b"{", b"[]", b"\xff\x00", b'{"terms": 0}'])
def test_a_damaged_journal_is_left_out_and_said(about, images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    (out / JOURNAL).mkdir(parents=True)
    (out / JOURNAL / "about.json").write_bytes(about)
    report = run(images, out, tiny_describer, tiny_weights)
    assert report.total == 4 and "journal of a stopped run is damaged" in report.rebuilt
    assert not (out / JOURNAL).exists() and len(gallery.load(out)) == 4


def test_only_files_that_the_gallery_named_are_deleted(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    run(images, out, tiny_describer, tiny_weights)
    mine = out / "images" / "holiday" / "dear.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"photo")
    lines = (out / gallery.RECORDS).read_text().splitlines()
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"photo")
    gone = images / "sub" / "0001_c1s1_000001_00.jpg"
    gone.unlink()
    report = run(images, out, tiny_describer, tiny_weights)
    assert report.removed == 1 and mine.read_bytes() == b"photo" and len(lines) == 4
    assert len([p for p in (out / "images").rglob("*") if p.is_file()]) == 4  # three of the gallery, and mine
    hostile = json.loads((out / gallery.RECORDS).read_text().splitlines()[0])
    (out / gallery.RECORDS).write_text(json.dumps({**hostile, "path": "../outside.jpg"}) + "\n")
    assert "damaged" in run(images, out, tiny_describer, tiny_weights).rebuilt
    assert run(images, out, tiny_describer, tiny_weights).kept == 3
    assert outside.read_bytes() == b"photo"


def stored(out) -> set[str]:
    return {path.relative_to(out).as_posix() for path in (out / "images").rglob("*") if path.is_file()}


@pytest.mark.parametrize("stopped_at", [(build._Run, "_write"), (build._Run, "_clean"), (build.Journal, "remove")])
def test_a_picture_that_was_removed_goes_though_the_run_was_stopped(
    stopped_at, images, tmp_path, tiny_describer, tiny_weights, monkeypatch
):
    out = tmp_path / "gallery"
    run(images, out, tiny_describer, tiny_weights)
    (images / "holiday picture.png").unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*stopped_at, stop)
        run(images, out, tiny_describer, tiny_weights)
    report = run(images, out, tiny_describer, tiny_weights)
    assert report.total == 3 and report.rebuilt == "" and not (out / JOURNAL).exists()
    assert stored(out) == {record.path for record in gallery.load(out).records}


@pytest.mark.parametrize("weights_changed", [False, True])
def test_a_picture_that_a_stopped_run_stored_goes_with_its_file(
    weights_changed, images, tmp_path, tiny_describer, tiny_weights, monkeypatch
):
    """It is in no record yet: the run was stopped while the network described its batch."""
    out = tmp_path / "gallery"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(build._Run, "_describe", stop)
        run(images, out, tiny_describer, tiny_weights)
    assert len(stored(out)) == 4
    with pytest.raises(GalleryError, match="its `index` has not ended. Run it again"):
        gallery.load(out)
    with open(out / JOURNAL / "noted.txt", "ab") as file:
        file.write(b'"images/torn')  # as a run killed while writing leaves it
    (images / "holiday picture.png").unlink()
    if weights_changed:  # the next run is not resumed from this journal
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(build._Run, "_write", stop)
            index_folder(images, out, tiny_describer, "others")
    report = run(images, out, tiny_describer, tiny_weights)
    assert report.total == 3 and report.rebuilt == ""
    assert stored(out) == {record.path for record in gallery.load(out).records} and len(stored(out)) == 3


@pytest.mark.parametrize("spoiled", [b'"images/torn', b'"images/to"images/a.jpg"\n', b"\0\0\0\n"])
def test_spoiled_notes_cost_no_descriptor(spoiled, images, tmp_path, tiny_describer, tiny_weights, monkeypatch):
    out = tmp_path / "gallery"
    (out / JOURNAL / "@eaDir").mkdir(parents=True)  # as some storage servers make everywhere
    (out / JOURNAL / "noted.txt").write_bytes(spoiled)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(build._Run, "_write", stop)
        run(images, out, tiny_describer, tiny_weights)
    report = run(images, out, tiny_describer, tiny_weights)
    assert (report.resumed, report.total, report.rebuilt) == (4, 4, "")


def test_pictures_of_a_journal_without_notes_are_deleted_by_the_run_after_the_next_at_the_latest(
    images, tmp_path, tiny_describer, tiny_weights, monkeypatch
):
    """As an earlier version left it, and a run with other weights that was stopped as well discarded it."""
    out = tmp_path / "gallery"
    for fingerprint in ("first", "second"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(build._Run, "_write", stop)
            index_folder(images, out, tiny_describer, fingerprint)
        if fingerprint == "first":
            (out / JOURNAL / "noted.txt").unlink()
            (images / "holiday picture.png").unlink()
    assert len(stored(out)) == 4
    run(images, out, tiny_describer, tiny_weights)
    assert stored(out) == {record.path for record in gallery.load(out).records} and len(stored(out)) == 3


def stop(*values, **named):
    raise KeyboardInterrupt


@pytest.mark.parametrize("about", ['{"name": "my site"}', "{}", "[]", "no JSON"])
def test_a_folder_of_another_program_is_refused(about, images, tmp_path, tiny_describer, tiny_weights):
    theirs = tmp_path / "site"
    (theirs / "images").mkdir(parents=True)
    (theirs / "images" / "dear.jpg").write_bytes(b"photo")
    (theirs / "meta.json").write_text(about)
    with pytest.raises(GalleryError, match="something other than a gallery"):
        run(images, theirs, tiny_describer, tiny_weights)
    assert (theirs / "images" / "dear.jpg").read_bytes() == b"photo"


def test_linked_images_are_refused(images, tmp_path, tiny_describer, tiny_weights):
    out, elsewhere = tmp_path / "gallery", tmp_path / "elsewhere"
    run(images, out, tiny_describer, tiny_weights)
    (out / "images").rename(elsewhere)
    (out / "images").symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(GalleryError, match="is a link"):
        run(images / "sub", out, tiny_describer, tiny_weights)
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u5f20\u4f1f.png", "gbk"),
        ("\u3084\u307e\u3060.png", "cp932"),
        ("\u5f20\u4f1f.png", "utf-8"),
        ("caf\u00e9.png", "cp437"),
    ],
)
def test_names_in_zips_are_read_as_their_packer_meant_them(text, encoding, tmp_path):
    raw = text.encode(encoding)
    path = tmp_path / "old.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("n" * len(raw), b"x")
    path.write_bytes(path.read_bytes().replace(b"n" * len(raw), raw))
    with zipfile.ZipFile(path) as packed:
        (entry,) = packed.infolist()
        assert not entry.flag_bits & 0x800 and zip_name(entry) == text


def test_no_character_ends_a_command_on_a_narrow_console(tmp_path, tiny_weights):
    photos = folder_of_one(tmp_path / "photos")
    (photos / "\u4eba.png").write_bytes(b"no picture")
    arguments = ["index", photos, "--out", tmp_path / "\u753b", "--weights", tiny_weights]
    command = [sys.executable, "-m", "reid_demo", *map(str, arguments)]
    narrow = {"env": {**os.environ, "PYTHONIOENCODING": "cp1252"}, "capture_output": True}
    done = subprocess.run(command, **narrow)
    assert done.returncode == 0, done.stderr
    assert b"\\u4eba.png" in done.stdout and b"\\u753b" in done.stdout
    probe = (photos / "0001_c1_1.png").rename(photos / "\u5f20.png")
    command[3:6] = ["search", str(probe), "--gallery"]
    done = subprocess.run(command, **narrow)
    assert done.returncode == 0, done.stderr
    assert b"\\u5f20.png" in done.stdout and b"0001_c1_1" in done.stdout


def test_a_picture_with_junk_for_exif_is_indexed(images, tmp_path, tiny_describer, tiny_weights):
    """With a density in its JFIF header, Pillow reads EXIF only when asked for it, and raises then."""
    path = next((images / "sub").glob("*.jpg"))
    content = path.read_bytes()
    head = bytes.fromhex("ffd8ffe000104a46494600010101") + bytes.fromhex("004800480000")  # 72 dots an inch
    assert content[:4] == head[:4]
    junk = b"Exif\0\0junk"
    path.write_bytes(head + b"\xff\xe1" + (2 + len(junk)).to_bytes(2, "big") + junk + content[20:])
    with pytest.raises(SyntaxError):
        Image.open(path).getexif()
    report = run(images, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert report.total == 4 and not report.skipped


def test_another_limit_makes_the_index_anew(images, tmp_path, tiny_describer, tiny_weights):
    for limit, exact in ((None, True), (3, False), (3, False), (None, False), (9, True)):
        report = run(images, tmp_path / "gallery", tiny_describer, tiny_weights, exact_limit=limit)
        assert report.exact == exact and (report.added or report.kept) == 4


def test_a_folder_that_a_file_manager_has_looked_into_is_empty_still(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    out.mkdir()
    (out / ".DS_Store").write_bytes(b"x")
    assert run(images, out, tiny_describer, tiny_weights).total == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(GalleryError, match="something other than a gallery"):
        run(images, tmp_path / "mine", tiny_describer, tiny_weights)


def test_what_was_compressed_by_a_limit_stays_so_when_pictures_come(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    assert not run(images, out, tiny_describer, tiny_weights, exact_limit=3).exact
    Image.fromarray(draw_person(7, 1)).save(images / "another.png")
    report = run(images, out, tiny_describer, tiny_weights)
    assert report.added == 1 and not report.exact and len(gallery.load(out)) == 5
