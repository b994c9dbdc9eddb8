"""The visitor's own pictures: a private gallery of them, and a person cut out of a whole frame."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.errors import GalleryError
from reid_demo.images import MAX_BYTES
from reid_demo.search import detector as finders
from reid_demo.search.build import IndexReport
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import own
from reid_demo.serving.page.handlers.probe import PixelBox
from reid_demo.serving.page.handlers.session import Session, Settings
from reid_demo.serving.page.handlers.visits import Visits
from reid_demo.serving.page.panels.browse import BROWSE_TAB
from reid_demo.serving.page.wiring import QUEUE, Wiring, guard, place_of, point_of, read_settings
from reid_demo.serving.visitors import MAX_IMAGES, MAX_TOTAL, MAX_UPLOAD

OWN_TAB = "own"  # its name among the tabs
# Making a gallery takes a while: it has a queue of its own, so that others search meanwhile.
BUILD = {"concurrency_id": "own", "concurrency_limit": 1, "api_visibility": "private"}


@dataclass(frozen=True)
class OwnPanel:
    """The private gallery: what makes it, and what can be done with it."""

    files: gr.File
    frames: gr.Checkbox
    make: gr.Button
    told: gr.HTML
    look: gr.Button
    measure: gr.Button
    save: gr.Button
    leave: gr.Button
    fetch: gr.DownloadButton


@dataclass(frozen=True)
class FramePanel:
    """A whole frame, the people found in it, and a box."""

    frame: gr.State
    open_frame: gr.UploadButton
    find: gr.Button
    line: gr.HTML
    hint: gr.Markdown
    picture: gr.Image
    found: gr.Markdown
    people: gr.Gallery
    box: list[gr.Number]
    search: gr.Button


def build_own() -> tuple[OwnPanel, FramePanel]:
    """Lay out the private gallery and the frame."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            mine = _build_gallery()
        with gr.Column(min_width=300):
            frame = _build_frame()
    return mine, frame


def _build_gallery() -> OwnPanel:
    limits = {"count": MAX_IMAGES, "total": MAX_TOTAL >> 20, "file": MAX_BYTES >> 20, "zip": MAX_UPLOAD >> 20}
    gr.Markdown(f"### {text.OWN_HEADING}\n\n{text.OWN_INTRO.format(**limits)} **{text.OWN_CONSENT}**")
    files = gr.File(
        label=text.OWN_FILES,
        file_count="multiple",
        file_types=["image", ".zip"],
        type="filepath",
        height=140,
        elem_id="own-files",
    )
    frames = gr.Checkbox(False, label=text.OWN_FRAMES, info=finders.CAVEAT, elem_id="own-frames")
    make = gr.Button(text.OWN_MAKE, variant="primary", size="sm", elem_id="own-make")
    told = gr.HTML(elem_id="own-report")
    with gr.Row(elem_classes="tight"):
        look = gr.Button(text.OWN_LOOK, size="sm", elem_id="own-look", min_width=130, visible=False)
        measure = gr.Button(text.OWN_MEASURE, size="sm", elem_id="own-measure", min_width=130, visible=False)
        save = gr.Button(text.OWN_SAVE, size="sm", elem_id="own-save", min_width=130, visible=False)
        leave = gr.Button(text.OWN_DELETE, size="sm", elem_id="own-leave", min_width=130, visible=False)
    fetch = gr.DownloadButton(text.OWN_FETCH, size="sm", elem_id="own-fetch", visible=False)
    return OwnPanel(files, frames, make, told, look, measure, save, leave, fetch)


