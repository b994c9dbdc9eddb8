"""Every click as a function, against a tiny real engine: good input and bad."""

import base64
import copy
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from figures import one_block
from markupsafe import escape

from reid_demo.engine import UNTRAINED, AboutWeights, Engine, Quality
from reid_demo.errors import ConfigError, GalleryError, ImageError, OcclusionError
from reid_demo.images import read_image
from reid_demo.records import WEIGHINGS, Occlusion
from reid_demo.search.gallery_views import VIEWS
from reid_demo.serving.page import text, view
from reid_demo.serving.page.handlers import acts, changed, earned, ranking, verify
from reid_demo.serving.page.handlers import probe as probes
from reid_demo.serving.page.handlers.session import Session, Settings, is_right, scoring_of
from reid_demo.serving.page.handlers.why import why
from reid_demo.whatif.confidence import Calibration, Level, Rates


@pytest.fixture
def opened(tiny_engine) -> Session:
    return probes.open_example(tiny_engine, Session(), Settings(), 0)


def places(session: Session) -> list[int]:
    return [match.index for match in session.matches]


def test_an_example_is_ranked_at_once(tiny_engine, opened):
    assert len(opened.matches) == 10 and opened.chosen is None and opened.pid == 2
    assert places(opened) == [m.index for m in tiny_engine.search(opened.probe, 10)]
    assert set(opened.moves.values()) == {0}
    assert len(ranking.strip(tiny_engine, opened)) == 10


def test_a_session_can_be_copied_and_is_frozen(opened):
    assert places(copy.deepcopy(opened)) == places(opened)
    with pytest.raises(dataclasses.FrozenInstanceError):
        opened.pid = 3


@pytest.mark.parametrize("kind", list(text.OCCLUDERS))
def test_each_occluder_searches_again_and_can_be_undone(tiny_engine, opened, kind):
    hidden = probes.hide(tiny_engine, opened, Settings(), probes.Hiding(kind, "mean_grey"))
    assert len(hidden.recipe) == 1 and hidden.chosen is None
    assert not np.array_equal(hidden.current, opened.current) and np.array_equal(hidden.image, opened.image)
    ranks = tiny_engine.ranks(opened.probe), tiny_engine.ranks(hidden.probe)
    assert hidden.moves == {i: int(ranks[0][i] - ranks[1][i]) for i in places(hidden)}
    assert ranking.status(tiny_engine, hidden)
    assert ("of seed 1" in probes.probe_line(hidden)) == (kind in ("random_block", "person", "object"))
    undone = probes.undo(tiny_engine, hidden, Settings())
    assert places(undone) == places(opened) and np.array_equal(undone.current, opened.image)
    with pytest.raises(OcclusionError):
        probes.undo(tiny_engine, undone, Settings())


def test_a_random_block_has_the_size_and_seed_asked_for(tiny_engine, opened):
    done = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("random_block", "black", 60, 7))
    assert (done.recipe[0].coverage, done.recipe[0].seed) == (0.6, 7)
    same = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("random_block", "black", 60, 7))
    assert np.array_equal(done.current, same.current)
    assert (
        probes.hide(tiny_engine, opened, Settings(), probes.Hiding("object", "black", 60, 7)).recipe[0].coverage == 0.4
    )


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_is_none_names_itself(tiny_engine, opened, seed):
    """The widget has no limits: Gradio would refuse every act of the stage, without a name for what is wrong."""
    asked = {"verb": "hide", "kind": "random_block"}
    with pytest.raises(OcclusionError, match="The seed in Settings"):
        acts.act(tiny_engine, opened, Settings(), asked, acts.Dials(seed=seed), [])
    assert acts.act(tiny_engine, opened, Settings(), asked, acts.Dials(seed=7), []).recipe[0].seed == 7


