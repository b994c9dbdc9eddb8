"""`Session`, the small frozen record of one visit, and how its ranking comes about. It never holds model or gallery."""

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError
from reid_demo.records import Descriptor, Match, Occlusion, Scoring, Weighing, same_person
from reid_demo.serving import budget
from reid_demo.serving.page import text
from reid_demo.whatif import explain
from reid_demo.whatif.compare import ranks_gained

USUAL_TOP_K, MOST_TOP_K = 10, 50
MOST_PLACES = 12  # probes that a visit keeps to come back to
MOST_PAST = 50  # changes of one probe that can be taken back
COMPARED: tuple[Weighing, ...] = ("cosine", "part_aware")  # in the order of the stage's rows


@dataclass(frozen=True)
class Settings:
    """How the list is ranked and probes are opened, as the visitor set it."""

    top_k: int = 10
    weighing: Weighing = "cosine"
    same_camera: bool = False  # leave out the probe's own person under its own camera
    terms: tuple[str, ...] | None = None  # names of the terms that count; None: all
    keep_recipe: bool = False  # another probe gets the changes of this one


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that a visit can start with."""

    image: np.ndarray  # (H, W, 3) uint8
    title: str
    pid: int | None = None
    camid: int | None = None
    source: str = ""  # "example:NAME", "changed:NAME" or "gallery:INDEX"; empty for a visitor's own picture


@dataclass(frozen=True, eq=False)
class Session:
    """One visit: the probe, what was done to it, and the ranking of it."""

    image: np.ndarray | None = None  # (H, W, 3) uint8, as it came
    title: str = ""
    pid: int | None = None
    camid: int | None = None
    source: str = ""  # "example:NAME", "changed:NAME" or "gallery:INDEX"; empty for a visitor's own picture
    recipe: tuple[Occlusion, ...] = ()
    past: tuple[tuple[tuple[Occlusion, ...], str], ...] = ()  # recipe and fill before each change, the last at the end
    undone: int = 0  # changes that were asked for but would have taken too long
    current: np.ndarray | None = None  # `image` after the recipe
    untouched: Descriptor | None = None  # of `image`
    probe: Descriptor | None = None  # of `current`
    matches: tuple[Match, ...] = ()
    searched: tuple[int, int] | None = None  # stamp of the gallery whose rows `matches` name
    before: tuple[tuple, np.ndarray] | None = None  # under what, and the (G,) ranks of `image` then
    moves: dict[int, int] = field(default_factory=dict)  # gallery index -> ranks gained against the untouched probe
    first_right: tuple[int, int] | None = None  # rank of the first right match, untouched and now
    entered: int = 0  # matches that were not in the untouched top-k
    settings: Settings = Settings()  # of this ranking
    scoring: Scoring = Scoring()
    chosen: Match | None = None  # as it ranks now, in the list or beyond it; stays chosen through changes
    follows_best: bool = False  # nobody chose: `chosen` is the best image of the right person, whichever that is now
    decisions: dict[int, str] = field(default_factory=dict)  # gallery index -> a key of `text.DECISION_WORDS`
    seed: int = 0  # grows with every random occluder, so that each click gives another
    own: str = ""  # token of the visitor's own gallery; empty for the page's
    token: str = ""  # of this visit, for the stage's own calls; nobody can guess it
    place: str = ""  # names this probe among those of the visit
    places: tuple["Session", ...] = ()  # as they were left, the last one at the end
    fill: str = "mean_grey"  # of what is hidden next
    compare: bool = False  # both ways of weighing are shown
    explained: Weighing | None = None  # of which of `COMPARED` the match was chosen; None: of the page's own

    @property
    def shows_somebody(self) -> bool:
        """Whether the probe's person is known; junk and distractors are nobody in particular."""
        return self.pid is not None and self.pid > 0


def start(engine: Engine, session: Session, settings: Settings, picture: Picture) -> Session:
    """Start over with another probe, from which the visit can come back; the recipe stays where the settings say so."""
    probe = engine.describe(picture.image)
    again = bool(picture.source) and picture.source == session.source
    fresh = Session(
        picture.image,
        picture.title,
        picture.pid,
        picture.camid,
        picture.source,
        current=picture.image,
        untouched=probe,
        probe=probe,
        seed=session.seed,
        fill=session.fill,
        compare=session.compare,
        own=session.own,
        token=session.token or new_token(),  # none: Gradio forgets a visit after an hour; this begins another
        place=session.place if again else new_place(),
        places=session.places if again else with_left(session),
    )
    kept = with_recipe(engine, fresh, settings, session.recipe if settings.keep_recipe else ())
    return replace(kept, past=())


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(18)