def _build_frame() -> FramePanel:
    gr.Markdown(f"### {text.FRAME_HEADING}\n\n{text.FRAME_INTRO} **{finders.CAVEAT}**")
    frame = gr.State(own.Frame())
    with gr.Row(elem_classes="tight"):
        open_frame = gr.UploadButton(
            text.FRAME_UPLOAD,
            file_types=["image"],
            type="filepath",
            size="sm",
            elem_id="frame-open",
            min_width=120,
        )
        find = gr.Button(text.FRAME_FIND, size="sm", elem_id="frame-find", min_width=120)
    line = gr.HTML(elem_id="frame-line")
    hint = gr.Markdown(text.FRAME_PICTURE, elem_classes="intro", visible=False)
    picture = gr.Image(
        label=text.FRAME_PICTURE,
        show_label=False,
        interactive=False,
        type="numpy",
        format="jpeg",
        buttons=[],
        visible=False,
        elem_id="frame",
    )
    found = gr.Markdown(text.FRAME_FOUND, elem_classes="intro", visible=False)
    people = gr.Gallery(
        label=text.FRAME_FOUND,
        show_label=False,
        columns=6,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        buttons=[],
        visible=False,
        elem_id="frame-people",
    )
    with gr.Row(elem_classes="tight"):
        box = [
            gr.Number(label=name, precision=0, minimum=0, min_width=60, elem_id=f"frame-{name}")
            for name in text.FRAME_FIELDS
        ]
    search = gr.Button(text.FRAME_SEARCH, size="sm", elem_id="frame-search")
    return FramePanel(frame, open_frame, find, line, hint, picture, found, people, box, search)


def wire_own(demo: gr.Blocks, mine: OwnPanel, tabs: gr.Tabs, wiring: Wiring, visits: Visits) -> None:
    """Connect the private gallery, and delete it when its visit ends.

    Making and measuring take a while, in which the visitor goes on: each ends on the visit as `visits` has it then.
    """
    galleries = wiring.galleries
    controls = [mine.look, mine.measure, mine.save, mine.leave, mine.fetch]

    def show_controls(now: Session) -> list:
        kept = gr.Button(visible=bool(now.own))
        measure = gr.Button(visible=bool(now.own) and own.can_measure(galleries.engine_of(now.own)))
        return [kept, measure, kept, kept, gr.DownloadButton(value=None, visible=False)]

    def make(request: gr.Request, bar: gr.Progress = gr.Progress(), *values) -> list:
        now, files, frames, *settings = values
        upload = own.Upload(request.session_hash or "", files, frames)

        def action() -> tuple[Session, IndexReport]:
            def progress(done: int, total: int) -> None:
                bar((done, total), desc=text.OWN_PROGRESS, unit="")

            token, report = own.make(galleries, upload, progress)
            visit, asked = _as_it_is(visits, now), read_settings(*settings)
            # What is set ranks anew, so the visit knows it; but to keep the changes ranks nothing.
            wanted = replace(visit.settings, keep_recipe=asked.keep_recipe) if visit.matches else asked
            return own.enter(galleries, visit, wanted, token), report

        def show(made) -> list:
            session, report = made
            return [
                *wiring.show_everything_and_settings(session),
                None,
                own.told(galleries.engine_of(session.own), report, first=bool(session.source)),
                *show_controls(session),
            ]

        drawn = guard(action, show, len(outputs))()
        drawn[outputs.index(mine.files)] = None  # also where it was refused: no upload is kept
        return drawn

    outputs = [*wiring.everything, *wiring.places.settings, mine.files, mine.told, *controls]
    inputs = [wiring.session, mine.files, mine.frames, *wiring.places.settings]
    step = mine.make.click(make, inputs, outputs, show_progress_on=[mine.told], **BUILD)
    wiring.follow(step)

    mine.look.click(
        lambda: gr.Tabs(selected=BROWSE_TAB), None, tabs, queue=False, show_progress="hidden", api_visibility="private"
    )
    _wire_leaving(mine, wiring, show_controls, outputs)
    _wire_saving(mine, wiring)
    _wire_measuring(mine, wiring, visits)

    def end(request: gr.Request) -> None:
        galleries.part(request.session_hash or "")

    demo.unload(end)


def _as_it_is(visits: Visits, begun: Session) -> Session:
    """Return a visit as it is at the end of a long step, of which it was `begun` at the beginning."""
    try:
        return visits.open(begun.token)
    except GalleryError:  # it never was, or is no longer, among them
        return begun


