"""A case: one probe, what was done to it, its candidates and a person's decisions on them, as JSON, CSV and HTML.

A case file holds the probe's own pixels: with the same weights and gallery it opens anywhere and ranks the same.
"""

import base64
import csv
import io
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

import jinja2
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from reid_demo import images, occlude
from reid_demo.data.files import wrong_field
from reid_demo.drawing import overlays
from reid_demo.engine import Engine
from reid_demo.errors import CaseError, ConfigError, shown
from reid_demo.records import WEIGHINGS, Match, Occlusion, Scoring

FORMAT = "reid_demo case 1"
SAVE_AGAIN = "Save it again from the page that made it."
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = ("rank", "similarity", "pid", "camid", "path", "decision", "ranks_gained")


@dataclass(frozen=True, eq=False)
class Case:
    """What a person looked at and decided."""

    image: np.ndarray  # (H, W, 3) uint8, the untouched probe
    title: str
    pid: int | None
    camid: int | None
    source: str  # as `Session.source`
    recipe: tuple[Occlusion, ...]
    scoring: Scoring
    top_k: int
    same_camera: bool  # whether the probe's own person under its own camera was left out
    matches: tuple[Match, ...]
    moves: dict[int, int]  # gallery row -> ranks gained against the untouched probe
    decisions: dict[int, str]  # gallery row -> confirmed, rejected or open
    verdict: str = ""  # whether the first match is confident, in words; empty where that was not calibrated


def rows(case: Case) -> list[dict]:
    """Return the candidates as plain values, best first, under the names of `COLUMNS`."""
    return [
        {
            "rank": m.rank,
            "similarity": round(m.similarity, 6),
            "pid": m.record.pid,
            "camid": m.record.camid,
            "path": m.record.path,
            "decision": case.decisions.get(m.index, "open"),
            "ranks_gained": case.moves.get(m.index, 0),
        }
        for m in case.matches
    ]


def write_csv(case: Case) -> str:
    """Return the candidates as CSV text; no text cell starts with a sign that a spreadsheet would run."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(case):
        writer.writerow({name: guarded(cell) for name, cell in row.items()})
    return out.getvalue()


def guarded(cell):
    """Return a cell with an apostrophe before text that a spreadsheet would run as a formula; numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def write_json(case: Case, engine: Engine) -> str:
    """Return the whole case as JSON text."""
    buffer = io.BytesIO()
    Image.fromarray(case.image).save(buffer, "PNG", optimize=True)
    values = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": "A ranking is a list of candidates for a human to verify, never an identification.",
        "weights": engine.weights_name,
        "fingerprint": engine.gallery.fingerprint,
        "gallery": engine.gallery.name,
        "gallery_images": len(engine.gallery),
        "probe": {
            "title": case.title,
            "pid": case.pid,
            "camid": case.camid,
            "source": case.source,
            "png": base64.b64encode(buffer.getvalue()).decode(),
        },
        "recipe": [occlude.to_dict(o) for o in case.recipe],
        "settings": {
            "top_k": case.top_k,
            "weighing": case.scoring.weighing,
            "terms": None if case.scoring.parts is None else list(case.scoring.parts),
            "same_camera": case.same_camera,
        },
        "candidates": rows(case),
    }
    return json.dumps(values, indent=1) + "\n"


@dataclass(frozen=True, eq=False)
class Opened:
    """What a case file says, before it is ranked again."""

    image: np.ndarray
    title: str
    pid: int | None
    camid: int | None
    source: str
    recipe: tuple[Occlusion, ...]
    scoring: Scoring
    top_k: int
    same_camera: bool
    paths: tuple[str, ...]  # of the candidates, best first
    decisions: dict[str, str]  # path -> confirmed or rejected


class _Probe(BaseModel):
    model_config = ConfigDict(strict=True)

    title: str
    pid: int | None
    camid: int | None
    source: str
    png: str


class _Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")  # how it was ranked, in the words of any release

    top_k: int
    same_camera: bool


class _Candidate(BaseModel):
    model_config = ConfigDict(strict=True)

    path: str
    decision: Literal["confirmed", "rejected", "open"]


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    format: Literal["reid_demo case 1"]
    fingerprint: str
    gallery: str
    probe: _Probe
    recipe: list[dict[str, Any]]
    settings: _Settings
    candidates: list[_Candidate]


