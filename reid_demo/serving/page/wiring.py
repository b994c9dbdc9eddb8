"""From clicks to handlers: one queue for the network, errors as warnings, and what is drawn after every search."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError, ReidError
from reid_demo.model import turns
from reid_demo.serving import api
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe as probes
from reid_demo.serving.page.handlers import ranking
from reid_demo.serving.page.handlers.session import Session, Settings, check_list, most_matches
from reid_demo.serving.visitors import PrivateGalleries

QUEUE = {**api.QUEUE, "api_visibility": "private"}  # all that asks the network
LONG = {**api.LONG, "api_visibility": "private"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detail:
    """A component that is drawn anew after every search."""

    component: gr.components.Component
    show: Callable[[Engine, Session], object]  # its new value; the engine is over the gallery that the visit searches
    on_choice: bool = True  # drawn after the choice of a match as well
    late: bool = False  # drawn in a step of its own after all others, as it asks the network for long


@dataclass(frozen=True)
class Places:
    """The components that every search reads or draws."""

    session: gr.State
    stage: Detail  # at the top of the page, drawn before all else
    settings: tuple[gr.components.Component, ...]  # inputs of `read_settings`, in its order
    line: gr.HTML
    status: gr.HTML
    strip: gr.Gallery
    link: gr.Textbox  # the browser puts its own address before the link
    details: tuple[Detail, ...]


@dataclass(frozen=True)
class Wiring:
    """What every panel of a page needs to react to clicks."""

    engine: Engine
    galleries: PrivateGalleries
    places: Places

    @property
    def session(self) -> gr.State:
        """The state of a visit."""
        return self.places.session

    @property
    def everything(self) -> list:
        """Outputs that a new ranking draws."""
        return [*self.choice, self.places.line, self.places.status, self.places.strip]

    @property
    def choice(self) -> list:
        """Outputs that the choice of a match draws."""
        return [self.places.session, self.places.stage.component]

    def engine_of(self, now: Session) -> Engine:
        """Return the engine over the gallery that a visit searches: the page's, or the visitor's own."""
        return self.galleries.engine_of(now.own)

    def engine_of_list(self, now: Session) -> Engine:
        """Return that engine for who reads the visit's ranked list, which may be older than the gallery.

        Raises:
            GalleryError: it is.
        """
        engine = self.engine_of(now)
        check_list(engine, now)
        return engine

    def show_strip(self, now: Session) -> dict:
        """Draw the ranked list."""
        return gr.update(value=ranking.strip(self.engine_of_list(now), now), selected_index=None)

    def show_everything(self, now: Session) -> list:
        """Draw what a new ranking changes; one value for each of `everything`."""
        engine = self.engine_of(now)
        return [*self.show_choice(now), probes.probe_line(now), ranking.status(engine, now), self.show_strip(now)]

    def show_choice(self, now: Session) -> list:
        """Draw what the choice of a match changes; one value for each of `choice`."""
        return [now, self.places.stage.show(self.engine_of(now), now)]

    def show_settings(self, now: Session) -> list:
        """Draw the settings as a visit has them."""
        wanted = now.settings
        terms = list(self.engine.term_names) if wanted.terms is None else list(wanted.terms)
        top_k = gr.Slider(value=wanted.top_k, **top_k_range(self.engine_of(now)))
        return [top_k, wanted.weighing, wanted.same_camera, terms, wanted.keep_recipe]

    def search(self, listen: Callable, verb: Callable, inputs: Sequence = (), **how) -> None:
        """Wire a click that ranks anew and draws everything: `verb(engine, session, settings, *inputs) -> Session`.

        Args:
            listen: of a component, such as `button.click`.
            verb: what the click does.
            inputs: components whose values the verb takes.
            how: more arguments of `listen`.
        """
        self.follow(self._listen(listen, verb, inputs, self.show_everything, self.everything, **how))

    def search_with_settings(self, listen: Callable, verb: Callable, inputs: Sequence) -> None:
        """Wire a click as `search` does, whose verb chooses settings as well."""
        outputs = [*self.everything, *self.places.settings]
        self.follow(self._listen(listen, verb, inputs, self.show_everything_and_settings, outputs))

    def show_everything_and_settings(self, now: Session) -> list:
        """Draw what a new probe with settings of its own changes."""
        return [*self.show_everything(now), *self.show_settings(now)]

    def _listen(self, listen: Callable, verb: Callable, inputs: Sequence, show: Callable, outputs: list, **how):
        count = len(inputs)

        def act(now: Session, *values) -> Session:
            return verb(self.engine_of(now), now, read_settings(*values[count:]), *values[:count])

        return listen(
            guard(act, show, len(outputs)),
            [self.session, *inputs, *self.places.settings],
            outputs,
            show_progress_on=[self.places.strip],
            **QUEUE,
            **how,
        )

    def follow(self, step, *, choice: bool = False) -> None:
        """Draw all details once a step has ended well."""
        wanted = [detail for detail in self.places.details if detail.on_choice or not choice]
        drawn = self._draw(step, [detail for detail in wanted if not detail.late])
        link = self.places.link
        drawn.then(None, link, link, js="(query) => window.fullLink(query)", api_visibility="private")
        self._draw(drawn, [detail for detail in wanted if detail.late])

    def _draw(self, step, details: Sequence[Detail]):
        def show(now: Session) -> list:
            engine = self.engine_of_list(now)
            return [detail.show(engine, now) for detail in details]

        return step.success(
            guard(lambda now: now, show, len(details)),
            [self.session],
            [detail.component for detail in details],
            show_progress="hidden",
            **QUEUE,
        )


def top_k_range(engine: Engine) -> dict[str, int | bool]:
    """Return how far the slider of matches goes over a gallery; Gradio knows no slider of a single place."""
    most = most_matches(engine)
    return {"maximum": max(2, most), "interactive": most > 1}


def read_settings(top_k: float, weighing: str, same_camera: bool, terms: list[str], keep: bool) -> Settings:
    """Turn the raw values of the settings into their record."""
    return Settings(int(top_k), weighing, bool(same_camera), tuple(terms), bool(keep))


def guard(action: Callable, show: Callable, outputs: int) -> Callable:
    """Run an action; a `ReidError` becomes a warning, and nothing on the page changes."""

    def run(*inputs):
        try:
            with turns.telling(_tell_of_wait):
                shown = show(action(*inputs))
            return shown[0] if outputs == 1 and isinstance(shown, list) else shown
        except ReidError as error:
            gr.Warning(str(error))
        except Exception:
            _log.exception("A click failed")
            gr.Warning(text.BUSY_FAILURE)
        return gr.skip() if outputs == 1 else [gr.skip()] * outputs

    return run


def place_of(event: gr.SelectData) -> int:
    """Return the place in a list, from 0, that a click is about.

    Raises:
        GalleryError: it names none.
    """
    if type(event.index) is not int:
        raise GalleryError(text.NO_PLACE)
    return event.index


def point_of(event: gr.SelectData) -> tuple[float, float]:
    """Return the place in a picture, px from its left and top, that a click is about.

    Raises:
        ImageError: it names none.
    """
    match event.index:
        case [int() | float() as x, int() | float() as y] if math.isfinite(x) and math.isfinite(y):
            return x, y
    raise ImageError(text.NO_PLACE)


def _tell_of_wait(first: int) -> None:
    gr.Info(text.WAITING.format(count=first), duration=3)


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
