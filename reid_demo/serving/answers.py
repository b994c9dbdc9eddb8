"""The answers as plain JSON values, one form for command line, API and MCP. Knows no options and no page.

A picture of the gallery is named under the key `image`: Gradio's clients take what stands under `path` for a file that
they should fetch. The command line's own key is `path` (`with_paths`).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypedDict, TypeVar

import numpy as np

from reid_demo.engine import Engine
from reid_demo.errors import ConfigError, GalleryError
from reid_demo.images import lacks_colour, read_image
from reid_demo.records import Descriptor, Explanation, Match, Occlusion, Scoring
from reid_demo.serving import budget
from reid_demo.whatif.sweep import Window

NO_COLOUR = (
    "This probe has no colour, and the network relies on colour: expect far fewer right matches. The model card says "
    "how many."
)
SWEEP_CUT = "Stopped after {seconds} s: {done} of {total} windows were tried, coarse ones first."
CHANGES_CUT = "Stopped after {seconds} s: {done} of {total} changes were made."
PRESENCE_NOTE = "Presence is relative attention and sums to 1 over the parts whatever is hidden."


class MatchRow(TypedDict):
    """One candidate of a ranked list."""

    rank: int  # 1 is the best
    similarity: float  # higher is closer
    pid: int | None
    camid: int | None
    image: str  # its path inside the gallery
    contributions: list[float]  # global first; they sum to the similarity


class Warned(TypedDict, total=False):
    """What an answer may carry beside its own fields."""

    warning: str  # there only where something limits what the answer says


class Confidence(TypedDict):
    """Whether a first match is confident, and how often such a verdict is wrong."""

    confident: bool
    similarity: float  # of the first match
    threshold: float  # from which a first match is confident
    fpir: float  # share of searches for absent people that pass it
    fnir: float | None  # share of searches for present people that do not, or put another first; null: not measured
    occluded: bool  # whether the rates are those of half-hidden probes
    num_images: int  # of the gallery that was measured
    words: str


class Ranking(Warned):
    """A ranked list."""

    matches: list[MatchRow]
    confidence: Confidence | None  # of the first match; null where this gallery was not measured
    exact: bool  # False: the gallery is compressed and the ranking approximate


class Why(Warned):
    """Why a match scores what it scores."""

    similarity: float
    names: list[str]  # of the terms, "global" first
    contributions: list[float]
    presence_probe: list[float]  # of the parts
    presence_match: list[float]
    match: MatchRow
    note: str
    visible_probe: list["VisibleRow"]  # of the body parts; empty where these weights were not measured
    visible_match: list["VisibleRow"]


class VisibleRow(TypedDict):
    """Whether a body part can be seen, as far as these weights tell."""

    body_part: str
    probability: float | None  # that at least half of it is visible; null: it cannot be told reliably
    words: str


class MoveRow(TypedDict):
    """Where a gallery image was and is."""

    image: str
    rank_before: int
    rank_after: int


class Change(Warned):
    """A search before and after a change of the probe."""

    before: list[MatchRow]
    after: list[MatchRow]
    moves: list[MoveRow]  # of every image in either list
    presence_before: list[float]
    presence_after: list[float]
    exact: bool


class SweepMap(Warned):
    """What each window, hidden, does to one match."""

    match: MatchRow  # of the untouched probe
    boxes: list[list[float]]  # windows, fractions x0, y0, x1, y1 of the probe
    similarity_change: list[float]  # with the window hidden, minus untouched
    rank_change: list[int]  # positive is worse


class GalleryInfo(TypedDict):
    """What is searched, and by which network."""

    gallery: str
    images: int
    people: int  # known identities
    exact: bool
    created: str
    fingerprint: str  # of the weights
    weights: str
    variant: str
    device: str
    weighing: str  # the default one
    terms: list[str]  # names of the terms of a similarity, "global" first
    warning: str  # what the makers of the weights warn of


def match_row(match: Match) -> MatchRow:
    """Return a match as a row of plain values."""
    return {
        "rank": match.rank,
        "similarity": match.similarity,
        "pid": match.record.pid,
        "camid": match.record.camid,
        "image": match.record.path,
        "contributions": [float(value) for value in match.contributions],
    }


def with_paths(value):
    """Return an answer with `image` called `path`, as the command line prints it."""
    if isinstance(value, dict):
        return {"path" if key == "image" else key: with_paths(item) for key, item in value.items()}
    return [with_paths(item) for item in value] if isinstance(value, list) else value


def switches(engine: Engine, parts: Sequence[str]) -> tuple[bool, ...] | None:
    """Turn the parts that count into `(P+1,)` switches, global first; no parts named is all of them.

    Args:
        engine: knows the names.
        parts: names of terms, as the page calls them ("torso") or as answers do ("global", "part 2"), or part numbers
            from 1.

    Raises:
        ConfigError: no such part.
    """
    names, labels, chosen = engine.term_names, engine.term_labels, set()
    known = {name: i for called in (names, labels) for i, name in enumerate(called)}
    for part in parts:
        if part in known:
            chosen.add(known[part])
        elif part.isdecimal() and len(part) < 6 and 1 <= int(part) < len(names):
            chosen.add(int(part))
        else:
            named = part if len(part) < 40 else f"{part[:40]}..."
            raise ConfigError(
                f"parts: there is no part {named!r}; use numbers from 1 to {len(names) - 1}, or {', '.join(labels)}."
            )
    return tuple(i in chosen for i in range(len(names))) if chosen else None


def search(
    engine: Engine, image: np.ndarray, top_k: int = 10, scoring: Scoring | None = None, *, occluded: bool = False
) -> Ranking:
    """Rank the gallery for a probe, `(H, W, 3)` uint8; `occluded`: part of it is known to be hidden."""
    matches = engine.search(engine.describe(image), top_k, scoring)
    answer: Ranking = {
        "matches": [match_row(match) for match in matches],
        "confidence": _confidence(engine, matches, scoring or engine.default_scoring, occluded),
        "exact": engine.gallery.exact,
    }
    return _warned(answer, image)


def _confidence(engine: Engine, matches: Sequence[Match], scoring: Scoring, occluded: bool) -> Confidence | None:
    verdict = engine.confidence(matches[0], scoring, occluded=occluded) if matches else None
    return None if verdict is None else {**asdict(verdict), "words": verdict.said}


def explain(
    engine: Engine, image: np.ndarray, rank: int = 1, scoring: Scoring | None = None
) -> tuple[Why, Explanation, np.ndarray]:
    """Explain the match at a rank: return the numbers, the explanation with its maps, and the match's picture."""
    probe = engine.describe(image)
    match = _at_rank(engine, engine.search(probe, max(rank, 1), scoring), rank)
    explanation = engine.explain(probe, match, scoring)
    picture = read_image(engine.gallery.image_path(match.index))
    why: Why = {
        "similarity": explanation.similarity,
        "names": list(explanation.names),
        "contributions": [float(value) for value in explanation.contributions],
        "presence_probe": [float(value) for value in explanation.probe.presence],
        "presence_match": [float(value) for value in explanation.match.presence],
        "match": match_row(match),
        "note": PRESENCE_NOTE,
        "visible_probe": visible_rows(engine, explanation.probe),
        "visible_match": visible_rows(engine, engine.described_anew(match.index)),
    }
    return _warned(why, image), explanation, picture