def read_json(source: str | bytes, engine: Engine) -> Opened:
    """Read what `write_json` wrote.

    Raises:
        CaseError: no case file, a field that is wrong, or one made by other weights or of another gallery.
        ImageError: the probe's picture cannot be read.
        OcclusionError: its recipe holds no such occlusion.
    """
    values = _parse(source)
    if values.fingerprint != engine.gallery.fingerprint or values.gallery != engine.gallery.name:
        raise CaseError(
            f"This case was made with the weights {values.fingerprint[:64]} and the gallery {shown(values.gallery)}; "
            f"here are {engine.gallery.fingerprint} and {engine.gallery.name!r}. Open it with those."
        )
    try:
        scoring = Scoring.read(values.settings.model_dump())
        png = base64.b64decode(values.probe.png, validate=True)
    except ConfigError as error:
        raise CaseError(f"The case file is damaged (settings: {error}). {SAVE_AGAIN}") from error
    except ValueError as error:
        raise CaseError(f"The case file is damaged (probe.png: not base64). {SAVE_AGAIN}") from error
    top_k, terms = values.settings.top_k, engine.term_names
    if not 1 <= top_k <= len(engine.gallery) or scoring.parts is not None and len(scoring.parts) != len(terms):
        raise CaseError("The settings of this case do not fit this gallery or these weights.")
    return Opened(
        images.read_probe(png),
        values.probe.title[:200],
        values.probe.pid,
        values.probe.camid,
        values.probe.source[:200],
        tuple(occlude.from_rows(values.recipe)),
        scoring,
        top_k,
        values.settings.same_camera,
        tuple(row.path for row in values.candidates),
        {row.path: row.decision for row in values.candidates if row.decision != "open"},
    )


def _parse(source: str | bytes) -> _File:
    try:
        return _File.model_validate_json(source)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if not first["loc"] or first["loc"] == ("format",):
            raise CaseError("This is no case file. Choose the JSON file that this page saved.") from error
        raise CaseError(f"The case file is damaged ({wrong_field(error)}). {SAVE_AGAIN}") from error


def write_html(case: Case, engine: Engine) -> str:
    """Return the case as one page with its pictures inside; it asks nothing of a network."""
    current = engine.occlude(case.image, case.recipe)
    shown = ((case.image, "untouched probe"), (current, "probe as searched"))
    listed = zip(rows(case), case.matches, strict=True)
    return _TEMPLATES.get_template("case.html").render(
        pictures=[(data_url(overlays.thumbnail(picture, 320, 160)), words) for picture, words in shown],
        facts=_facts(case, engine),
        rows=[(row, data_url(_candidate(match, engine))) for row, match in listed],
    )


def _change(step: Occlusion) -> str:
    """Return a change in words; what crops or pastes has no fill."""
    name = step.kind.replace("_", " ")
    return name if step.kind in occlude.UNFILLED else f"{name} ({step.fill.replace('_', ' ')})"


def _facts(case: Case, engine: Engine) -> dict[str, str]:
    """Return what a reader needs to judge the list by, in the order it is read."""
    steps = ", ".join(map(_change, case.recipe)) or "none"
    parts = case.scoring.parts
    on = "all" if parts is None else ", ".join(n for n, p in zip(engine.term_names, parts, strict=True) if p)
    facts = {
        "probe": case.title,
        "changes": steps,
        "weighing": WEIGHINGS[case.scoring.weighing],
        "parts that count": on,
        "same camera left out": "yes" if case.same_camera else "no",
        "first match": case.verdict or "not judged: these weights were not calibrated for such a search",
        "weights": f"{engine.weights_name}, fingerprint {engine.gallery.fingerprint}",
        "gallery": f"{engine.gallery.name}, {len(engine.gallery)} images",
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return facts | ({"warning": engine.warning} if engine.warning else {})


def _candidate(match: Match, engine: Engine) -> np.ndarray:
    return overlays.thumbnail(images.image_or_placeholder(engine.gallery.image_path(match.index)), 192, 96)


def data_url(picture: np.ndarray) -> str:
    """Return a picture `(H, W, 3)` uint8 as an address that holds it, JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("reid_demo.serving"), autoescape=True, undefined=jinja2.StrictUndefined
)
