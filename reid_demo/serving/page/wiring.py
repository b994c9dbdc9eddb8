"""From clicks to handlers: one queue for the network, errors as warnings, and what is drawn after every search."""

import logging
from collections.abc import Callable, Sequence

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Session, Settings
from reid_demo.serving.visitors import PrivateGalleries

QUEUE = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}  # all that asks the network
_log = logging.getLogger(__name__)


class Wiring:
    """What every panel of a page needs to react to clicks."""

    def __init__(self, engine: Engine, session: gr.State, galleries: PrivateGalleries) -> None:
        """Start with no panels; `view` sets `settings`, `ranking`, `everything` and their `show_` functions."""
        self.engine = engine
        self.session = session
        self.galleries = galleries
        self.settings: list = []  # inputs that make a `Settings`
        self.ranking: list = []  # outputs that a new ranking draws
        self.everything: list = []  # outputs that a new probe or change draws
        self.show_ranking: Callable[[Session], list] = lambda now: []
        self.show_everything: Callable[[Session], list] = lambda now: []
        self.show_settings: Callable[[Session], list] = lambda now: []
        self.link = None  # the field that shows a link; the browser puts its own address before it
        self._details: list[tuple] = []
        self._late: list[tuple] = []
        self.busy: list = []  # components that carry the progress of a search

    def engine_of(self, now: Session) -> Engine:
        """Give the engine over the gallery that a visit searches: the page's, or the visitor's own."""
        return self.galleries.engine_of(now.own)

    def detail(
        self, component, show: Callable[[Session], object], *, on_choice: bool = True, late: bool = False
    ) -> None:
        """Draw a component anew after every search, and after the choice of a match unless told otherwise.

        What asks the network for long is drawn late, in a step of its own after all others.
        """
        (self._late if late else self._details).append((component, show, on_choice))

    def search(
        self,
        listen: Callable,
        verb: Callable,
        inputs: Sequence = (),
        *,
        everything: bool = True,
        settings_too: bool = False,
    ) -> None:
        """Wire a click that ranks anew: `verb(engine, session, settings, *inputs) -> Session`.

        Args:
            listen: of a component, such as `button.click`.
            verb: what the click does.
            inputs: components whose values the verb takes.
            everything: draw the canvas too, not the list alone.
            settings_too: the verb chooses settings, which are drawn as well.
        """
        count = len(inputs)

        def act(now: Session, *values) -> Session:
            return verb(self.engine_of(now), now, read_settings(*values[count:]), *values[:count])

        outputs, show = (self.everything, self.show_everything) if everything else (self.ranking, self.show_ranking)
        if settings_too:
            outputs, show = [*outputs, *self.settings], _both(show, self.show_settings)
        step = listen(
            guard(act, show, len(outputs)),
            [self.session, *inputs, *self.settings],
            outputs,
            show_progress_on=self.busy,
            **QUEUE,
        )
        self.follow(step, everything=everything)

    def follow(self, step, *, everything: bool = False, choice: bool = False) -> None:
        """Draw all details once a step has ended well; fit the canvas where it was drawn."""
        if everything:
            step.then(None, js="() => window.fitProbe()", api_visibility="private")
        drawn = self._draw(step, self._details, choice)
        if self.link is not None:
            drawn.then(None, self.link, self.link, js="(query) => window.fullLink(query)", api_visibility="private")
        if self._late:
            self._draw(drawn, self._late, choice)

    def _draw(self, step, details: list[tuple], choice: bool):
        wanted = [(component, draw) for component, draw, on_choice in details if on_choice or not choice]

        def show(now: Session) -> list:
            return [draw(now) for _, draw in wanted]

        return step.success(
            guard(lambda now: now, show, len(wanted)),
            [self.session],
            [component for component, _ in wanted],
            show_progress="hidden",
            **QUEUE,
        )


def _both(first: Callable[[Session], list], second: Callable[[Session], list]) -> Callable[[Session], list]:
    return lambda now: [*first(now), *second(now)]


def read_settings(top_k: float, weighing: str, same_camera: bool, terms: list[str], keep: bool) -> Settings:
    """Turn the raw values of the settings into their record."""
    return Settings(int(top_k), weighing, bool(same_camera), tuple(terms), bool(keep))


def guard(action: Callable, show: Callable, outputs: int) -> Callable:
    """Run an action; a `ReidError` becomes a warning, and nothing on the page changes."""

    def run(*inputs):
        try:
            shown = show(action(*inputs))
            return shown[0] if outputs == 1 and isinstance(shown, list) else shown
        except ReidError as error:
            gr.Warning(str(error))
        except Exception:
            _log.exception("A click failed")
            gr.Warning(text.BUSY_FAILURE)
        return gr.skip() if outputs == 1 else [gr.skip()] * outputs

    return run


def guard_steps(steps: Callable) -> Callable:
    """Run a generator of shown steps; a `ReidError` becomes a warning, and what was shown stays."""

    def run(*inputs):
        try:
            yield from steps(*inputs)
        except ReidError as error:
            gr.Warning(str(error))
            yield gr.skip()
        except Exception:
            _log.exception("A run failed")
            gr.Warning(text.BUSY_FAILURE)
            yield gr.skip()

    return run
