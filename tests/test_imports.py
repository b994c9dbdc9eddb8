"""Imports go one way: each module imports only from the rows above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "reid_demo"

# Each module imports from rows above its own, and a folder's modules from one another.
ROWS = [
    {"errors", "records", "config"},
    {"images"},
    {"occlude", "drawing"},
    {"data"},
    {"model", "synthetic"},
    {"search"},
    {"whatif"},
    {"engine"},
    {"measuring"},
    {"training"},
    {"paper"},
    {"serving"},
    {"cli"},
    {"__main__"},
]
# Inside `serving`, and inside its page: words, then what a click does, then Gradio's components, then the whole page.
INNER_ROWS = {
    "serving": [
        {"space", "case", "incoming", "workplace", "current", "budget"},
        {"mcp_calls"},
        {"gradio_patches"},
        {"answers"},
        {"visitors", "api_calls"},
        {"border"},
        {"api"},
        {"page"},
        {"bench"},
    ],
    "serving.page": [{"text"}, {"markup"}, {"handlers"}, {"theme", "wiring"}, {"panels"}, {"view"}],
    "drawing": [{"overlays"}, {"figures"}, {"charts", "report"}],
}
ROOT_MODULES = 8
GRADIO = {"serving.api", "serving.gradio_patches", "serving.incoming"} | {
    f"serving.page.{name}" for name in ("view", "wiring", "theme", "panels")
}
ONLY_IN = {
    "gradio": GRADIO,
    "faiss": {"search.vectors"},
    "pymilvus": {"search.milvus"},
    "huggingface_hub": {"model.hub", "serving.space"},
    "spaces": {"model.zerogpu"},
    "argparse": {"__main__", "cli"},
}


def module_name(path: Path) -> str:
    """Return a module's dotted name inside the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def row_of(name: str, rows: list[set[str]] = ROWS) -> int:
    """Return the row of a module; fail if it is in none."""
    return next(i for i, row in enumerate(rows) if name.split(".")[0] in row)


def may_import(name: str, target: str) -> bool:
    """Return whether the table allows an import between two modules, named inside the package."""
    rows, folder = ROWS, ""
    while True:
        own, other = row_of(name, rows), row_of(target, rows)
        top = name.split(".")[0]
        if top != target.split(".")[0]:
            return other < own or own == other == 0 and not folder
        folder = f"{folder}.{top}".lstrip(".")
        rows = INNER_ROWS.get(folder)
        name, target = name.partition(".")[2], target.partition(".")[2]
        if rows is None or not name or not target:
            return True


def is_module(name: str) -> bool:
    """Return whether a dotted name is a module or a folder of this package."""
    place = PACKAGE.parent.joinpath(*name.split("."))
    return name.startswith("reid_demo.") and (place.is_dir() or place.with_suffix(".py").is_file())


def imported(source: str):
    """Yield every module that a source text imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "relative import"
            elif node.module == "reid_demo":
                yield from (f"reid_demo.{alias.name}" for alias in node.names)
            else:
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if is_module(name) else node.module for name in modules)


def faults(name: str, source: str) -> list[str]:
    """Return the imports of a module that break the table."""
    found = []
    for target in imported(source):
        root, _, rest = target.partition(".")
        if root == "relative import":
            found.append(target)
        elif root == "reid_demo":
            if rest != "__version__" and not may_import(name, rest):
                found.append(target)
        elif root in ONLY_IN and not any(name == home or name.startswith(home + ".") for home in ONLY_IN[root]):
            found.append(target)
    return found


@pytest.mark.parametrize("path", [p for p in sorted(PACKAGE.rglob("*.py")) if p.name != "__init__.py"], ids=module_name)
def test_imports_point_up_the_table(path):
    assert faults(module_name(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("search.similarity", "from reid_demo.engine import Engine"),
        ("model.describer", "from reid_demo.synthetic import people"),
        ("engine", "import gradio"),
        ("search.gallery", "import faiss"),
        ("serving.page.handlers.why", "import gradio"),
        ("serving.page.handlers.why", "from reid_demo.serving.page.panels import results"),
        ("serving.page.text", "from reid_demo.serving.page.handlers import why"),
        ("serving.page.markup", "from reid_demo.serving.page.handlers import why"),
        ("serving.page.wiring", "from reid_demo.serving.page import theme"),
        ("drawing.overlays", "from reid_demo.drawing import figures"),
        ("serving.answers", "from reid_demo.serving.page import text"),
        ("measuring.sets", "from reid_demo.serving.page import text"),
        ("model.dpti", "from .parts import PartAttention"),
    ],
    ids=[
        "upward",
        "sideways",
        "stray library",
        "stray library beside its home",
        "toolkit in a handler",
        "upward in the page",
        "words that know clicks",
        "templates that know clicks",
        "sideways in the page",
        "pictures that know HTML",
        "answers that know the page",
        "page from below",
        "relative",
    ],
)
def test_a_wrong_import_is_caught(name, source):
    assert faults(name, source)


def test_the_root_stays_small():
    assert len(list(PACKAGE.glob("*.py"))) <= ROOT_MODULES


def test_the_app_imports_no_command():
    source = (PACKAGE.parent / "app.py").read_text(encoding="utf-8")
    assert not [target for target in imported(source) if target.startswith("reid_demo.cli")]