def visible_rows(engine: Engine, image: Descriptor) -> list[VisibleRow]:
    """Return what can be said of the visibility of each body part."""
    return [
        {"body_part": seen.body_part, "probability": seen.probability, "words": seen.words}
        for seen in engine.visible_parts(image)
    ]


def what_if(
    engine: Engine,
    image: np.ndarray,
    recipe: Sequence[Occlusion],
    top_k: int = 10,
    scoring: Scoring | None = None,
) -> Change:
    """Search with the untouched probe and with the changed one; changes that would take too long are left out."""
    changed, done = engine.occlude_within(image, recipe, budget.CHANGES_S)
    found = engine.before_and_after(image, changed, top_k, scoring)
    answer: Change = {
        "before": [match_row(match) for match in found.before],
        "after": [match_row(match) for match in found.after],
        "moves": [
            {
                "image": engine.gallery.records[move.index].path,
                "rank_before": move.rank[0],
                "rank_after": move.rank[1],
            }
            for move in found.moves
        ],
        "presence_before": [float(value) for value in found.probe_before.presence],
        "presence_after": [float(value) for value in found.probe_after.presence],
        "exact": engine.gallery.exact,
    }
    cut = CHANGES_CUT.format(seconds=budget.CHANGES_S, done=done, total=len(recipe))
    return _warned(answer, image, cut if done < len(recipe) else "")


def sweep(
    engine: Engine,
    image: np.ndarray,
    rank: int = 1,
    *,
    window: Window = Window(),
    scoring: Scoring | None = None,
    go_on: Callable[[int, int], bool | None] = lambda done, total: None,
) -> SweepMap:
    """Slide a window over the probe and watch the match at a rank.

    Args:
        engine: the verbs.
        image: the probe, `(H, W, 3)` uint8.
        rank: of the match that is watched, 1 is the best.
        window: what hides one place after another.
        scoring: how it is ranked; None: the gallery's own way.
        go_on: gets (windows done, in all) after each batch; where it returns False, the answer holds what was done.
    """
    match = _at_rank(engine, engine.search(engine.describe(image), max(rank, 1), scoring), rank)
    steps = engine.sweep(image, [[match.index]], window, scoring)
    for step in steps:
        if go_on(step.done, step.total) is False:
            break
    done = step.done  # boxes come coarse to fine, so that a part of them covers the picture too
    answer: SweepMap = {
        "match": match_row(match),
        "boxes": [[float(value) for value in box] for box in step.boxes[:done]],
        "similarity_change": [float(value) for value in step.similarity_change[0, :done]],
        "rank_change": [int(value) for value in step.rank_change[0, :done]],
    }
    cut = SWEEP_CUT.format(seconds=budget.SWEEP_S, done=done, total=step.total)
    return _warned(answer, image, cut if done < step.total else "")


def gallery_info(engine: Engine) -> GalleryInfo:
    """Say what is searched, and by which network."""
    gallery = engine.gallery
    return {
        "gallery": gallery.name,
        "images": len(gallery),
        "people": gallery.num_pids,
        "exact": gallery.exact,
        "created": gallery.meta.get("created", ""),
        "fingerprint": gallery.fingerprint,
        "weights": engine.weights_name,
        "variant": engine.variant,
        "device": engine.device_name,
        "weighing": engine.default_scoring.weighing,
        "terms": list(engine.term_names),
        "warning": engine.warning,
    }


Answer = TypeVar("Answer", bound=Warned)


def _warned(answer: Answer, image: np.ndarray, cut: str = "") -> Answer:
    """Add what limits an answer about a probe, if anything does: that it is grey, and that the work was `cut` short."""
    words = " ".join(filter(None, (cut, NO_COLOUR if lacks_colour(image) else "")))
    if words:
        answer["warning"] = words
    return answer


def _at_rank(engine: Engine, matches: Sequence[Match], rank: int) -> Match:
    if not 1 <= rank <= len(matches):
        raise GalleryError(f"rank must be a whole number from 1 to {len(engine.gallery)}, not {rank}.")
    return matches[rank - 1]
