"""Read JSON files through typed models, so that a damaged file is refused by the name of the field that is wrong.

A model is a dataclass or a pydantic model; its annotations are the file's format. Knows no format of its own.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from reid_demo.errors import ReidError

T = TypeVar("T")


def read_json(model: type[T], path: Path, error: type[ReidError], mend: str) -> T:
    """Read a JSON file as `model`. Values are taken strictly: text does not stand for a number.

    Args:
        model: what the file holds.
        path: the file.
        error: class of the error to raise.
        mend: a sentence that tells the reader of the error what to do.

    Raises:
        error: the file is missing or unreadable, is no JSON, or a field is missing or of the wrong type.
    """
    return parse_json(model, _bytes(path, error, mend), _name(path), error, mend)


def read_json_lines(model: type[T], path: Path, error: type[ReidError], mend: str) -> Iterator[T]:
    """Read a file of one JSON value a line; blank lines are skipped. Otherwise as `read_json`.

    Raises:
        error: as in `read_json`; the message names the line, from 1.
    """
    for number, line in enumerate(_bytes(path, error, mend).splitlines(), start=1):
        if line.strip():
            yield parse_json(model, line, f"Line {number} of {_name(path)}", error, mend)


def parse_json(model: type[T], text: str | bytes, name: str, error: type[ReidError], mend: str) -> T:
    """Read JSON text as `model`; `name` says in an error where the text came from. Otherwise as `read_json`."""
    try:
        return _adapter(model).validate_json(text, strict=True)
    except ValidationError as wrong:
        raise error(f"{name} cannot be read ({wrong_field(wrong)}). {mend}") from wrong


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all; a link, such as one of the Hub's cache, is replaced by the file."""
    temporary = path.with_name(path.name + ".tmp")  # which no upload takes
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def wrong_field(error: ValidationError) -> str:
    """Return `FIELD: what is wrong with it` for the first field that pydantic refused."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(step) for step in first["loc"])
    return f"{field}: {first['msg']}" if field else first["msg"]


@cache
def _adapter(model: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(model)


def _bytes(path: Path, error: type[ReidError], mend: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failed:
        raise error(f"{_name(path)} cannot be read ({failed.strerror or failed}). {mend}") from failed


def _name(path: Path) -> str:
    return f"{path.name} in {path.parent.name!r}"
