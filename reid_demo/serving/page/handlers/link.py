"""A link that carries the view: example or gallery image, changes, settings and match; never a visitor's picture."""

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import urlencode

import numpy as np

from reid_demo import occlude
from reid_demo.engine import Engine
from reid_demo.errors import ConfigError, ImageError, OcclusionError, ReidError
from reid_demo.records import weighing_named
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe as probes
from reid_demo.serving.page.handlers.counterfactuals import open_person
from reid_demo.serving.page.handlers.ranking import choose
from reid_demo.serving.page.handlers.session import (
    COMPARED,
    Session,
    Settings,
    choose_row,
    default_settings,
    left_out,
    most_matches,
    with_recipe,
)

LONGEST = 3000  # characters of a query
LARGEST_RECIPE = 200_000  # characters of JSON, unpacked


def query(engine: Engine, session: Session) -> str:
    """Return the part of an address after its `?`.

    Raises:
        ImageError: the probe or the gallery is the visitor's own.
        OcclusionError: the strokes are too long for an address.
    """
    if not session.source or session.own:
        raise ImageError(text.LINK_NONE)
    settings = session.settings
    values = {"probe": session.source, "top_k": settings.top_k, "weighing": settings.weighing}
    if settings.same_camera:
        values["same_camera"] = 1
    if settings.terms is not None and len(settings.terms) < len(engine.term_names):
        values["terms"] = "".join("1" if name in settings.terms else "0" for name in engine.term_names)
    if session.recipe:
        packed = zlib.compress(occlude.write_recipe(session.recipe).encode(), 9)
        values["recipe"] = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    if session.chosen and session.chosen.rank > 1:
        values["match"] = session.chosen.rank
    if session.compare:
        values["compare"] = session.explained or "1"
    written = urlencode(values)
    if len(written) > LONGEST:
        raise OcclusionError(text.LINK_LONG)
    return written


def open_query(engine: Engine, values: Mapping[str, str]) -> Session:
    """Start a visit from the values of an address.

    Raises:
        ReidError: they name nothing that is here.
    """
    return _read(lambda: _open(engine, values))


def open_probe(engine: Engine, session: Session, settings: Settings, values: Mapping[str, str]) -> Session:
    """Start over with the probe and the changes of an address; settings and gallery stay.

    Raises:
        ReidError: it names nothing that is here.
    """
    return _read(lambda: _open_probe(engine, session, settings, values))


def _read(opening: Callable[[], Session]) -> Session:
    try:
        return opening()
    except ConfigError as error:
        raise ImageError(text.LINK_BAD) from error
    except ReidError:
        raise
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        raise ImageError(text.LINK_BAD) from error


def _open(engine: Engine, values: Mapping[str, str]) -> Session:
    usual = default_settings(engine)
    weighing = weighing_named(values.get("weighing", usual.weighing))
    top_k = int(values.get("top_k", usual.top_k))
    switches = values.get("terms", "1" * len(engine.term_names))
    fits = 1 <= top_k <= most_matches(engine)
    if not fits or len(switches) != len(engine.term_names):
        raise ImageError(text.LINK_BAD)
    terms = tuple(name for name, on in zip(engine.term_names, switches, strict=True) if on == "1")
    settings = Settings(top_k, weighing, values.get("same_camera") == "1", terms)
    now = _open_probe(engine, Session(), settings, values)
    if compared := values.get("compare"):
        explained = next((name for name in COMPARED if name == compared), None)
        now = replace(now, compare=True, explained=explained)
    return _at_rank(engine, now, int(values["match"])) if values.get("match") else replace(now, chosen=None)


def _at_rank(engine: Engine, session: Session, rank: int) -> Session:
    """Choose the match at a rank, in the list or beyond it."""
    if rank <= len(session.matches):
        return choose(session, rank - 1)
    ranks = engine.ranks(session.probe, session.scoring, left_out(session, session.settings))
    rows = np.flatnonzero(ranks == rank)
    if not len(rows):
        raise ImageError(text.LINK_BAD)
    return choose_row(engine, session, int(rows[0]))


def _open_probe(engine: Engine, session: Session, settings: Settings, values: Mapping[str, str]) -> Session:
    kind, _, name = values["probe"].partition(":")
    if kind == "example":
        now = probes.open_named(engine, session, settings, name)
    elif session.own:  # what else a link names is of the page's gallery
        raise ImageError(text.LINK_BAD)
    elif kind == "changed":
        now = open_person(engine, engine, session, settings, name)
    elif kind == "gallery" and name.isdigit() and int(name) < len(engine.gallery):
        now = probes.open_gallery_image(engine, session, settings, int(name))
    else:
        raise ImageError(text.LINK_BAD)
    if not values.get("recipe"):
        return now
    return replace(with_recipe(engine, now, settings, _unpack(values["recipe"])), past=())


def _unpack(packed: str) -> tuple:
    data = base64.urlsafe_b64decode(packed[:LONGEST] + "=" * (-len(packed[:LONGEST]) % 4))
    unpacker = zlib.decompressobj()
    written = unpacker.decompress(data, LARGEST_RECIPE)
    if unpacker.unconsumed_tail:
        raise ImageError(text.LINK_BAD)
    return tuple(occlude.read_recipe(written.decode("utf-8")))
