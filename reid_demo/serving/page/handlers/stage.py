"""The stage: the probe under its block, the ranking that follows it, and why the chosen candidate scores what it does.

Gradio's server functions get no session and pass its queue by. So each visit has a token that nobody can guess; the
browser sends it with every call, and probe, settings and gallery come from the visit that it opens.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from reid_demo import images, occlude
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError, ReidError
from reid_demo.measuring.sets import coverage
from reid_demo.records import WEIGHINGS, Descriptor, Match, Occlusion, Scoring, Weighing
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.block import Box, box_of, join, read_box, split
from reid_demo.serving.page.handlers.mark import mark
from reid_demo.serving.page.handlers.probe import can_undo, recipe_step
from reid_demo.serving.page.handlers.ranking import rates, tile, verdict
from reid_demo.serving.page.handlers.session import (
    COMPARED,
    Session,
    best_of,
    check_list,
    is_right,
    left_out,
    match_at,
    name_of,
)
from reid_demo.serving.page.handlers.visits import Visits
from reid_demo.whatif import explain

TILES = 8  # of each row
PROBE_SIZE = (512, 512)  # most height and width, px
PLAIN = ("mean_grey", "black")  # fills that the browser draws itself
ALL_HIDDEN = 0.97  # of the probe's area, from which nothing of the person is left
SMALL = np.zeros((128, 64, 3), np.uint8)  # to measure areas on
MOST_MOVED = 2  # parts that are said to have lost or gained most


@dataclass(frozen=True)
class Tile:
    """One candidate of a row."""

    index: int  # row in the gallery
    rank: int
    similarity: float
    right: bool | None  # `None` where that is not known
    name: str


@dataclass(frozen=True)
class Row:
    """One ranking as a row of tiles."""

    tiles: tuple[Tile, ...]
    right: Tile | None  # the best image of the right person, to pin it where it has left the row


@dataclass(frozen=True)
class Why:
    """The chosen candidate's similarity as the sum of its terms, with the probe's attention maps."""

    index: int  # row in the gallery
    weighing: str  # by which it is explained, in words; empty unless two are compared
    rank: int
    right: bool | None
    name: str
    similarity: float
    was: float  # with the untouched probe
    terms: tuple[float, ...]  # P+1, global first
    terms_before: tuple[float, ...]
    moved: str  # the parts that lost most, or gained most where the similarity rose, in words
    maps: str  # (P, h, w) steps of the colour scale, base64
    grid: tuple[int, int]  # h, w


@dataclass(frozen=True)
class Shown:
    """A ranking as the stage shows it."""

    sentence: str
    verdict: str
    warning: str
    changed: bool  # whether anything is done to the probe
    now: Row
    more: tuple[Tile, ...]  # the next ones of an untouched probe, where a changed one has its row before
    compared: tuple[Row, ...]  # of `COMPARED`; empty unless asked for
    why: Why


@dataclass(frozen=True)
class Look:
    """How a visitor looks at a ranking."""

    compare: bool = False  # rank by both ways of weighing as well
    explained: Weighing | None = None  # of which of them Why speaks; `None`: of the visit's own
    chosen: int | None = None  # gallery row to explain; `None`: the visit's own choice


@dataclass(frozen=True)
class Opening:
    """All that the stage needs after a search: what to draw, and the token for its own calls."""

    token: str
    place: str
    source: str  # of the probe, as `Session` names it
    probe: str  # address of the picture under the block
    covered: str  # of the picture with the block, where the browser cannot draw its fill; else empty
    box: Box | None
    fill: str
    kinds: tuple[str, ...]  # of the steps of the recipe
    chips: tuple[str, ...]  # the same in words
    undoable: bool
    compare: bool
    weighing: Weighing  # of the page's own list
    explained: Weighing | None
    usual: bool  # the page's gallery is ranked, as the page opens
    own: bool  # the visitor's own gallery is ranked
    gallery: str  # changes with the gallery whose rows are named
    rates: str  # how often the verdict errs
    before: Row
    shown: Shown


# What stays the same while a visitor changes a probe, by the untouched one, for as long as a visit holds it:
# the changes under the block with the address of that picture, and under what the probe was ranked with its row.
_under: WeakKeyDictionary[Descriptor, tuple[tuple[Occlusion, ...], str]] = WeakKeyDictionary()
_rows_before: WeakKeyDictionary[Descriptor, tuple[tuple, Row]] = WeakKeyDictionary()


def opening(engine: Engine, session: Session) -> dict | None:
    """Return what the stage draws after a search, as plain values; `None` where there is no probe."""
    if not session.matches:
        return None
    under, block = split(session.recipe)
    plain = block is None or block.fill in PLAIN
    return asdict(
        Opening(
            session.token,
            session.place,
            session.source,
            _under_block(engine, session, under),
            "" if plain else figures.picture_uri(_fitted(session.current)),
            box_of(block),
            session.fill,
            tuple(step.kind for step in session.recipe),
            tuple(recipe_step(step, seeded=False) for step in session.recipe),
            can_undo(session),
            session.compare,
            session.scoring.weighing,
            session.explained,
            session.scoring == engine.default_scoring and not session.settings.same_camera and not session.own,
            bool(session.own),
            "-".join(map(str, engine.gallery.stamp)),
            rates(engine, session),
            _row_before(engine, session),
            _shown(engine, session, session.recipe, session.probe, Look(session.compare, session.explained)),
        )
    )


def preview(engine: Engine, session: Session, box: Box | None, look: Look = Look()) -> Shown:
    """Rank the probe with the block at a box; the visit stays as it is.

    Args:
        engine: over the gallery that the visit searches.
        session: the visit.
        box: where the block is; `None`: there is none.
        look: what of the ranking is shown and explained.
    """
    recipe = join(session.recipe, box, session.fill)
    probe = engine.describe(engine.occlude(session.image, recipe)) if recipe else session.untouched
    return _shown(engine, session, recipe, probe, look)


def with_pictures(engine: Engine, drawn: dict) -> dict:
    """Add the pictures and the maps that an opening shows, so that a page draws it before it asks anything."""
    rows = [drawn["before"], drawn["shown"]["now"]]
    tiles = [each for row in rows for each in (*row["tiles"], *([row["right"]] if row["right"] else []))]
    tiles += drawn["shown"]["more"]
    chosen = drawn["shown"]["why"]["index"]
    pictures = {str(row): _picture(engine, row) for row in {each["index"] for each in tiles}}
    try:
        maps = {str(chosen): match_maps(engine, chosen)}
    except ImageError:  # its file is gone; a page that asks for the maps is told so
        maps = {}
    return {**drawn, "pictures": pictures, "maps": maps}


def match_maps(engine: Engine, row: int) -> dict:
    """Return a gallery image with its attention maps."""
    image = images.read_image(engine.gallery.image_path(row))
    return {"picture": figures.picture_uri(_fitted(image)), "maps": _coded(engine.described_anew(row))}


def _under_block(engine: Engine, session: Session, under: tuple[Occlusion, ...]) -> str:
    """Return the address of the picture under the block; it stays the same while the block is dragged."""
    known = _under.get(session.untouched)
    if known is None or known[0] != under:
        known = under, figures.picture_uri(_fitted(engine.occlude(session.image, under)))
        _under[session.untouched] = known
    return known[1]


def _fitted(image: np.ndarray) -> np.ndarray:
    """Shrink a picture to what the stage shows; never stretched, never enlarged."""
    share = min(1.0, *(most / side for most, side in zip(PROBE_SIZE, image.shape[:2], strict=True)))
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    return image if share == 1 else overlays.shrink(image, height, width)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """What a search for a probe found."""

    probe: Descriptor
    scoring: Scoring
    found: list[Match]
    ranks: np.ndarray  # (G,)


def _ranked(engine: Engine, session: Session, probe: Descriptor, scoring: Scoring, count: int = TILES) -> _Ranking:
    found, ranks = engine.search_and_rank(probe, count, scoring, left_out(session, session.settings))
    return _Ranking(probe, scoring, found, ranks)


def _row_before(engine: Engine, session: Session) -> Row:
    """Return the row of the untouched probe; it stays the same while the probe is changed."""
    asked = (session.before[0], session.pid)
    known = _rows_before.get(session.untouched)
    if known is None or known[0] != asked:
        known = asked, _row(engine, session, _ranked(engine, session, session.untouched, session.scoring))
        _rows_before[session.untouched] = known
    return known[1]


def _row(engine: Engine, session: Session, ranking: _Ranking) -> Row:
    right = engine.right_matches(session.pid, left_out(session, session.settings))
    best = None
    if len(right):
        row = best_of(right, ranking.ranks)
        listed = next((match for match in ranking.found if match.index == row), None)
        best = _tile(session, listed or match_at(engine, ranking.probe, row, ranking.ranks, ranking.scoring))
    return Row(tuple(_tile(session, match) for match in ranking.found[:TILES]), best)


def _shown(
    engine: Engine,
    session: Session,
    recipe: tuple[Occlusion, ...],
    probe: Descriptor,
    look: Look,
) -> Shown:
    ranking = _ranked(engine, session, probe, session.scoring, TILES if recipe else 2 * TILES)
    scorings = [replace(session.scoring, weighing=name) for name in COMPARED if look.compare]
    rankings = [_ranked(engine, session, probe, scoring) for scoring in scorings]
    now, compared = _row(engine, session, ranking), [_row(engine, session, one) for one in rankings]
    explained, row = ranking, now
    if look.compare and look.explained is not None:
        place = COMPARED.index(look.explained)
        explained, row = rankings[place], compared[place]
    hidden = coverage(engine, SMALL, recipe) if recipe else 0.0
    said = verdict(engine, session, ranking.found[0], recipe)
    if look.compare:
        said = text.STAGE_VERDICT_OF.format(
            weighing=WEIGHINGS[session.scoring.weighing], verdict=said[:1].lower() + said[1:]
        )
    return Shown(
        _sentence(engine, session, recipe, now, compared),
        said,
        text.STAGE_ALL_HIDDEN if hidden >= ALL_HIDDEN else "",
        bool(recipe),
        now,
        tuple(_tile(session, match) for match in ranking.found[TILES:]),
        tuple(compared),
        _why(engine, session, explained, _explained(session, row, look.chosen), look.compare),
    )


def _explained(session: Session, now: Row, chosen: int | None) -> int:
    """Return the gallery row to explain: the one asked for, the visit's choice, or the first match."""
    if chosen is not None:
        return chosen
    if session.follows_best and now.right is not None:
        return now.right.index
    return now.tiles[0].index if session.chosen is None else session.chosen.index


