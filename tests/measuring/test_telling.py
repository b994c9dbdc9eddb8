"""Examples tell what their captions say: with the shipped weights, and as they are chosen."""

from dataclasses import replace

import numpy as np
import pytest

from reid_demo import occlude
from reid_demo.data import stories
from reid_demo.data.probes import FOLDER
from reid_demo.data.stories import Ranks, Story
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.measuring import telling
from reid_demo.records import Occlusion, Scoring
from reid_demo.search import bundled
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import acts, examples, stage
from reid_demo.serving.page.handlers.session import Session, default_settings

SHIPPED = stories.read_json(
    stories.Stories, bundled.DEFAULT_GALLERY / stories.FILE, DatasetError, stories.MEND
).examples


@pytest.fixture(scope="module")
def shipped():
    return Engine.load()


def ranks(engine, story, weighing, recipe):
    image = engine.occlude(read_image(engine.gallery.folder / FOLDER / story.path), recipe)
    example = next(one for one in engine.probes if one.path.name == story.path)
    found = engine.ranks(engine.describe(image), Scoring(weighing))
    return [int(found[row]) for row in range(len(found)) if engine.pids[row] == example.pid]


def test_the_shipped_examples_belong_to_the_shipped_weights(shipped):
    assert stories.read_stories(shipped.gallery.folder, shipped.gallery.fingerprint) == SHIPPED
    kinds = [story.story for story in SHIPPED]
    assert kinds[0] == stories.FALLS and {stories.PARTS, stories.RISES, stories.HOLDS, stories.ABSENT} <= set(kinds)
    assert len({story.path for story in SHIPPED}) == len(SHIPPED)


@pytest.mark.parametrize("story", SHIPPED, ids=lambda story: story.path)
def test_each_shipped_example_tells_its_story(shipped, story):
    caption = examples.caption(story)
    if story.story == stories.ABSENT:
        assert ranks(shipped, story, "cosine", []) == []
        return
    recipe = [Occlusion(story.occluder)] if story.occluder else []
    for weighing, told in (("cosine", story.cosine), ("part_aware", story.part_aware)):
        assert min(ranks(shipped, story, weighing, [])) == told.untouched  # given back, it is as it was
        assert min(ranks(shipped, story, weighing, recipe)) == told.hidden
    aware, cosine = story.part_aware, story.cosine
    assert {
        stories.FALLS: aware.untouched == 1 and aware.hidden >= 8,
        stories.PARTS: aware == Ranks(1, 1) and cosine.untouched == 1 and cosine.hidden > 1,
        stories.RISES: aware.untouched >= 5 and aware.hidden == 1,
        stories.HOLDS: aware == Ranks(1, 1) == cosine,
        stories.COVERED: aware == Ranks(1, 1) == cosine,
    }[story.story]
    if story.story in (stories.FALLS, stories.RISES):
        assert f"{aware.untouched} to {aware.hidden}" in caption
    if story.occluder:
        assert caption.startswith(text.OCCLUDERS[story.occluder])


def test_the_page_opens_each_example_with_its_part_hidden_and_says_the_same(shipped):
    settings = default_settings(shipped)
    for number, story in enumerate(SHIPPED):
        now = acts.open_story(shipped, Session(), settings, SHIPPED, number)
        shown = stage.opening(shipped, now)["shown"]
        assert [step.kind for step in now.recipe] == ([story.occluder] if story.occluder else [])
        if story.story in (stories.FALLS, stories.RISES):
            assert f"from {story.part_aware.untouched} to {story.part_aware.hidden}" in shown["sentence"]
            assert now.chosen.rank == story.part_aware.hidden and now.chosen.record.pid == now.pid
        if story.story == stories.PARTS:
            assert f"at {story.cosine.hidden}, part-aware at 1" in shown["sentence"]
        if story.story == stories.ABSENT:
            assert shown["verdict"].startswith(text.VERDICTS["absent"]) and f", {text.WEAK} for" in shown["verdict"]


def test_examples_are_measured_by_both_weighings_and_chosen_by_what_they_show(tiny_engine):
    steps = []
    found = telling.measure(tiny_engine, lambda done, total: steps.append((done, total)))
    assert len(found) == len(occlude.BOXES) and steps == [(1, 1)]  # the absent person is not measured
    image = read_image(tiny_engine.examples[0].path)
    for one in found:
        hidden = tiny_engine.describe(tiny_engine.occlude(image, [Occlusion(one.occluder)]))
        right = np.flatnonzero(tiny_engine.pids == 2)
        for weighing in telling.WEIGHINGS:
            wanted = int(tiny_engine.ranks(hidden, Scoring(weighing))[right].min())
            assert getattr(one, weighing).hidden == wanted
    base = replace(found[0], occluder="lower_half", clean=False)
    falls = replace(base, cosine=Ranks(1, 9), part_aware=Ranks(1, 12))
    parts = replace(base, cosine=Ranks(1, 9), part_aware=Ranks(1, 1))
    covered = replace(falls, part_aware=Ranks(1, 30), clear=False)  # falls further, but something hides the match
    assert telling.choose(tiny_engine, [covered, falls])[0].part_aware == falls.part_aware
    holds = replace(base, cosine=Ranks(1, 1), part_aware=Ranks(1, 1), clean=True)
    for one, kind in ((falls, stories.FALLS), (parts, stories.PARTS), (holds, stories.HOLDS)):
        chosen = telling.choose(tiny_engine, [one])
        assert [story.story for story in chosen] == [kind, stories.ABSENT]
        assert chosen[0] == Story("0002.png", kind, "lower_half", one.cosine, one.part_aware)


def test_stories_of_other_weights_or_damaged_ones_are_not_told(tmp_path):
    assert stories.read_stories(tmp_path, "x") == []
    (tmp_path / stories.FILE).write_text('{"fingerprint": "x", "command": "", "examples": []}', encoding="utf-8")
    assert stories.read_stories(tmp_path, "y") == []
    for wrong in ("{}", '{"path": "a.jpg", "story": "climbs", "occluder": null}'):
        file = f'{{"fingerprint": "x", "command": "", "examples": [{wrong}]}}'
        (tmp_path / stories.FILE).write_text(file, encoding="utf-8")
        with pytest.raises(DatasetError, match="python -m reid_demo examples"):
            stories.read_stories(tmp_path, "x")