def new_place() -> str:
    """Return a name that no other place has, in this visit or an earlier one of the same browser."""
    return secrets.token_hex(6)


def with_left(session: Session) -> tuple[Session, ...]:
    """Return the places of a visit with the present one, without what a search makes anew; the oldest go."""
    if session.image is None:
        return session.places
    left = replace(session, places=(), current=None, probe=None, matches=(), before=None, moves={})
    return (*session.places, left)[-MOST_PLACES:]


def with_recipe(engine: Engine, session: Session, settings: Settings, recipe: tuple[Occlusion, ...]) -> Session:
    """Apply a recipe to the untouched probe and rank the result; changes that would take too long are left out.

    The visit remembers what was there before; see `probe.undo`.
    """
    need_probe(session)
    current, done = engine.occlude_within(session.image, recipe, budget.CHANGES_S)
    undone, recipe = len(recipe) - done, tuple(recipe[:done])
    probe = engine.describe(current) if recipe else session.untouched
    past = session.past
    if recipe != session.recipe:
        past = (*past, (session.recipe, session.fill))[-MOST_PAST:]
    changed = replace(session, recipe=recipe, past=past, undone=undone, current=current, probe=probe)
    return ranked(engine, changed, settings)


def ranked(engine: Engine, session: Session, settings: Settings) -> Session:
    """Rank the gallery for the probe as it is; the network is not asked."""
    if session.searched not in (None, engine.gallery.stamp):  # the rows of another gallery, which was replaced
        session = replace(session, chosen=None, decisions={})
    scoring = scoring_of(engine, settings)
    leave_out = left_out(session, settings)
    found, after = engine.search_and_rank(session.probe, int(settings.top_k), scoring, leave_out)
    matches = tuple(found)
    asked = (session.own, engine.gallery.stamp, scoring, leave_out)
    before, moves = after, dict.fromkeys((m.index for m in matches), 0)
    if session.probe is not session.untouched:
        known = session.before is not None and session.before[0] == asked
        before = session.before[1] if known else engine.ranks(session.untouched, scoring, leave_out)
        moves = ranks_gained(moves, before, after)
    right = engine.right_matches(session.pid, leave_out)
    row = _followed(engine, session, right, after, leave_out)
    return replace(
        session,
        matches=matches,
        searched=engine.gallery.stamp,
        before=(asked, np.asarray(before, np.int32)),
        moves=moves,
        first_right=(int(before[right].min()), int(after[right].min())) if len(right) else None,
        entered=sum(int(before[m.index]) > len(matches) for m in matches),
        settings=settings,
        scoring=scoring,
        chosen=None if row is None else _listed(matches, row) or match_at(engine, session.probe, row, after, scoring),
    )


def _followed(
    engine: Engine, session: Session, right: np.ndarray, ranks: np.ndarray, leave_out: tuple[int, int] | None
) -> int | None:
    """Return the gallery row that stays chosen; `None` where none is, or where it is left out now."""
    if session.follows_best and len(right):
        return best_of(right, ranks)
    if session.chosen is None or session.chosen.index >= len(engine.gallery):
        return None
    record = engine.gallery.records[session.chosen.index]
    return None if leave_out == (record.pid, record.camid) else session.chosen.index


def best_of(rows: np.ndarray, ranks: np.ndarray) -> int:
    """Return the one of these gallery rows that ranks first."""
    return int(rows[np.argmin(ranks[rows])])


def _listed(matches: tuple[Match, ...], row: int) -> Match | None:
    return next((match for match in matches if match.index == row), None)


def match_at(engine: Engine, probe: Descriptor, row: int, ranks: np.ndarray, scoring: Scoring) -> Match:
    """Return a gallery image as a match of a probe, wherever it ranks; `ranks` are `(G,)`, all of the gallery."""
    found = explain.explain(probe, engine.gallery.descriptor(row), engine.term_names, scoring)
    return Match(engine.gallery.records[row], row, int(ranks[row]), found.similarity, found.contributions)


def choose_row(engine: Engine, session: Session, row: object) -> Session:
    """Choose a gallery image as the match to explain, wherever it ranks.

    Raises:
        GalleryError: there is no such image, or no ranking.
    """
    if not session.matches or type(row) is not int or not 0 <= row < len(engine.gallery):
        raise GalleryError(text.NO_MATCH)
    listed = _listed(session.matches, row)
    if listed is None:
        ranks = engine.ranks(session.probe, session.scoring, left_out(session, session.settings))
        listed = match_at(engine, session.probe, row, ranks, session.scoring)
    return replace(session, chosen=listed, follows_best=False)


