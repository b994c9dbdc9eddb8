"""The examples that the page offers: stories measured beforehand, or plain probes where none were."""

from dataclasses import dataclass, replace
from pathlib import Path

from reid_demo import images, occlude
from reid_demo.data.counterfactuals import read_changed
from reid_demo.data.probes import FOLDER
from reid_demo.data.stories import Story, read_stories
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.block import Box
from reid_demo.serving.page.handlers.session import Session, example_source

SIZE = (144, 72)  # height, width of a picture, px


@dataclass(frozen=True)
class Offered:
    """One example as the page offers it."""

    picture: str  # its address
    words: str


@dataclass(frozen=True)
class View:
    """What an example shows as it is shipped."""

    source: str  # `Session.source` while it is the probe
    box: Box | None  # what is hidden of it


def stories_of(engine: Engine) -> list[Story]:
    """Return the stories that this gallery's probes tell with these weights."""
    gallery = engine.gallery
    return read_stories(gallery.folder, gallery.fingerprint) if engine.probes else []


def with_identity(engine: Engine, session: Session) -> Session:
    """Return a visit with what the searched gallery knows of a shipped probe: one of the visitor's own knows nobody."""
    kind, _, name = session.source.partition(":")
    if kind == "example":
        known = {example.path.stem: (example.pid, example.camid) for example in engine.probes}
    elif kind == "changed":
        known = {Path(row.path).stem: (row.pid, None) for row in read_changed(engine.gallery.folder)}
    else:
        return session
    pid, camid = known.get(name, (None, None))
    return replace(session, pid=pid, camid=camid)


def offered(engine: Engine, stories: list[Story]) -> list[Offered]:
    """Return the examples, the most telling one first."""
    if stories:
        folder = engine.gallery.folder / FOLDER
        return [Offered(_picture(folder / story.path), caption(story)) for story in stories]
    return [Offered(_picture(e.path), text.EXAMPLE_KINDS.get(e.kind, e.kind)) for e in engine.examples]


def views(engine: Engine, stories: list[Story]) -> list[View]:
    """Return how each of the examples is shipped, in the order of `offered`."""
    if stories:
        return [View(example_source(Path(s.path)), occlude.BOXES.get(s.occluder or "")) for s in stories]
    return [View(example_source(example.path), None) for example in engine.examples]


def caption(story: Story) -> str:
    """Say what to look for."""
    part = text.OCCLUDERS.get(story.occluder or "", "")
    hidden = {"part_aware": story.part_aware.hidden} if story.part_aware else {}
    untouched = story.part_aware.untouched if story.part_aware else 0
    return text.STORIES[story.story].format(part=part, untouched=untouched, **hidden)


def _picture(path) -> str:
    return figures.picture_uri(overlays.thumbnail(images.image_or_placeholder(path), *SIZE))
