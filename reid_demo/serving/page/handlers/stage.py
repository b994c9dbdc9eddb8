"""The stage: a block over the probe, and the ranking that follows it while it is dragged.

Gradio's server functions get no session and pass its queue by. So each visit has a token that nobody can guess; the
browser sends it with every call, and probe, settings and gallery come from the visit that it opens.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from reid_demo import images
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, OcclusionError, ReidError
from reid_demo.records import Match, Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.ranking import choose
from reid_demo.serving.page.handlers.session import (
    Session,
    Settings,
    check_list,
    is_right,
    left_out,
    name_of,
    with_recipe,
)

TILES = 8  # of each row
MOST_VISITS, KEEP_S = 1000, 3600
LEAST = 0.02  # side of a block, of the probe's
PROBE_SIZE, TILE_SIZE = (512, 256), (192, 96)  # height, width, px
HALVES = {
    "upper_half": (0.0, 0.0, 1.0, 0.5),
    "lower_half": (0.0, 0.5, 1.0, 1.0),
    "left_half": (0.0, 0.0, 0.5, 1.0),
    "right_half": (0.5, 0.0, 1.0, 1.0),
}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Tile:
    """One candidate of a row."""

    index: int  # row in the gallery
    rank: int
    similarity: float | None  # `None` where it is beyond the row
    right: bool | None  # `None` where that is not known
    name: str


@dataclass(frozen=True)
class Shown:
    """A ranking as the stage shows it."""

    sentence: str
    now: tuple[Tile, ...]
    right: Tile | None  # the best image of the right person, to pin it where it has left the row


@dataclass(frozen=True)
class Opening:
    """All that the stage needs after a search: what to draw, and the token for its own calls."""

    token: str
    probe: str  # address of the picture under the block
    box: Box | None
    chosen: int | None  # gallery row
    before: tuple[Tile, ...]
    shown: Shown


class Visits:
    """The visits of a page by their tokens. Safe to share between threads; a token that is unknown opens nothing."""

    def __init__(self) -> None:
        """Start with none."""
        self._visits: dict[str, tuple[float, Session]] = {}
        self._lock = threading.Lock()

    def __deepcopy__(self, memo) -> "Visits":
        """Never copy a page's visits."""
        return self

    def keep(self, session: Session) -> None:
        """Hold a visit as it is now; the oldest go when there are too many or after an hour."""
        now = time.monotonic()
        with self._lock:
            self._visits.pop(session.token, None)
            self._visits[session.token] = (now, session)
            for token, (used, _) in list(self._visits.items()):
                if len(self._visits) <= MOST_VISITS and now - used < KEEP_S:
                    break  # they stand in the order of their use
                del self._visits[token]

    def open(self, token: object) -> Session:
        """Return the visit of a token.

        Raises:
            GalleryError: there is none.
        """
        with self._lock:
            found = self._visits.get(token) if isinstance(token, str) and token else None
        if found is None:
            raise GalleryError(text.STAGE_GONE)
        return found[1]

    def drop(self, token: str) -> None:
        """Forget a visit."""
        with self._lock:
            self._visits.pop(token, None)


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(18)


def split(recipe: tuple[Occlusion, ...]) -> tuple[tuple[Occlusion, ...], Box | None]:
    """Split a recipe into what lies under the block and the block, which is the last step if it is a box or a half."""
    if recipe and recipe[-1].kind in HALVES:
        return recipe[:-1], HALVES[recipe[-1].kind]
    if recipe and recipe[-1].kind == "box":
        return recipe[:-1], recipe[-1].box
    return recipe, None


def join(recipe: tuple[Occlusion, ...], box: Box | None, fill: str = "mean_grey") -> tuple[Occlusion, ...]:
    """Put the block at a box, or take it away; a block that covers exactly a half is that half."""
    under, _ = split(recipe)
    if box is None:
        return under
    kind = next((name for name, half in HALVES.items() if np.allclose(half, box, atol=1e-3)), None)
    return (*under, Occlusion(kind, fill) if kind else Occlusion("box", fill, box=box))


def read_box(value: object) -> Box | None:
    """Read a box in fractions `(x0, y0, x1, y1)` of the probe from the browser; `None` is no block.

    Raises:
        OcclusionError: it is none, or leaves the probe.
    """
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = (float(side) for side in value)
    except (TypeError, ValueError) as error:
        raise OcclusionError(text.STAGE_BOX) from error
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 and x1 - x0 >= LEAST and y1 - y0 >= LEAST):
        raise OcclusionError(text.STAGE_BOX)
    return x0, y0, x1, y1


def settle(engine: Engine, session: Session, settings: Settings, value: object) -> Session:
    """Make the block where it was let go a change of the probe."""
    box = read_box(value)
    under, old = split(session.recipe)
    fill = session.recipe[-1].fill if old is not None else "mean_grey"
    chosen = session.matches[session.chosen].index if session.chosen is not None else None
    now = with_recipe(engine, session, settings, join(session.recipe, box, fill))
    places = [place for place, match in enumerate(now.matches) if match.index == chosen]
    return replace(now, chosen=places[0]) if places else now