def _why(engine: Engine, session: Session, ranking: _Ranking, index: int, named: bool) -> Why:
    stored, record = engine.gallery.descriptor(index), engine.gallery.records[index]
    after, before = (
        explain.explain(one, stored, engine.term_names, ranking.scoring) for one in (ranking.probe, session.untouched)
    )
    match = Match(record, index, int(ranking.ranks[index]), after.similarity, after.contributions)
    moves = (before.contributions - after.contributions) * (1 if after.similarity < before.similarity else -1)
    most = [int(i) for i in np.argsort(-moves)[:MOST_MOVED] if moves[i] > 0.01]
    names = engine.term_labels
    return Why(
        index,
        WEIGHINGS[ranking.scoring.weighing] if named else "",
        match.rank,
        is_right(session, match),
        _name(record.pid, record.camid),
        after.similarity,
        before.similarity,
        tuple(map(float, after.contributions)),
        tuple(map(float, before.contributions)),
        text.AND.join(names[i] for i in most),
        _coded(ranking.probe),
        tuple(ranking.probe.template_attention.shape[-2:]),
    )


def _coded(descriptor: Descriptor) -> str:
    return base64.b64encode(overlays.heat_steps(descriptor.template_attention).tobytes()).decode()


def _tile(session: Session, match: Match) -> Tile:
    record = match.record
    return Tile(match.index, match.rank, match.similarity, is_right(session, match), _name(record.pid, record.camid))


