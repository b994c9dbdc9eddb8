"""Functions are short and take few parameters: what travels together is a record."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SOURCES = [PROJECT / "app.py", *sorted((PROJECT / "reid_demo").rglob("*.py"))]
MAX_LINES, MAX_PARAMETERS = 60, 6
ENDPOINTS = "reid_demo/serving/api.py"  # the fields of an API call are its function's parameters


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a source text, methods and inner ones too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def num_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's parameters without `self` or `cls`; `*args` and `**more` count as one each."""
    spec = function.args
    names = [argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    rest = (spec.vararg is not None) + (spec.kwarg is not None)
    return len(names) - (names[:1] in (["self"], ["cls"])) + rest


def too_large(source: str, endpoints: bool = False) -> list[str]:
    """Name the functions of a source text that are too long or take too many parameters."""
    found = []
    for function in functions(source):
        lines = function.end_lineno - function.lineno + 1
        if lines > MAX_LINES:
            found.append(f"{function.name} has {lines} lines")
        if num_parameters(function) > MAX_PARAMETERS and not endpoints:
            found.append(f"{function.name} has {num_parameters(function)} parameters")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_functions_are_short_and_take_few_parameters(path):
    endpoints = path.relative_to(PROJECT).as_posix() == ENDPOINTS
    assert too_large(path.read_text(encoding="utf-8"), endpoints) == []


@pytest.mark.parametrize(
    "source",
    [
        "def long():\n" + "    pass\n" * MAX_LINES,
        "def wide(a, b, c, d, e, f, g):\n    pass",
        "class A:\n    def wide(self, a, b, c, d, e, *args, **more):\n        pass",
    ],
    ids=["long", "wide", "wide with a rest"],
)
def test_a_large_function_is_caught(source):
    assert too_large(source)


def test_self_does_not_count():
    assert not too_large("class A:\n    def fits(self, a, b, c, d, e, f):\n        pass")
