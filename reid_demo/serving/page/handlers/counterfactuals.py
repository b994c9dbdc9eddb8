"""Rendered people with one thing changed: how far each change moves the right person, and each picture as a probe."""

import functools
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from reid_demo import images
from reid_demo.data.counterfactuals import FOLDER, Changed, read_changed
from reid_demo.drawing import figures
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError
from reid_demo.model.describer import Describer
from reid_demo.records import WEIGHINGS, Descriptor
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Picture, Session, Settings, start
from reid_demo.serving.page.markup import render


@dataclass(frozen=True)
class Shown:
    """One picture with what it finds."""

    name: str  # of its file, without the ending
    picture: str  # its address
    change: str  # in a few words
    rank: int  # of the right person's best image
    fell: bool  # against the untouched picture
    words: str  # the whole sentence: "The same woman without her bag: rank 1 to 6"


@dataclass(frozen=True)
class Person:
    """One person: the untouched picture, then the changed ones."""

    said: str
    pictures: list[Shown]


def are_shipped(engine: Engine) -> bool:
    """Tell whether the gallery ships such pictures."""
    return bool(read_changed(engine.gallery.folder))


def people(engine: Engine, session: Session) -> str:
    """Return the people with the ranks that a search gives them, as HTML.

    Args:
        engine: over the page's gallery, which the people are in.
        session: the visit, for its way of scoring.
    """
    rows = read_changed(engine.gallery.folder)
    folder = engine.gallery.folder / FOLDER
    probes = _described(engine.describer, folder, tuple(row.path for row in rows))
    ranks = []
    for row, probe in zip(rows, probes, strict=True):
        right = engine.right_matches(row.pid)
        if not len(right):
            raise GalleryError(text.PEOPLE_ELSEWHERE)
        ranks.append(int(engine.ranks(probe, session.scoring)[right].min()))
    listed = [
        _person(folder, list(group)) for _, group in groupby(zip(rows, ranks, strict=True), key=lambda one: one[0].pid)
    ]
    by = text.PEOPLE_BY.format(weighing=WEIGHINGS[session.scoring.weighing])
    return render("people.html.jinja", by=by, people=listed)


def _person(folder: Path, found: list[tuple[Changed, int]]) -> Person:
    untouched, before = found[0]
    pictures = [
        Shown(
            Path(row.path).stem,
            figures.data_uri((folder / row.path).read_bytes(), "image/webp"),
            row.words.removeprefix(untouched.words).strip() or text.PEOPLE_UNTOUCHED,
            rank,
            rank > before,
            _sentence(row, before, rank),
        )
        for row, rank in found
    ]
    row, rank = max(found, key=lambda one: one[1])
    if rank > before:
        return Person(_sentence(row, before, rank), pictures)
    return Person(text.PEOPLE_HOLDS.format(who=_capital(untouched.words), rank=before), pictures)


def _sentence(row: Changed, before: int, rank: int) -> str:
    who = _capital(row.words)
    if not row.change:
        return text.PEOPLE_RANK.format(who=who, rank=rank)
    words = text.PEOPLE_STILL if rank == before else text.PEOPLE_MOVED
    return words.format(who=who, before=before, rank=rank)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


@functools.lru_cache(maxsize=1)
def _described(describer: Describer, folder: Path, paths: tuple[str, ...]) -> list[Descriptor]:
    """Describe the shipped pictures; once, as they do not change."""
    return list(describer.describe_stream(images.read_image(folder / path) for path in paths))


def open_person(home: Engine, engine: Engine, session: Session, settings: Settings, name: object) -> Session:
    """Start over with one of these pictures as the probe.

    Args:
        home: over the page's gallery, which ships the picture.
        engine: over the gallery that the visit searches.
        session: the visit.
        settings: how to rank.
        name: of the picture's file, without the ending.

    Raises:
        ImageError: there is no such picture.
    """
    row = next((row for row in read_changed(home.gallery.folder) if Path(row.path).stem == name), None)
    if row is None:
        raise ImageError(text.NO_SUCH_EXAMPLE)
    pid = None if session.own else row.pid  # a visitor's own gallery counts people of its own
    image = images.read_probe(home.gallery.folder / FOLDER / row.path)
    picture = Picture(image, _capital(row.words), pid, source=f"changed:{name}")
    return start(engine, session, settings, picture)
