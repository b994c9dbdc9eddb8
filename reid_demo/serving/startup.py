"""Make the page start sooner."""

import contextlib
import inspect
from collections.abc import Iterator


@contextlib.contextmanager
def without_type_stubs() -> Iterator[None]:
    """Import Gradio inside this: it then leaves its own `.pyi` files as they are.

    At every import Gradio parses the source of each component again to refresh these files for editors, which takes
    half of its import. It skips a component whose file cannot be found (`OSError`): that is what it is told here.
    """
    real = inspect.getfile

    def getfile(thing: object) -> str:
        if getattr(thing, "__module__", "").startswith("gradio."):
            raise OSError("type stubs are not wanted")
        return real(thing)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = real