def test_a_recipe_replays_on_another_probe(tiny_engine, opened):
    done = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("centre", "noise"))
    done = probes.crop(tiny_engine, done, Settings(), probes.PixelBox(4, 8, 40, 100))
    written = probes.recipe_text(done)
    other = probes.open_example(tiny_engine, done, Settings(), 1)
    assert other.recipe == ()
    replayed = probes.replay(tiny_engine, other, Settings(), written)
    assert replayed.recipe == done.recipe and replayed.title == other.title
    kept = probes.open_example(tiny_engine, done, Settings(keep_recipe=True), 1)
    assert np.array_equal(kept.current, replayed.current) and places(kept) == places(replayed)
    from_file = probes.replay_file(tiny_engine, other, Settings(), written.encode())
    assert np.array_equal(from_file.current, replayed.current)
    assert base64.b64encode(written.encode()).decode() in probes.recipe_link(done)
    for bad in (b"\xff\xfe", b"", b"{}", b'[{"kind": "hat"}]', b'[{"kind": "centre", "coverage": "much"}]'):
        with pytest.raises(OcclusionError):
            probes.replay_file(tiny_engine, other, Settings(), bad)


def test_random_occluders_differ_from_click_to_click(tiny_engine, opened):
    once = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("random_block", "black"))
    twice = probes.hide(tiny_engine, once, Settings(), probes.Hiding("random_block", "black"))
    assert twice.recipe[0].seed != twice.recipe[1].seed
    assert probes.back(tiny_engine, twice, Settings()).recipe == ()


def test_crop_by_numbers(tiny_engine, opened):
    done = probes.crop(tiny_engine, opened, Settings(), probes.PixelBox(4, 8, 40, 100))
    assert np.array_equal(done.current, opened.image[8:108, 4:44])
    for bad in ((0, 0, 65, 10), (-1, 0, 20, 20), (0, 0, 0, 20), (0, 0, 4, 4)):
        with pytest.raises(OcclusionError):
            probes.crop(tiny_engine, opened, Settings(), probes.PixelBox(*bad))
    for empty in range(4):
        with pytest.raises(OcclusionError, match="^Fill in x, y, width and height of the crop"):
            probes.crop(
                tiny_engine, opened, Settings(), probes.PixelBox(*(None if i == empty else 20 for i in range(4)))
            )


def test_a_match_becomes_the_probe_and_finds_itself(tiny_engine, opened):
    chosen = ranking.choose(opened, 3)
    done = probes.open_match(tiny_engine, chosen, Settings())
    assert done.matches[0].index == opened.matches[3].index and done.matches[0].similarity == pytest.approx(1, abs=1e-3)
    with pytest.raises(GalleryError):
        ranking.choose(opened, 10)


def test_same_camera_leaves_out_the_probe_itself(tiny_engine, opened):
    done = probes.open_match(tiny_engine, opened, Settings())
    filtered = ranking.rank_again(tiny_engine, done, Settings(same_camera=True))
    assert (done.pid, done.camid) not in {(m.record.pid, m.record.camid) for m in filtered.matches}


def test_settings_change_the_list_as_the_engine_says(tiny_engine, opened):
    settings = Settings(top_k=4, weighing="adaptive", terms=("global", tiny_engine.part_names[0]))
    done = ranking.rank_again(tiny_engine, opened, settings)
    scoring = scoring_of(tiny_engine, settings)
    assert places(done) == [m.index for m in tiny_engine.search(opened.probe, 4, scoring)]
    assert not done.matches[0].contributions[2:].any()
    with pytest.raises(ConfigError):
        ranking.rank_again(tiny_engine, opened, Settings(terms=()))


def test_the_explanation_shows_the_similarity_of_the_list(tiny_engine, opened):
    shown = why(tiny_engine, ranking.choose(opened, 2))
    assert f"{opened.matches[2].similarity:.4f}</td></tr></tfoot>" in shown
    assert shown.count("<article ") == len(tiny_engine.part_names)
    assert text.WHY_PRESENCE_NOTE in shown


