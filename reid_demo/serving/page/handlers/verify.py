"""A person's decisions on the candidates, and the case as files."""

from dataclasses import replace

import numpy as np

from reid_demo import images
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.errors import CaseError
from reid_demo.records import WEIGHINGS
from reid_demo.serving import case as cases
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.ranking import confidence
from reid_demo.serving.page.handlers.session import (
    Picture,
    Session,
    Settings,
    chosen_match,
    left_out,
    match_at,
    most_matches,
    name_of,
    need_probe,
    start,
    with_recipe,
)
from reid_demo.serving.page.markup import render
from reid_demo.whatif.compare import ranks_gained


def decide(session: Session, decision: str) -> Session:
    """Note a decision on the chosen candidate and go on to the next one; one beyond the list stays chosen."""
    match = chosen_match(session)
    decisions = {**session.decisions, match.index: decision}
    if decision == "open":
        decisions.pop(match.index)
    count = len(session.matches)
    after = match if match.rank > count else session.matches[min(match.rank, count - 1)]
    return replace(session, decisions=decisions, chosen=after, follows_best=False)


def candidate(engine: Engine, session: Session) -> str:
    """Show probe and chosen candidate side by side, large, with what was decided, as HTML."""
    if not session.matches:
        return render("note.html.jinja", words=text.NO_MATCH)
    match = chosen_match(session)
    picture = images.image_or_placeholder(engine.gallery.image_path(match.index))
    decision = session.decisions.get(match.index, "open")
    heading = text.VERIFY_HEADING if match.rank <= len(session.matches) else text.VERIFY_BEYOND
    words = heading.format(rank=match.rank, total=len(session.matches), decision=text.DECISION_WORDS[decision])
    made = [*session.decisions.values(), *("open" for m in session.matches if m.index not in session.decisions)]
    count = text.VERIFY_COUNT.format(**{name: made.count(name) for name in text.DECISION_WORDS})
    if session.compare:
        count += f". {text.VERIFY_LIST.format(weighing=WEIGHINGS[session.scoring.weighing])}"
    of_match = text.WHY_MATCH_OF.format(pid=name_of(match.record.pid), camid=name_of(match.record.camid))
    shown = [(text.VERIFY_PROBE if session.recipe else text.WHY_PROBE, session.image)]
    if session.recipe:
        shown.append((text.VERIFY_CHANGED, session.current))
    shown.append((of_match, picture))
    return render(
        "candidate.html.jinja",
        heading=words,
        count=count,
        pictures=[(says, figures.picture(_plain(image), says)) for says, image in shown],
    )


def _plain(image: np.ndarray) -> np.ndarray:
    """Frame a picture as any other: right or wrong is for the person at the page to say."""
    return overlays.thumbnail(image, 384, 192, overlays.UNKNOWN)


def case_of(engine: Engine, session: Session) -> cases.Case:
    """Return what this visit looked at and decided: the list, and whom beyond it something was decided of."""
    need_probe(session)
    listed = {match.index for match in session.matches}
    beyond = [row for row in session.decisions if row not in listed]
    matches, moves = session.matches, session.moves
    if beyond:
        ranks = engine.ranks(session.probe, session.scoring, left_out(session, session.settings))
        found = [match_at(engine, session.probe, row, ranks, session.scoring) for row in beyond]
        matches = (*matches, *sorted(found, key=lambda match: match.rank))
        moves = {**moves, **ranks_gained(dict.fromkeys(beyond, 0), session.before[1], ranks)}
    return cases.Case(
        session.image,
        session.title,
        session.pid,
        session.camid,
        session.source,
        session.recipe,
        session.scoring,
        session.settings.top_k,
        session.settings.same_camera,
        matches,
        moves,
        session.decisions,
    )


def case_files(engine: Engine, session: Session) -> str:
    """Return links that save the case as JSON, CSV and HTML; the files are in the links, not on the server.

    Raises:
        ImageError: there is no probe yet.
    """
    judged = confidence(engine, session)
    case = replace(case_of(engine, session), verdict="" if judged is None else f"{judged.said} {judged.rates}")
    files = (
        ("json", cases.write_json(case, engine), "application/json"),
        ("csv", cases.write_csv(case), "text/csv"),
        ("html", cases.write_html(case, engine), "text/html"),
    )
    links = [
        figures.download_link(data.encode(), f"case.{name}", kind, text.CASE_SAVE[name]) for name, data, kind in files
    ]
    return render("downloads.html.jinja", links=links)


def open_case(engine: Engine, session: Session, settings: Settings, data: bytes | None) -> Session:
    """Start over with a case file: its probe, changes, settings and decisions; the ranking is made anew."""
    opened = cases.read_json(data or b"", engine)
    if opened.top_k > most_matches(engine):
        raise CaseError(text.CASE_LONG.format(most=most_matches(engine), count=opened.top_k))
    scoring = opened.scoring
    terms = None
    if scoring.parts is not None:
        terms = tuple(name for name, on in zip(engine.term_names, scoring.parts, strict=True) if on)
    wanted = Settings(opened.top_k, scoring.weighing, opened.same_camera, terms)
    picture = Picture(opened.image, opened.title, opened.pid, opened.camid, opened.source)
    now = with_recipe(engine, start(engine, session, wanted, picture), wanted, opened.recipe)
    count, decided = len(now.matches), opened.decisions
    listed, beyond = opened.paths[:count], opened.paths[count:]
    if tuple(m.record.path for m in now.matches) != listed or not decided.keys() >= {*beyond}:
        raise CaseError(text.CASE_DIFFERS)
    rows = {match.record.path: match.index for match in now.matches}
    if beyond:  # only then the whole gallery is looked through
        rows |= {record.path: row for row, record in enumerate(engine.gallery.records) if record.path in decided}
    return replace(now, decisions={rows[path]: decided[path] for path in decided if path in rows})