def _wire_leaving(mine: OwnPanel, wiring: Wiring, show_controls: Callable, outputs: list) -> None:
    def leave(now: Session, *settings) -> list:
        def show(after: Session) -> list:
            shown = wiring.show_everything_and_settings(after)
            return [*shown, None, own.told_plainly(text.OWN_DELETED), *show_controls(after)]

        return guard(lambda: own.leave(wiring.galleries, now, read_settings(*settings)), show, len(outputs))()

    wiring.follow(mine.leave.click(leave, [wiring.session, *wiring.places.settings], outputs, **QUEUE))


def _wire_saving(mine: OwnPanel, wiring: Wiring) -> None:
    def save(now: Session):
        def show(path) -> list:
            return [gr.DownloadButton(value=str(path), visible=True), own.told_plainly(text.OWN_SAVED)]

        return guard(lambda: own.save(wiring.galleries, now), show, 2)()

    mine.save.click(save, [wiring.session], [mine.fetch, mine.told], **BUILD)


def _wire_measuring(mine: OwnPanel, wiring: Wiring, visits: Visits) -> None:
    outputs = [*wiring.everything, mine.told]

    def measure(now: Session) -> list:
        def show(said: str) -> list:
            return [*wiring.show_everything(_as_it_is(visits, now)), said]

        return guard(lambda: own.measure(wiring.galleries, now), show, len(outputs))()

    wiring.follow(mine.measure.click(measure, [wiring.session], outputs, show_progress_on=[mine.told], **BUILD))


def wire_frame(panel: FramePanel, upload: gr.UploadButton, tabs: gr.Tabs, wiring: Wiring) -> None:
    """Connect the frame: look for people, choose one or a box, and search it; a wide upload opens it by itself."""
    finder = None if not hasattr(finders.cv2, "HOGDescriptor") else finders.HogFinder()
    drawn = [panel.frame, panel.line, panel.picture, panel.hint, panel.found, panel.people, *panel.box]

    def show(frame: own.Frame) -> list:
        people = own.cuts(frame)
        return [
            frame,
            own.frame_line(frame),
            gr.Image(value=own.draw(frame), visible=bool(frame.data)),
            gr.Markdown(visible=bool(frame.data)),
            gr.Markdown(visible=bool(people)),
            gr.Gallery(value=people, visible=bool(people), selected_index=None),
            *own.fields(frame),
        ]

    def find(frame: own.Frame) -> own.Frame:
        return own.find(frame, finder or finders.HogFinder())

    count = len(drawn)
    panel.open_frame.upload(guard(own.open_frame, show, count), [panel.open_frame], drawn, **QUEUE)
    panel.find.click(guard(find, show, count), [panel.frame], drawn, show_progress_on=[panel.picture], **QUEUE)

    def open_wide(path) -> list:
        if not own.is_wide(path):
            return [gr.skip()] * (count + 1)
        gr.Info(text.FRAME_WIDE)
        return [*show(find(own.open_frame(path))), gr.Tabs(selected=OWN_TAB)]

    opened = [*drawn, tabs]
    opening = guard(open_wide, lambda outputs: outputs, len(opened))
    only = "(picture) => window.ifAwaited(picture)"
    upload.upload(opening, [upload], opened, show_progress="hidden", js=only, trigger_mode="multiple", **QUEUE)

    def corner(frame: own.Frame, event: gr.SelectData) -> list:
        return guard(lambda: own.click(frame, *point_of(event)), show, count)()

    # A second corner that is clicked while the first is drawn counts as well.
    panel.picture.select(corner, [panel.frame], drawn, show_progress="hidden", trigger_mode="multiple", **QUEUE)

    def person(frame: own.Frame, event: gr.SelectData) -> list:
        def draw(chosen: own.Frame) -> list:
            return show(chosen)[0:3] + own.fields(chosen)

        return guard(lambda: own.choose(frame, place_of(event)), draw, 7)()

    outlined = [panel.frame, panel.line, panel.picture, *panel.box]
    chosen = panel.people.select(person, [panel.frame], outlined, trigger_mode="always_last", **QUEUE)

    def search(engine: Engine, now: Session, settings: Settings, frame: own.Frame, *box) -> Session:
        return own.search_box(engine, now, settings, frame, PixelBox(*box))

    wiring.search(chosen.success, search, [panel.frame, *panel.box])
    wiring.search(panel.search.click, search, [panel.frame, *panel.box])