def test_what_can_be_seen_of_the_probe_is_said_in_words():
    """With the shipped weights, whose visibility was measured: a hidden lower half has no visible legs."""
    engine = Engine.load()
    whole = next(i for i, example in enumerate(engine.examples) if example.kind == "whole")
    session = probes.open_example(engine, Session(), Settings(), whole)
    hidden = probes.with_recipe(engine, session, Settings(), (Occlusion("lower_half"),))
    for now in (session, hidden):
        shown = why(engine, now)
        seen = engine.visible_parts(now.probe)
        assert len(seen) == 8 and text.WHY_SEEN in shown and text.WHY_PRESENCE_NOTE in shown
        assert all(f"<b>{part.body_part}</b> {part.words}</li>" in shown for part in seen)
    told = {part.body_part: part.words for part in engine.visible_parts(hidden.probe)}
    assert "hidden" in told["left leg"] and "hidden" in told["right leg"]


def test_captions_say_rank_and_right_or_wrong(opened):
    words = [ranking.caption(opened, match) for match in opened.matches]
    assert words[0].startswith("#1 ")
    for match, word in zip(opened.matches, words, strict=True):
        assert (text.RIGHT in word) == (match.record.pid == 2) and (text.WRONG in word) == (match.record.pid != 2)


@pytest.mark.parametrize("pid", [-1, 0])
def test_a_probe_of_nobody_has_no_right_match(opened, pid):
    nobody = dataclasses.replace(opened.matches[0].record, pid=pid)
    match = dataclasses.replace(opened.matches[0], record=nobody)
    assert is_right(dataclasses.replace(opened, pid=pid), match) is None and is_right(opened, match) is False
    words = ranking.caption(dataclasses.replace(opened, pid=pid), match)
    assert text.RIGHT not in words and text.WRONG not in words


def test_a_gallery_picture_is_said_to_find_itself(tiny_engine, opened, monkeypatch):
    assert text.STATUS_SELF not in ranking.status(tiny_engine, opened)
    own = probes.open_match(tiny_engine, opened, Settings())
    said = ranking.status(tiny_engine, own)
    assert text.STATUS_SELF in said and escape(text.STATUS_VIEWS) not in said
    monkeypatch.setattr(tiny_engine.gallery, "views", VIEWS)
    assert escape(text.STATUS_VIEWS) in ranking.status(tiny_engine, own)
    hidden = probes.hide(tiny_engine, own, Settings(), probes.Hiding("centre", "black"))
    assert text.STATUS_SELF not in ranking.status(tiny_engine, hidden)


def test_an_absent_person_is_said_to_be_absent(tiny_engine):
    assert text.STATUS_ABSENT in ranking.status(tiny_engine, probes.open_example(tiny_engine, Session(), Settings(), 1))


def test_without_a_probe_every_click_says_what_to_do(tiny_engine):
    empty = Session()
    for call in (
        lambda: probes.hide(tiny_engine, empty, Settings(), probes.Hiding("centre", "black")),
        lambda: probes.open_named(tiny_engine, empty, Settings(), "nobody"),
        lambda: ranking.rank_again(tiny_engine, empty, Settings()),
        lambda: probes.open_picture(tiny_engine, empty, Settings(), None),
        lambda: probes.crop(tiny_engine, empty, Settings(), probes.PixelBox(0, 0, 20, 20)),
        lambda: probes.open_example(tiny_engine, empty, Settings(), 99),
    ):
        with pytest.raises(ImageError):
            call()
    assert text.WHY_EMPTY in why(tiny_engine, empty)


