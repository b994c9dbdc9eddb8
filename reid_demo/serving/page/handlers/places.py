"""Places of a visit: the probes that the browser's Back and Forward lead to, each as it was left."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ReidError
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import link
from reid_demo.serving.page.handlers.examples import with_identity
from reid_demo.serving.page.handlers.session import Session, Settings, new_place, with_left, with_recipe


def go(engine: Engine, session: Session, settings: Settings, asked: object) -> Session:
    """Go to a place that the browser names; one that this visit never had is opened from its address.

    Args:
        engine: over the gallery that the visit searches.
        session: the visit.
        settings: how to rank; they stay as they are.
        asked: a mapping with `place` and, as `address`, the values of its link, empty for a visitor's own picture.

    Raises:
        GalleryError: it is not kept, and no address names it.
    """
    values = asked if isinstance(asked, Mapping) else {}
    place = values.get("place")
    if place == session.place:
        return session
    found = next((one for one in session.places if one.place == place), None)
    if found is not None:
        return _back_to(engine, session, settings, found)
    address = dict(parse_qsl(str(values.get("address"))[: link.LONGEST]))
    try:
        opened = link.open_probe(engine, session, settings, address)
    except ReidError as error:
        raise GalleryError(text.PLACE_GONE) from error
    if opened.place == session.place:  # the same probe, yet another place
        opened = replace(opened, place=new_place(), places=with_left(session))
    return opened


def _back_to(engine: Engine, session: Session, settings: Settings, found: Session) -> Session:
    same_list = (found.own, found.searched) == (session.own, engine.gallery.stamp)
    if found.source.startswith("gallery:") and not same_list:
        raise GalleryError(text.PLACE_GONE)  # its number names another picture now
    others = tuple(one for one in session.places if one is not found)
    restored = replace(
        found,
        current=found.image,
        probe=found.untouched,
        token=session.token,
        own=session.own,
        places=with_left(replace(session, places=others)),
    )
    if not same_list:
        restored = replace(with_identity(engine, restored), chosen=None, decisions={})
    return with_recipe(engine, restored, settings, found.recipe)
