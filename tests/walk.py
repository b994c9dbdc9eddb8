"""Trace one probe to its explained result and list our files on its path: `python tests/walk.py`.

It does what a click on an example does (describe, search, draw the list, explain the first match) and records every
function called. Not counted: `reid_demo/model` (the network), the data types (`records`, `errors`, `config`) and
templates.
"""

import sys
from pathlib import Path
from types import FrameType

PROJECT = Path(__file__).resolve().parents[1]
NOUNS = {"reid_demo/records.py", "reid_demo/errors.py", "reid_demo/config.py"}


def files_passed(engine) -> list[str]:
    """Return, sorted, the package's modules that run between a click on an example and its explained result."""
    from reid_demo.serving.page.handlers import probe, ranking, session, why

    settings = session.default_settings(engine)
    why.why(engine, probe.open_example(engine, session.Session(), settings, 0))  # warm-up: leave out one-time work
    passed: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            passed.add(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        now = probe.open_example(engine, session.Session(), settings, 1)
        ranking.strip(engine, now)
        ranking.status(engine, now)
        why.why(engine, now)
    finally:
        sys.setprofile(before)
    ours = (
        Path(name).relative_to(PROJECT).as_posix() for name in passed if name.startswith(str(PROJECT / "reid_demo"))
    )
    return sorted(
        name for name in ours if name.endswith(".py") and not name.startswith("reid_demo/model/") and name not in NOUNS
    )


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    from reid_demo.engine import Engine

    found = files_passed(Engine.load())
    print("\n".join(found))
    print(f"{len(found)} files")
