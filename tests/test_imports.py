"""Imports point one way: from each module only to rows above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "reid_demo"

ROWS = [
    {"errors", "records", "config", "zerogpu"},
    {"images", "matching", "metrics", "rerank", "occlude", "render", "charts", "vectors", "milvus", "synthetic.truth"},
    {"views"},
    {"model", "data", "synthetic", "finder"},
    {"hub", "losses", "checkpoint", "describe", "gallery", "explain", "distill"},
    {"indexing", "evaluate", "calibrate", "anatomy", "parallel"},
    {"train", "shipped"},
    {"engine", "probes", "space"},
    {"bench", "ablate", "attention_sheet", "bench_large", "report", "whatif", "case", "answers", "private"},
    {"ui"},
    {"bench_page", "reproduce"},
    {"commands"},
    {"__main__"},
]
PAGE = {"ui.view", "ui.wiring", "ui.theme", "ui.api", "ui.cache"} | {
    f"ui.panels.{path.stem}" for path in (PACKAGE / "ui" / "panels").glob("*.py")
}
ONLY_IN = {
    "gradio": PAGE,
    "faiss": {"vectors"},
    "pymilvus": {"milvus"},
    "huggingface_hub": {"hub", "space"},
    "spaces": {"zerogpu"},
    "argparse": {"__main__"} | {f"commands.{path.stem}" for path in (PACKAGE / "commands").glob("*.py")},
}


def module_name(path: Path) -> str:
    """Give a module's dotted name inside the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def row_of(name: str) -> int:
    """Give the row of a module; one that is in no row is an error."""
    return next(i for i, row in enumerate(ROWS) if any(name == m or name.startswith(m + ".") for m in row))


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
                yield node.module


def faults(name: str, source: str) -> list[str]:
    """List the imports of a module that break the table."""
    found = []
    for target in imported(source):
        root, _, rest = target.partition(".")
        if root == "relative import":
            found.append(target)
        elif root == "reid_demo":
            same_folder = "." in name and rest.split(".")[0] == name.split(".")[0]
            if rest != "__version__" and not same_folder and not (row_of(rest) < row_of(name) or row_of(rest) == 0):
                found.append(target)
        elif name not in ONLY_IN.get(root, {name}):
            found.append(target)
    return found


@pytest.mark.parametrize("path", [p for p in sorted(PACKAGE.rglob("*.py")) if p.name != "__init__.py"], ids=module_name)
def test_imports_point_up_the_table(path):
    assert faults(module_name(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("matching", "from reid_demo.engine import Engine"),
        ("describe", "from reid_demo import gallery"),
        ("engine", "import gradio"),
        ("ui.handlers.why", "import gradio"),
        ("whatif", "from reid_demo.ui import text"),
        ("model.dpti", "from .parts import PartAttention"),
    ],
    ids=["upward", "sideways", "toolkit", "toolkit in a handler", "page from below", "relative"],
)
def test_a_wrong_import_is_caught(name, source):
    assert faults(name, source)