def choose_tile(session: Session, index: object) -> Session:
    """Choose the match that shows a row of the gallery."""
    place = next((i for i, match in enumerate(session.matches) if match.index == index), -1)
    return choose(session, place)


def opening(engine: Engine, session: Session) -> dict | None:
    """Return what the stage draws after a search, as plain values; `None` where there is no probe."""
    if not session.matches:
        return None
    under, box = split(session.recipe)
    picture = overlays.thumbnail(engine.occlude(session.image, under), *PROBE_SIZE)
    leave_out = left_out(session, session.settings)
    before = engine.search(session.untouched, TILES, session.scoring, leave_out)
    now, ranks = engine.search_and_rank(session.probe, TILES, session.scoring, leave_out)
    chosen = None if session.chosen is None else session.matches[session.chosen].index
    return asdict(
        Opening(
            session.token,
            figures.picture_uri(picture),
            box,
            chosen,
            tuple(_tile(session, match) for match in before),
            _shown(engine, session, session.recipe, now, ranks),
        )
    )


def preview(engine: Engine, session: Session, box: Box | None) -> Shown:
    """Rank the probe with the block at a box; the visit stays as it is."""
    recipe = join(session.recipe, box)
    probe = engine.describe(engine.occlude(session.image, recipe)) if recipe else session.untouched
    now, ranks = engine.search_and_rank(probe, TILES, session.scoring, left_out(session, session.settings))
    return _shown(engine, session, recipe, now, ranks)


def _shown(engine: Engine, session: Session, recipe: tuple[Occlusion, ...], now: list[Match], ranks) -> Shown:
    right = engine.right_matches(session.pid, left_out(session, session.settings))
    best = None
    if len(right):
        index = int(right[np.argmin(ranks[right])])
        record = engine.gallery.records[index]
        listed = next((match.similarity for match in now if match.index == index), None)
        best = Tile(index, int(ranks[index]), listed, True, _name(record.pid, record.camid))
    tiles = tuple(_tile(session, match) for match in now)
    return Shown(_sentence(session, recipe, tiles, best), tiles, best)


def _tile(session: Session, match: Match) -> Tile:
    record = match.record
    right = is_right(session, match)
    return Tile(match.index, match.rank, match.similarity, right, _name(record.pid, record.camid))


def _name(pid: int | None, camid: int | None) -> str:
    return text.STAGE_NAME.format(pid=name_of(pid), camid=name_of(camid))


def _sentence(session: Session, recipe: tuple[Occlusion, ...], now: tuple[Tile, ...], best: Tile | None) -> str:
    if best is None:
        return text.STAGE_ABSENT if session.pid is not None else text.STAGE_UNKNOWN
    before, after = session.first_right[0], best.rank
    if not recipe:
        return text.STAGE_FIRST if after == 1 else text.STAGE_PLAIN.format(after=after)
    words = text.STAGE_KEEPS if before == after else text.STAGE_FALLS if after > before else text.STAGE_RISES
    return words.format(what=_what(recipe), before=before, after=after)


def _what(recipe: tuple[Occlusion, ...]) -> str:
    if len(recipe) > 1:
        return text.STAGE_SEVERAL
    kind = recipe[0].kind
    return text.STAGE_WITHOUT.format(part=kind.replace("_", " ")) if kind in HALVES else text.STAGE_WITH


class Stage:
    """What the browser calls while a visitor drags; calls take turns at the network, errors come back as values."""

    def __init__(self, visits: Visits, engine_of: Callable[[Session], Engine]) -> None:
        """Answer for `visits`; `engine_of` finds the gallery that a visit searches."""
        self._visits, self._engine_of = visits, engine_of

    def __deepcopy__(self, memo) -> "Stage":
        """Never copy a page's visits."""
        return self

    def rank(self, asked: Mapping) -> dict:
        """Rank for `token` with the block at `box`."""

        def act(engine: Engine, session: Session) -> dict:
            return asdict(preview(engine, session, read_box(asked.get("box"))))

        return self._answer(asked, act)

    def pictures(self, asked: Mapping) -> dict:
        """Return the addresses of the pictures of `rows`, at most twice a row of tiles and one, for `token`."""

        def act(engine: Engine, session: Session) -> dict:
            rows = [int(row) for row in list(asked.get("rows") or ())[: 2 * TILES + 1]]
            if not all(0 <= row < len(engine.gallery) for row in rows):
                raise GalleryError(text.STAGE_GONE)
            return {str(row): _picture(engine, row) for row in rows}

        return self._answer(asked, act)

    def _answer(self, asked: Mapping, act: Callable[[Engine, Session], dict]) -> dict:
        try:
            session = self._visits.open(asked.get("token") if isinstance(asked, Mapping) else None)
            engine = self._engine_of(session)
            check_list(engine, session)
            return act(engine, session)
        except ReidError as error:
            return {"error": str(error)}
        except (TypeError, ValueError):
            return {"error": text.STAGE_BOX}


def _picture(engine: Engine, row: int) -> str:
    return figures.picture_uri(
        overlays.thumbnail(images.image_or_placeholder(engine.gallery.image_path(row)), *TILE_SIZE)
    )
