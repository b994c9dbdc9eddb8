"""Markup comes only from templates: no Python module contains any, and values are escaped."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

import reid_demo
from reid_demo.drawing.figures import TEMPLATES, Templates

PACKAGE = Path(reid_demo.__file__).parent
MARKUP = re.compile(r"</|<(div|span|p|img|svg|table|section|figure|a)[ >]|html\.escape|import html\b")
MODULES = sorted({*PACKAGE.glob("serving/**/*.py"), *PACKAGE.glob("drawing/**/*.py")})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_writes_markup(path):
    assert MARKUP.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source", ["f'<p>{name}</p>'", "'<div class=x>'", "html.escape(name)", "'<img src=\"x\">'"])
def test_markup_in_a_module_is_found(source):
    assert MARKUP.search(source)


@pytest.mark.parametrize(
    "folder", [PACKAGE / "drawing", PACKAGE / "serving", PACKAGE / "serving" / "page"], ids=lambda path: path.name
)
def test_every_template_is_shipped(folder):
    home = PACKAGE / folder
    patterns = re.findall(r'"(templates/[^"]+)"', (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    files = list((home / "templates").iterdir())
    assert files and all(any(path.match(pattern) for pattern in patterns) for path in files)


def test_what_is_filled_in_is_escaped_once():
    filled = Templates().render("download.html.jinja", uri='"><script>', file_name="a&b", words=Markup("<b>bold</b>"))
    assert "<script>" not in filled and "a&amp;b" in filled and "<b>bold</b>" in filled


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError):
        Templates(TEMPLATES).render("download.html.jinja", uri="x")