def test_a_bad_upload_is_refused_in_a_sentence(tiny_engine, opened, tmp_path):
    (tmp_path / "no.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match="not an image"):
        probes.open_picture(tiny_engine, opened, Settings(), str(tmp_path / "no.png"))


def test_a_model_without_parts_is_explained(tiny_gallery_folder, tmp_path):
    from reid_demo.config import ModelConfig
    from reid_demo.model import checkpoint
    from reid_demo.model.describer import Describer
    from reid_demo.model.dpti import build_model
    from reid_demo.search import gallery, store

    folder = tmp_path / "weights"
    checkpoint.save_weights(build_model(ModelConfig(backbone="resnet18", templates="none", dim=32, ffn_dim=64)), folder)
    describer = Describer(checkpoint.load_weights(folder), "cpu")
    records = gallery.load(tiny_gallery_folder).records[:3]
    found = list(describer.describe_stream(read_image(tiny_gallery_folder / r.path) for r in records))
    place = tmp_path / "gallery"
    store.write(place, records, one_block(found), store.About(checkpoint.fingerprint(folder), "plain"))
    loaded = gallery.load(place)
    loaded.folder = tiny_gallery_folder
    engine = Engine(describer, loaded, about=AboutWeights("<plain>"))
    done = probes.open_picture(engine, Session(), Settings(terms=()), np.zeros((64, 32, 3), np.uint8))
    assert text.WHY_NO_PARTS in why(engine, done)
    assert "&lt;plain&gt;" in ranking.header(engine)


def test_a_gallery_without_identities_is_named_by_its_files(tiny_describer, tiny_gallery_folder, tmp_path):
    from reid_demo.search import gallery, store

    source = gallery.load(tiny_gallery_folder)
    records = [dataclasses.replace(record, pid=None, camid=None) for record in source.records[:3]]
    found = list(tiny_describer.describe_stream(read_image(tiny_gallery_folder / r.path) for r in records))
    store.write(tmp_path / "g", records, one_block(found), store.About("x", "mine"))
    loaded = gallery.load(tmp_path / "g")
    loaded.folder = tiny_gallery_folder
    engine = Engine(tiny_describer, loaded)
    assert "mine: 3 images<" in ranking.header(engine)
    opened = probes.open_gallery_image(engine, Session(), Settings(top_k=2), 0)
    assert "0001_c1s1_000001_00" in probes.probe_line(opened)


@pytest.mark.parametrize(("trained", "kind"), [(False, "untrained"), (True, "weak")])
def test_a_banner_warns_of_the_weights(tiny_describer, tiny_engine, trained, kind):
    assert "banner" not in ranking.header(tiny_engine)
    about = AboutWeights(quality=Quality(trained, "Rank-1 is <30%."))
    shown = ranking.header(Engine(tiny_describer, tiny_engine.gallery, about=about))
    assert f'class="banner {kind}"' in shown and "&lt;30%" in shown
    assert (UNTRAINED in shown.unescape()) == (not trained)


def test_each_way_of_weighing_is_stated_beside_the_others(tiny_engine, opened):
    done = ranking.rank_again(tiny_engine, opened, Settings(weighing="part_aware"))
    shown = why(tiny_engine, done)
    found = tiny_engine.compare_scorings(done.probe, done.matches[0].index, done.scoring)
    assert list(found) == list(WEIGHINGS)
    for name, (similarity, rank) in found.items():
        assert f"{WEIGHINGS[name]}</th>" in shown and f">{similarity:.4f}<" in shown and f">{rank}<" in shown
    assert found["part_aware"] == (pytest.approx(done.matches[0].similarity, abs=1e-5), 1)
    assert shown.count('aria-current="true"') == 1


def test_pointing_at_a_part_lights_both_pictures(tiny_engine, opened):
    shown = why(tiny_engine, opened)
    sheet = (Path(view.__file__).parent / "page.css").read_text(encoding="utf-8")
    for number in range(1, 9):
        assert len(re.findall(f'over-{number}( lit)?"', shown)) == 2 and f".over-{number}" in sheet
        assert len(re.findall(f'part-{number}( lit)?" tabindex', shown)) == 2  # its bar and its card


def test_the_page_builds(tiny_engine):
    demo = view.build_ui(tiny_engine)
    listeners = list(demo.fns.values())
    stops = [listener.targets for listener in listeners if listener.cancels]  # these only say that they stopped
    ends = [listener.targets for listener in listeners if any(name == "unload" for _, name in listener.targets)]
    assert len(stops) == 2 and len(ends) == 1
    for listener in listeners:
        assert listener.outputs or listener.js or listener.targets in [*stops, *ends]
        assert listener.inputs or listener.targets or listener.api_name == "gallery_info"


def test_a_first_match_below_the_threshold_is_no_confident_one(tiny_engine, opened, monkeypatch):
    whole, occluded = (Rates(levels=(level,)) for level in (Level(0.1, 2.0, 0.08, 0.25), Level(0.1, -1.0, 0.1, None)))
    about = {"gallery": "tiny", "num_images": 18, "scoring": "cosine", "fingerprint": ""}
    record = Calibration(**about, whole=whole, occluded=occluded)
    assert "confidence" not in ranking.status(tiny_engine, opened)
    monkeypatch.setattr(tiny_engine, "calibration", record)
    said = ranking.status(tiny_engine, opened)
    assert "No confident match" in said and "a whole probe" in said
    assert "8 in 100" in said and "25 in 100" in said
    hidden = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("centre", "black"))
    said = ranking.status(tiny_engine, hidden)
    assert "No confident match" not in said and "a partly hidden probe" in said and "FNIR" not in said
    assert "confidence" not in ranking.status(tiny_engine, probes.open_match(tiny_engine, opened, Settings()))
    part_aware = ranking.rank_again(tiny_engine, opened, Settings(weighing="part_aware"))
    assert "confidence" not in ranking.status(tiny_engine, part_aware)


