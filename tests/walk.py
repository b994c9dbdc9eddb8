"""Follow one probe to its explained result, and list our files that it passes on its way: `python tests/walk.py`.

What a click on an example does is done once with every function noted: describe it, search, draw the list, explain the
first match. Not counted: `reid_demo/model` (the network), the nouns (`records`, `errors`, `config`) and templates.
"""

import sys
from pathlib import Path
from types import FrameType

PROJECT = Path(__file__).resolve().parents[1]
NOUNS = {"reid_demo/records.py", "reid_demo/errors.py", "reid_demo/config.py"}


def files_passed(engine) -> list[str]:
    """Return the package's modules that ran code between the click on an example and its explained result, sorted."""
    from reid_demo.serving.page.handlers import probe, ranking, session, why

    settings = session.default_settings(engine)
    why.why(engine, probe.open_example(engine, session.Session(), settings, 0))  # what is built once is built
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