def _name(pid: int | None, camid: int | None) -> str:
    return text.STAGE_NAME.format(pid=name_of(pid), camid=name_of(camid))


def _sentence(
    engine: Engine, session: Session, recipe: tuple[Occlusion, ...], now: Row, compared: Sequence[Row]
) -> str:
    if now.right is None:
        return text.STAGE_ABSENT if session.shows_somebody else _first_of_unknown(engine, session, recipe, now)
    if compared:
        cosine, part_aware = (row.right.rank for row in compared)
        words = text.STAGE_COMPARED if cosine != part_aware else text.STAGE_COMPARED_SAME
        return words.format(what=_what(recipe), cosine=cosine, part_aware=part_aware)
    before, after = session.first_right[0], now.right.rank
    if not recipe:
        return text.STAGE_FIRST if after == 1 else text.STAGE_PLAIN.format(after=after)
    words = text.STAGE_KEEPS if before == after else text.STAGE_FALLS if after > before else text.STAGE_RISES
    return words.format(what=_what(recipe), before=before, after=after)


def _first_of_unknown(engine: Engine, session: Session, recipe: tuple[Occlusion, ...], now: Row) -> str:
    """Say what became of the first candidate where nobody knows who is right."""
    if not recipe:
        return text.STAGE_UNKNOWN
    first = engine.search(session.untouched, 1, session.scoring, left_out(session, session.settings))
    same = first[0].index == now.tiles[0].index
    return (text.STAGE_FIRST_STAYS if same else text.STAGE_FIRST_CHANGES).format(what=_what(recipe))