def choose_best(engine: Engine, session: Session) -> Session:
    """Choose the right person's best image, and keep to it whichever it is; nothing where there is none."""
    leave_out = left_out(session, session.settings)
    right = engine.right_matches(session.pid, leave_out)
    if not len(right):
        return session
    ranks = engine.ranks(session.probe, session.scoring, leave_out)
    return replace(choose_row(engine, session, best_of(right, ranks)), follows_best=True)


def left_out(session: Session, settings: Settings) -> tuple[int, int] | None:
    """Return the (pid, camid) to leave out of the list; `None` unless the visitor asked for it and both are known."""
    known = session.pid is not None and session.camid is not None
    return (session.pid, session.camid) if settings.same_camera and known else None


def scoring_of(engine: Engine, settings: Settings) -> Scoring:
    """Turn settings into the engine's scoring."""
    parts = None
    if settings.terms is not None and len(engine.part_names):
        parts = tuple(name in settings.terms for name in engine.term_names)
        parts = None if all(parts) else parts
    return Scoring(settings.weighing, parts)


def explained_scoring(session: Session) -> Scoring:
    """Return the scoring that Why speaks of: of the list that the match was chosen from, where two are compared."""
    if not session.compare or session.explained is None:
        return session.scoring
    return replace(session.scoring, weighing=session.explained)


def explained_match(engine: Engine, session: Session) -> tuple[Match, Scoring]:
    """Return the chosen match as it ranks in the list that it was chosen from, and the scoring of that list."""
    match, scoring = chosen_match(session), explained_scoring(session)
    if scoring == session.scoring:
        return match, scoring
    ranks = engine.ranks(session.probe, scoring, left_out(session, session.settings))
    return match_at(engine, session.probe, match.index, ranks, scoring), scoring


def default_settings(engine: Engine) -> Settings:
    """Return the settings that a page opens with."""
    return Settings(min(USUAL_TOP_K, len(engine.gallery)), engine.default_scoring.weighing)


def fitted(session: Session, settings: Settings, engine: Engine) -> Settings:
    """Return settings for another gallery than the one that `session` ranked: more matches where that had no more."""
    had_no_more = session.before is not None and settings.top_k >= len(session.before[1])
    wanted = max(settings.top_k, USUAL_TOP_K) if had_no_more else settings.top_k
    return replace(settings, top_k=max(1, min(wanted, most_matches(engine))))


def most_matches(engine: Engine) -> int:
    """Return how many matches a visitor may ask for."""
    return min(MOST_TOP_K, len(engine.gallery))


def need_probe(session: Session) -> np.ndarray:
    """Return the probe as it is now, `(H, W, 3)` uint8.

    Raises:
        ImageError: there is none yet.
    """
    if session.current is None:
        raise ImageError(text.NO_PROBE)
    return session.current


def chosen_match(session: Session) -> Match:
    """Return the chosen match, or the first one where none is chosen."""
    if not session.matches:
        raise GalleryError(text.NO_MATCH)
    return session.chosen or session.matches[0]


def check_list(engine: Engine, session: Session) -> None:
    """Refuse to read a ranked list whose rows are those of a gallery that was replaced meanwhile.

    Raises:
        GalleryError: it was.
    """
    if session.matches and session.searched != engine.gallery.stamp:
        raise GalleryError(text.GALLERY_REPLACED)


def is_right(session: Session, match: Match) -> bool | None:
    """Tell whether a match shows the probe's person; `None` where that is not known."""
    return shows_person(session, match.record.pid)


def shows_person(session: Session, pid: int | None) -> bool | None:
    """Tell whether an image with this pid shows the probe's person; `None` where that is not known."""
    if not session.shows_somebody or pid is None:
        return None
    return same_person(session.pid, pid)


def is_hidden(engine: Engine, session: Session) -> bool:
    """Tell whether part of the probe is known to be hidden: by a change, or in a shipped example."""
    if session.recipe:
        return True
    kind, _, name = session.source.partition(":")
    return kind == "example" and engine.kinds.get(name) in ("occluded", "partial")


def example_source(path: Path) -> str:
    """Return what `Session.source` is where a shipped probe is the picture."""
    return f"example:{path.stem}"


def name_of(number: int | None) -> str:
    """Return an identity or camera number as people read it."""
    if number == 0:
        return text.DISTRACTOR
    return text.UNKNOWN if number is None else str(number)


def file_name(path: str) -> str:
    """Return a picture's own name: without folders, content hash and ending."""
    return path.rpartition("/")[2].partition(".")[0]