def test_the_strongest_part_is_lit_and_named(tiny_engine, opened):
    shown = why(tiny_engine, opened)
    terms = opened.matches[0].contributions
    best = int(terms[1:].argmax()) + 1
    assert f'class="part part-{best} lit" tabindex="0"' in shown
    assert shown.count(' lit"') == 4  # its row, its card and its map on both pictures
    assert f"<strong>part {best}</strong>, which adds most of all parts ({terms[best]:+.3f})" in shown


def test_the_verdict_names_the_mark_that_such_a_probe_is_judged_by(tiny_engine, opened, monkeypatch):
    hidden = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("centre", "black"))
    scores = [session.matches[0].similarity for session in (opened, hidden)]
    marks = scores[0] + 0.1, scores[1] - 0.1
    whole, occluded = (Rates(levels=(Level(0.1, mark, 0.08, 0.25),)) for mark in marks)
    about = {"gallery": "tiny", "num_images": 18, "scoring": "cosine", "fingerprint": ""}
    assert ranking.verdict(tiny_engine, opened, opened.matches[0], ()) == text.VERDICTS[True]
    monkeypatch.setattr(tiny_engine, "calibration", Calibration(**about, whole=whole, occluded=occluded))
    said = ranking.verdict(tiny_engine, opened, opened.matches[0], ())
    judged = f"{scores[0]:.3f}, {text.WEAK} for a whole probe (strong from {marks[0]:.3f})"
    assert said == f"{text.VERDICTS[True]}: {judged}"
    right = opened.matches[0]
    said = ranking.verdict(tiny_engine, hidden, dataclasses.replace(right, similarity=scores[1]), hidden.recipe)
    judged = f"{scores[1]:.3f}, {text.STRONG} for a partly hidden probe (strong from {marks[1]:.3f})"
    assert said == f"{text.VERDICTS[True]}: {judged}"
    wrong = next(match for match in hidden.matches if match.record.pid != hidden.pid)
    said = ranking.verdict(tiny_engine, hidden, dataclasses.replace(wrong, similarity=2.0), hidden.recipe)
    assert said.startswith(f"{text.VERDICTS[False]}: 2.000, {text.STRONG_YET} ")
    stranger = dataclasses.replace(hidden, pid=None)
    assert ranking.verdict(tiny_engine, stranger, wrong, hidden.recipe).startswith(f"{text.VERDICT_UNKNOWN}: ")


