"""Markup by Jinja2 templates, which escape every value: no Python module writes a tag of its own."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent / "templates"


class Templates:
    """The templates of one or more folders; a name that a template lacks is an error, not an empty string."""

    def __init__(self, *folders: Path, **shared: Any) -> None:
        """Look templates up in these folders and last in this package's own; all of them may use what is `shared`."""
        self._environment = Environment(
            loader=FileSystemLoader([*folders, FOLDER]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(shared)

    def render(self, name: str, **values: Any) -> Markup:
        """Fill in a template; `Markup` among the values is inserted as it is, all else is escaped."""
        return Markup(self._environment.get_template(name).render(**values))
