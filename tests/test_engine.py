"""The engine over a tiny real gallery: exact ranking, exact explanations, no shared state."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from waits import wait_until

from reid_demo import engine as engine_module
from reid_demo import occlude
from reid_demo.engine import UNTRAINED, Engine
from reid_demo.errors import GalleryError, WeightsError
from reid_demo.images import read_image
from reid_demo.model import checkpoint
from reid_demo.records import Occlusion, Scoring
from reid_demo.search import bundled, gallery, similarity

SCORINGS = [Scoring(), Scoring("adaptive"), Scoring(parts=(False,) + (True,) * 8), Scoring("part_aware")]


@pytest.mark.parametrize("scoring", SCORINGS, ids=str)
def test_top_k_equals_brute_force(tiny_engine, probe_image, scoring):
    probe, stored = tiny_engine.describe(probe_image), tiny_engine.gallery
    values = similarity.similarity_matrix(
        probe.parts[None], probe.presence[None], stored.parts.astype(np.float32), stored.presence, scoring
    )[0]
    matches = tiny_engine.search(probe, 7, scoring)
    np.testing.assert_allclose([m.similarity for m in matches], np.sort(values)[::-1][:7], atol=1e-5)
    assert [m.rank for m in matches] == list(range(1, 8))
    for match in matches:
        assert match.contributions.sum() == pytest.approx(match.similarity, abs=1e-5)
        assert values[match.index] == pytest.approx(match.similarity, abs=1e-5)


def test_a_gallery_image_finds_itself_first(tiny_engine):
    for index in (0, 5, 17):
        probe = tiny_engine.describe(read_image(tiny_engine.gallery.image_path(index)))
        best = tiny_engine.search(probe, 1)[0]
        assert best.index == index and best.similarity == pytest.approx(1, abs=2e-3)


def test_same_person_and_camera_can_be_left_out(tiny_engine, probe_image):
    matches = tiny_engine.search(tiny_engine.describe(probe_image), 50, exclude_same_camera=(2, 1))
    assert len(matches) == 17 and all((m.record.pid, m.record.camid) != (2, 1) for m in matches)


def test_alone_or_in_a_batch(tiny_engine, probe_image):
    others = [occlude.apply(probe_image, [Occlusion(k)]) for k in ("centre", "left_half")]
    alone = tiny_engine.describe(probe_image)
    batched = tiny_engine.describer.describe([*others, probe_image])[2]
    value = similarity.similarity_matrix(
        alone.parts[None], alone.presence[None], batched.parts[None], batched.presence[None]
    )[0][0]
    assert value == pytest.approx(1, abs=1e-5)


def test_visitors_who_wait_together_share_one_pass_over_a_large_gallery(tiny_engine, probe_image, monkeypatch):
    monkeypatch.setattr(engine_module, "QUICK", 0)
    kinds = ("centre", "left_half", "upper_half", "lower_half")
    probes = [tiny_engine.describe(occlude.apply(probe_image, [Occlusion(kind)])) for kind in kinds]
    alone = [tiny_engine.gallery.search(replace(probe), 7) for probe in probes]
    passes, products = [], similarity.part_products
    monkeypatch.setattr(similarity, "part_products", lambda *both: (passes.append(len(both[1])), products(*both))[1])
    turns, held, go = tiny_engine.describer.turns, threading.Event(), threading.Event()
    with ThreadPoolExecutor(5) as pool:
        pool.submit(turns.alone, lambda: (held.set(), go.wait(10)))
        assert held.wait(10)
        found = [pool.submit(tiny_engine.search, probe, 7) for probe in probes]
        wait_until(lambda: len(turns) == len(probes))
        go.set()
    assert passes == [4]
    for one, other in zip(alone, (job.result() for job in found), strict=True):
        assert [match.index for match in one] == [match.index for match in other]
        np.testing.assert_allclose([m.similarity for m in one], [m.similarity for m in other], atol=1e-6)
    tiny_engine.ranks(probes[0], Scoring("cosine"))
    assert passes == [4], "another weighing needs no pass"
    tiny_engine.compare((tiny_engine.describe(probe_image), tiny_engine.describe(probe_image)))
    assert passes == [4, 2], "both sides of a comparison share one"


def test_two_threads_get_their_own_answers(tiny_engine, probe_image):
    images = [probe_image, occlude.apply(probe_image, [Occlusion("centre", "black")])] * 4
    wanted = [[m.index for m in tiny_engine.search(tiny_engine.describe(image), 5)] for image in images]
    with ThreadPoolExecutor(2) as pool:
        got = list(
            pool.map(lambda image: [m.index for m in tiny_engine.search(tiny_engine.describe(image), 5)], images)
        )
    assert got == wanted


@pytest.fixture
def broken(tiny_gallery_folder, tmp_path):
    shutil.copytree(tiny_gallery_folder, tmp_path / "gallery")
    return tmp_path / "gallery"


def test_other_weights_are_refused(broken):
    with pytest.raises(GalleryError, match=r"other weights.*--weights FOLDER.*index IMAGES --out"):
        gallery.load(broken, "0" * 16)


def test_a_gallery_of_weights_that_ship_names_them(tiny_weights):
    words = rf"other weights.*by --weights {bundled.DEFAULT_WEIGHTS.name};.*index IMAGES --out"
    with pytest.raises(GalleryError, match=words):
        Engine.load(tiny_weights, bundled.DEFAULT_GALLERY, device="cpu")


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_gallery_of_an_earlier_release_is_read(broken, adaptive):
    meta = json.loads((broken / "meta.json").read_text())
    meta |= {"format_version": 1, "adaptive": adaptive}
    del meta["similarity"]
    (broken / "meta.json").write_text(json.dumps(meta))
    assert gallery.load(broken).scoring == Scoring("adaptive" if adaptive else "cosine")


def test_damage_is_a_clear_error(broken):
    meta = (broken / "meta.json").read_text()
    (broken / "meta.json").write_text(meta.replace('"cosine"', '"likeness"'))
    with pytest.raises(GalleryError, match="damaged.*likeness"):
        gallery.load(broken)
    (broken / "meta.json").write_text(meta)
    (broken / "presence.npy").write_bytes(b"oops")
    with pytest.raises(GalleryError, match="damaged"):
        gallery.load(broken)
    (broken / "presence.npy").unlink()
    with pytest.raises(GalleryError, match="no presence.npy"):
        gallery.load(broken)


def test_images_outside_the_gallery_are_not_served(broken):
    lines = (broken / "records.jsonl").read_text().splitlines()
    first = {**json.loads(lines[0]), "path": "../../secret.jpg"}
    (broken / "records.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]))
    with pytest.raises(GalleryError, match="outside"):
        gallery.load(broken).image_path(0)


@pytest.mark.parametrize(
    ("written", "trained", "warning"),
    [
        (None, True, ""),
        ('{"trained": true, "note": ""}', True, ""),
        ('{"trained": true, "note": "Weak: rank-1 is 30%."}', True, "Weak: rank-1 is 30%."),
        ('{"trained": false}', False, UNTRAINED),
        ('{"trained": false, "note": "Random."}', False, f"{UNTRAINED} Random."),
    ],
)
def test_weights_say_what_they_are_worth(tmp_path, tiny_weights, tiny_gallery_folder, written, trained, warning):
    shutil.copytree(tiny_weights, tmp_path / "w")
    if written is not None:
        (tmp_path / "w" / "quality.json").write_text(written)
    engine = Engine.load(tmp_path / "w", tiny_gallery_folder, "cpu")
    assert (engine.trained, engine.warning) == (trained, warning)


@pytest.mark.parametrize("written", ["oops", "[]", "{}", '{"trained": "yes"}', '{"trained": true, "note": 3}'])
def test_a_bad_quality_file_is_a_clear_error(tmp_path, tiny_weights, tiny_gallery_folder, written):
    shutil.copytree(tiny_weights, tmp_path / "w")
    (tmp_path / "w" / "quality.json").write_text(written)
    with pytest.raises(WeightsError, match="quality.json"):
        Engine.load(tmp_path / "w", tiny_gallery_folder, "cpu")


def test_right_matches_are_those_of_the_person(tiny_engine):
    rows = tiny_engine.right_matches(3)
    assert [tiny_engine.gallery.records[i].pid for i in rows] == [3, 3, 3]
    assert len(tiny_engine.right_matches(3, (3, 1))) == 2 and not len(tiny_engine.right_matches(None))


def test_junk_and_distractors_are_right_for_nobody(tiny_engine, tiny_gallery_folder, tmp_path):
    folder = shutil.copytree(tiny_gallery_folder, tmp_path / "gallery")
    lines = [json.loads(line) for line in (folder / gallery.RECORDS).read_text().splitlines()]
    for line, pid in zip(lines, (-1, -1, 0, 0), strict=False):
        line["pid"], line["camid"] = pid, 1
    (folder / gallery.RECORDS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    engine = Engine(tiny_engine.describer, gallery.load(folder))
    for pid in (-1, 0):
        assert not len(engine.right_matches(pid)) and engine.gallery.num_pids == 5
        probe = engine.gallery.descriptor(0)
        assert len(engine.search(probe, 18, exclude_same_camera=(pid, 1))) == 18, "nor are they left out as one person"


def test_weights_round_trip_and_refusals(tiny_weights, tmp_path):
    model = checkpoint.load_weights(tiny_weights)
    checkpoint.save_weights(model, tmp_path / "again")
    image = torch.randn(1, 3, 64, 32)
    torch.testing.assert_close(model(image).descriptor, checkpoint.load_weights(tmp_path / "again")(image).descriptor)
    assert checkpoint.fingerprint(tmp_path / "again") == checkpoint.fingerprint(tiny_weights)
    (tmp_path / "again" / "model.safetensors").write_bytes(b"oops")
    assert checkpoint.fingerprint(tmp_path / "again") != checkpoint.fingerprint(tiny_weights)
    with pytest.raises(WeightsError, match="damaged"):
        checkpoint.load_weights(tmp_path / "again")
    with pytest.raises(WeightsError, match="has no"):
        checkpoint.load_weights(tmp_path)
    with pytest.raises(WeightsError, match="device"):
        checkpoint.choose_device("abacus")


def test_parts_say_what_they_were_measured_to_look_at(tiny_weights, tiny_gallery_folder, tmp_path):
    weights = shutil.copytree(tiny_weights, tmp_path / "named")
    parts = len(Engine.load(weights, tiny_gallery_folder, "cpu").part_names)
    meanings = ["mostly head", *["spread out"] * (parts - 1)]
    study = {"names": meanings, "fingerprint": checkpoint.fingerprint(weights)}
    (weights / "parts.json").write_text(json.dumps(study), encoding="utf-8")
    engine = Engine.load(weights, tiny_gallery_folder, "cpu")
    assert engine.part_names[0] == "part 1" and engine.part_meanings == tuple(meanings)
    (weights / "parts.json").write_text(json.dumps({**study, "fingerprint": "another network"}), encoding="utf-8")
    assert set(Engine.load(weights, tiny_gallery_folder, "cpu").part_meanings) == {""}
    (weights / "parts.json").write_text("[]", encoding="utf-8")
    with pytest.raises(WeightsError, match="anatomy"):
        Engine.load(weights, tiny_gallery_folder, "cpu")


def test_a_match_is_described_once_for_all_that_explains_it(tiny_engine, probe_image, monkeypatch):
    gallery = tiny_engine.gallery
    engine, asked = tiny_engine.over(gallery, tiny_engine.probes), []
    describe = engine.describer.describe
    monkeypatch.setattr(engine.describer, "describe", lambda images: asked.append(len(images)) or describe(images))
    probe = engine.describe(probe_image)
    match = engine.search(probe, 1)[0]
    explained = [engine.explain(probe, match) for _ in range(3)]
    fresh = engine.described_anew(match.index)
    assert asked == [1, 1]
    np.testing.assert_array_equal(explained[2].match.template_attention, fresh.template_attention)
    np.testing.assert_array_equal(fresh.parts, describe([read_image(gallery.image_path(match.index))])[0].parts)
    with pytest.raises(GalleryError, match="has no image"):
        engine.described_anew(len(gallery))