def _what(recipe: tuple[Occlusion, ...]) -> str:
    if len(recipe) > 1:
        return text.STAGE_SEVERAL
    kind = recipe[0].kind if recipe else ""
    if kind in occlude.BOXES:
        return text.STAGE_WITHOUT.format(part=kind.replace("_", " "))
    if kind == "crop":
        return text.STAGE_CROPPED
    return text.STAGE_WITH if recipe else text.STAGE_WHOLE


class Stage:
    """What the browser calls while a visitor drags; calls take turns at the network, errors come back as values."""

    def __init__(self, visits: Visits, engine_of: Callable[[Session], Engine]) -> None:
        """Answer for `visits`; `engine_of` finds the gallery that a visit searches."""
        self._visits, self._engine_of = visits, engine_of

    def __deepcopy__(self, memo) -> "Stage":
        """Never copy a page's visits."""
        return self

    def rank(self, asked: Mapping) -> dict:
        """Rank for `token` with the block at `box`, explaining `chosen`; both ways of weighing if `compare`.

        `explained` is the one of them by which it is explained.
        """

        def act(engine: Engine, session: Session) -> dict:
            box, chosen = read_box(asked.get("box")), asked.get("chosen")
            if chosen is not None:
                _check(engine, [chosen])
            by = next((name for name in COMPARED if name == asked.get("explained")), None)
            return asdict(preview(engine, session, box, Look(asked.get("compare") is True, by, chosen)))

        return self._answer(asked, act)

    def pictures(self, asked: Mapping) -> dict:
        """Return the addresses of the pictures of `rows`, at most three rows of tiles, for `token`."""

        def act(engine: Engine, session: Session) -> dict:
            rows = asked.get("rows")
            rows = rows[: 3 * TILES + 1] if isinstance(rows, list) else []
            _check(engine, rows)
            return {str(row): _picture(engine, row) for row in rows}

        return self._answer(asked, act)

    def maps(self, asked: Mapping) -> dict:
        """Return the picture and the attention maps of the gallery image `row`, for `token`."""

        def act(engine: Engine, session: Session) -> dict:
            row = asked.get("row")
            _check(engine, [row])
            return match_maps(engine, row)

        return self._answer(asked, act)

    def mark(self, asked: Mapping) -> dict:
        """Return what set the mark that the search of `token` is judged by."""
        return self._answer(asked, mark)

    def _answer(self, asked: Mapping, act: Callable[[Engine, Session], dict]) -> dict:
        try:
            session = self._visits.open(asked.get("token") if isinstance(asked, Mapping) else None)
            engine = self._engine_of(session)
            check_list(engine, session)
            if not session.matches:
                raise GalleryError(text.STATUS_NONE)
            return act(engine, session)
        except ReidError as error:
            return {"error": str(error)}


def _check(engine: Engine, rows: Sequence[object]) -> None:
    """Refuse what is no row of the gallery: all that comes from the browser is checked before it is used."""
    if not all(type(row) is int and 0 <= row < len(engine.gallery) for row in rows):
        raise GalleryError(text.STAGE_GONE)


def _picture(engine: Engine, row: int) -> str:
    return tile(engine.gallery, row)
