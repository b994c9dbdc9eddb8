"""A case: one probe, what was done to it, its candidates and a person's decisions on them, as JSON, CSV and HTML.

A case file holds the probe's own pixels, so that it opens anywhere with the same weights and gallery and ranks alike.
"""

import base64
import csv
import html
import io
import json
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from PIL import Image

from reid_demo import images, occlude
from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.errors import CaseError, ReidError
from reid_demo.records import WEIGHINGS, Match, Occlusion, Scoring

FORMAT = "reid_demo case 1"
DECISIONS = ("confirmed", "rejected", "open")
COLUMNS = ("rank", "similarity", "pid", "camid", "path", "decision", "ranks_gained")


@dataclass(frozen=True, eq=False)
class Case:
    """What a person looked at and decided."""

    image: np.ndarray  # (H, W, 3) uint8, the untouched probe
    title: str
    pid: int | None
    camid: int | None
    source: str  # as `ui` names it: "example:NAME", "gallery:INDEX" or empty
    recipe: tuple[Occlusion, ...]
    scoring: Scoring
    top_k: int
    same_camera: bool  # whether the probe's own person under its own camera was left out
    matches: tuple[Match, ...]
    moves: dict[int, int]  # gallery row -> ranks gained against the untouched probe
    decisions: dict[int, str]  # gallery row -> one of DECISIONS


def rows(case: Case) -> list[dict]:
    """Give the candidates as plain values, best first, under the names of `COLUMNS`."""
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
    """Give the candidates as CSV text; a cell never starts with a sign that a spreadsheet would run."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(case):
        path = row["path"]
        writer.writerow({**row, "path": "'" + path if path[:1] in "=+-@\t" else path})
    return out.getvalue()


def write_json(case: Case, engine: Engine) -> str:
    """Give the whole case as JSON text."""
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


def read_json(source: str | bytes, engine: Engine) -> Opened:
    """Read what `write_json` wrote.

    Raises:
        CaseError: no case file, or one made by other weights or of another gallery.
    """
    try:
        values = json.loads(source)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise CaseError("This is no case file. Choose the JSON file that this page saved.")
        probe, settings, candidates = values["probe"], values["settings"], values["candidates"]
        made_by, gallery = values["fingerprint"], values["gallery"]
        png = base64.b64decode(probe["png"], validate=True)
        scoring = Scoring.read(settings)
        paths = tuple(str(row["path"]) for row in candidates)
        decisions = {str(r["path"]): r["decision"] for r in candidates if r["decision"] in DECISIONS[:2]}
        top_k = int(settings["top_k"])
        recipe = tuple(occlude.read_recipe(json.dumps(values["recipe"])))
        pid, camid = (None if probe[key] is None else int(probe[key]) for key in ("pid", "camid"))
    except ReidError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CaseError("The case file is damaged. Save it again from the page that made it.") from error
    if made_by != engine.gallery.fingerprint or gallery != engine.gallery.name:
        raise CaseError(
            f"This case was made with the weights {made_by} and the gallery {gallery!r}; here are "
            f"{engine.gallery.fingerprint} and {engine.gallery.name!r}. Open it with those."
        )
    if not 1 <= top_k <= len(engine.gallery) or len(scoring.parts or engine.term_names) != len(engine.term_names):
        raise CaseError("The settings of this case do not fit this gallery or these weights.")
    return Opened(
        images.read_image(png),
        str(probe["title"])[:200],
        pid,
        camid,
        str(probe["source"])[:200],
        recipe,
        scoring,
        top_k,
        bool(settings["same_camera"]),
        paths,
        decisions,
    )


def write_html(case: Case, engine: Engine) -> str:
    """Give the case as one page with its pictures inside; it asks nothing of a network."""
    current = engine.occlude(case.image, case.recipe)
    pictures = "".join(
        f"<figure>{render.img_tag(render.thumbnail(shown, 320, 160), words)}<figcaption>{words}</figcaption></figure>"
        for shown, words in ((case.image, "untouched probe"), (current, "probe as searched"))
    )
    steps = ", ".join(f"{o.kind.replace('_', ' ')} ({o.fill.replace('_', ' ')})" for o in case.recipe) or "none"
    parts = case.scoring.parts
    on = "all" if parts is None else ", ".join(n for n, p in zip(engine.term_names, parts, strict=True) if p)
    facts = {
        "probe": case.title,
        "changes": steps,
        "weighing": WEIGHINGS[case.scoring.weighing],
        "parts that count": on,
        "same camera left out": "yes" if case.same_camera else "no",
        "weights": f"{engine.weights_name}, fingerprint {engine.gallery.fingerprint}",
        "gallery": f"{engine.gallery.name}, {len(engine.gallery)} images",
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    if engine.warning:
        facts["warning"] = engine.warning
    listed = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
    body = "".join(_html_row(row, match, engine) for row, match in zip(rows(case), case.matches, strict=True))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Case report</title><style>'
        "body{font:15px/1.45 system-ui,sans-serif;max-width:880px;margin:1.5rem auto;padding:0 1rem;color:#1f2937}"
        "figure{display:inline-block;margin:0 1rem 0 0}figcaption{font-size:.8rem;color:#55636f}"
        ".head{display:flex;flex-wrap:wrap;gap:1rem}dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem;"
        "margin:0;align-content:start;flex:1}dt{color:#55636f}dd{margin:0}table{border-collapse:collapse;width:100%;"
        "margin-top:1rem}td,th{border-bottom:1px solid #dce2e8;padding:.3rem .6rem .3rem 0;text-align:left}"
        "td img{height:96px;display:block}.confirmed{font-weight:700}.rejected{text-decoration:line-through}"
        "</style></head><body><h1>Case report</h1>"
        "<p><strong>A ranking is a list of candidates for a human to verify, never an identification.</strong></p>"
        f'<div class="head"><div>{pictures}</div><dl>{listed}</dl></div>'
        "<table><thead><tr><th>rank</th><th>picture</th><th>similarity</th><th>id</th><th>camera</th><th>moved</th>"
        f"<th>decision</th></tr></thead><tbody>{body}</tbody></table></body></html>"
    )


def _html_row(row: dict, match: Match, engine: Engine) -> str:
    shown = render.thumbnail(images.read_image(engine.gallery.image_path(match.index)), 192, 96)
    pid, camid = ("not known" if row[key] is None else row[key] for key in ("pid", "camid"))
    rank, similarity, moved, decision = (row[key] for key in ("rank", "similarity", "ranks_gained", "decision"))
    picture = render.img_tag(shown, f"candidate {rank}")
    return (
        f"<tr><td>{rank}</td><td>{picture}</td><td>{similarity:.4f}</td><td>{pid}</td><td>{camid}</td>"
        f'<td>{moved:+d}</td><td class="{decision}">{decision}</td></tr>'
    )