def test_parts_have_one_name_everywhere_and_the_i_says_how_sure_it_is(tiny_engine, opened, monkeypatch):
    assert tiny_engine.term_labels == ("whole person", *tiny_engine.part_names)
    assert "about-card" not in why(tiny_engine, opened)
    meanings = ("mostly head", "mostly arms", "leans to arms", *(f"leans to thing {i}" for i in range(5)))
    monkeypatch.setattr(tiny_engine, "part_meanings", meanings)
    names = ("whole person", "head", "arms 1", "arms 2", *(f"thing {i}" for i in range(5)))
    assert tiny_engine.term_labels == names
    hidden = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("centre", "black"))
    for shown in (why(tiny_engine, opened), changed.changed(tiny_engine, hidden)):
        for i, (name, meaning) in enumerate(zip(names[1:], meanings, strict=True)):
            told = f"<li>{name}: part {i + 1}, {meaning}</li>"
            assert told in shown and shown.count(f">{name}<") >= 3, name  # contribution, presence, heatmap
            assert f"part {i + 1}" not in shown.replace(told, "").replace(f"part part-{i + 1}", "")
        assert ">global<" not in shown and shown.count(">whole person<") == 1
    labels = [
        choice[0]
        for choice in next(
            block.choices for block in view.build_ui(tiny_engine).blocks.values() if block.elem_id == "terms"
        )
    ]
    assert labels == list(names)


def test_what_nobody_knows_of_a_picture_is_called_unknown(opened):
    nowhere = dataclasses.replace(opened, camid=None)
    assert "camera unknown" in probes.probe_line(nowhere) and "?" not in probes.probe_line(nowhere)


def test_the_costliest_place_is_framed_and_its_numbers_are_true(tiny_engine, opened):
    boxes = tiny_engine.hide_places(opened.current, opened.probe).boxes
    assert len(boxes) == len(tiny_engine.part_names)  # one where each template looks
    scores = []
    for box in boxes:
        changed = tiny_engine.occlude(opened.current, [Occlusion("box", "mean_grey", tuple(map(float, box)))])
        scores.append(tiny_engine.gallery.scores(tiny_engine.describe(changed)))
    for place, match in enumerate(opened.matches):
        now = ranking.choose(opened, place)
        lowest = int(np.argmin([score[match.index] for score in scores]))
        worst = float(scores[lowest][match.index])
        said = (
            f"(where the part {tiny_engine.part_names[lowest]} looks): similarity {match.similarity:.2f} to {worst:.2f}"
            if worst < match.similarity
            else text.EARNED_NOTHING
        )
        for _ in range(2):  # the second time from memory
            shown = earned.earned(tiny_engine, now)
            assert said in shown and f"What earned #{place + 1}" in shown
    assert earned.earned(tiny_engine, Session()) == "" == earned.waiting(tiny_engine, Session())
    assert text.EARNED_WAIT in earned.waiting(tiny_engine, now)


def test_verify_says_that_a_candidate_is_beyond_the_list(tiny_engine, opened):
    far = dataclasses.replace(opened.matches[0], rank=len(opened.matches) + 3)
    shown = verify.candidate(tiny_engine, dataclasses.replace(opened, chosen=far))
    assert f"Candidate #{far.rank}, beyond the {len(opened.matches)} listed: open" in shown
    assert f"Candidate #1 of {len(opened.matches)}: open" in verify.candidate(tiny_engine, opened)


def test_moves_follow_the_settings_they_were_asked_under(tiny_engine, opened):
    hidden = probes.hide(tiny_engine, opened, Settings(), probes.Hiding("upper_half", "black"))
    for settings in (Settings(weighing="part_aware"), Settings(same_camera=True), Settings(), Settings(top_k=3)):
        hidden = ranking.rank_again(tiny_engine, hidden, settings)
        leave_out = (2, 4) if settings.same_camera else None
        ranks = [tiny_engine.ranks(d, hidden.scoring, leave_out) for d in (hidden.untouched, hidden.probe)]
        assert hidden.moves == {i: int(ranks[0][i] - ranks[1][i]) for i in places(hidden)}
