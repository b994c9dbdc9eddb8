"""HTML and SVG from Jinja2 templates, which escape every value; Python modules contain no markup."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent / "templates"


class Templates:
    """The templates of one or more folders; an undefined name in a template raises an error."""

    def __init__(self, *folders: Path, **shared: Any) -> None:
        """Look up templates in `folders`, then in this package's own; all templates can use the `shared` values."""
        self._environment = Environment(
            loader=FileSystemLoader([*folders, FOLDER]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(shared)

    def render(self, name: str, **values: Any) -> Markup:
        """Render a template; values of type `Markup` are inserted as they are, all others are escaped."""
        return Markup(self._environment.get_template(name).render(**values))
