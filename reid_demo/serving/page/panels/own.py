"""The visitor's own pictures: a private gallery of them, and a person cut out of a whole frame."""

import gradio as gr

from reid_demo.images import MAX_BYTES
from reid_demo.search import detector as finders
from reid_demo.serving.page import text_own as text
from reid_demo.serving.page.handlers import own
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.panels.browse import BROWSE_TAB
from reid_demo.serving.page.wiring import QUEUE, Wiring, guard, read_settings
from reid_demo.serving.visitors import MAX_IMAGES, MAX_TOTAL, MAX_UPLOAD

# Making a gallery takes a while: it has a queue of its own, so that others search meanwhile.
BUILD = {"concurrency_id": "own", "concurrency_limit": 1, "api_visibility": "private"}


def build_own(wiring: Wiring) -> dict:
    """Lay out the private gallery and the frame; the rest is wired by `wire_own`."""
    parts: dict = {}
    limits = {"count": MAX_IMAGES, "total": MAX_TOTAL >> 20, "file": MAX_BYTES >> 20, "zip": MAX_UPLOAD >> 20}
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            gr.Markdown(f"### {text.OWN_HEADING}\n\n{text.OWN_INTRO.format(**limits)} **{text.OWN_CONSENT}**")
            parts["files"] = gr.File(
                label=text.OWN_FILES,
                file_count="multiple",
                file_types=["image", ".zip"],
                type="filepath",
                height=140,
                elem_id="own-files",
            )
            parts["frames"] = gr.Checkbox(False, label=text.OWN_FRAMES, info=finders.CAVEAT, elem_id="own-frames")
            parts["make"] = gr.Button(text.OWN_MAKE, variant="primary", size="sm", elem_id="own-make")
            parts["told"] = gr.HTML(elem_id="own-report")
            with gr.Row(elem_classes="tight"):
                parts["look"] = gr.Button(text.OWN_LOOK, size="sm", elem_id="own-look", min_width=130, visible=False)
                parts["save"] = gr.Button(text.OWN_SAVE, size="sm", elem_id="own-save", min_width=130, visible=False)
                parts["leave"] = gr.Button(
                    text.OWN_DELETE, size="sm", elem_id="own-leave", min_width=130, visible=False
                )
            parts["fetch"] = gr.DownloadButton(text.OWN_FETCH, size="sm", elem_id="own-fetch", visible=False)
        with gr.Column(min_width=300):
            gr.Markdown(f"### {text.FRAME_HEADING}\n\n{text.FRAME_INTRO} **{finders.CAVEAT}**")
            parts["frame"] = gr.State(own.Frame())
            with gr.Row(elem_classes="tight"):
                parts["open"] = gr.UploadButton(
                    text.FRAME_UPLOAD,
                    file_types=["image"],
                    type="filepath",
                    size="sm",
                    elem_id="frame-open",
                    min_width=120,
                )
                parts["find"] = gr.Button(text.FRAME_FIND, size="sm", elem_id="frame-find", min_width=120)
            parts["line"] = gr.HTML(elem_id="frame-line")
            parts["hint"] = gr.Markdown(text.FRAME_PICTURE, elem_classes="intro", visible=False)
            parts["picture"] = gr.Image(
                label=text.FRAME_PICTURE,
                show_label=False,
                interactive=False,
                type="numpy",
                format="jpeg",
                buttons=[],
                visible=False,
                elem_id="frame",
            )
            parts["found"] = gr.Markdown(text.FRAME_FOUND, elem_classes="intro", visible=False)
            parts["people"] = gr.Gallery(
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
                parts["box"] = [
                    gr.Number(label=name, precision=0, minimum=0, min_width=60, elem_id=f"frame-{name}")
                    for name in text.FRAME_FIELDS
                ]
            parts["search"] = gr.Button(text.FRAME_SEARCH, size="sm", elem_id="frame-search")
    return parts


def wire_own(demo: gr.Blocks, parts: dict, tabs: gr.Tabs, wiring: Wiring) -> None:
    """Connect the private gallery and the frame, and delete a gallery when its visit ends."""
    _wire_gallery(demo, parts, tabs, wiring)
    _wire_frame(parts, wiring)


def _wire_gallery(demo: gr.Blocks, parts: dict, tabs: gr.Tabs, wiring: Wiring) -> None:
    galleries = wiring.galleries
    controls = [parts[name] for name in ("look", "save", "leave", "fetch")]

    def show_controls(now: Session) -> list:
        mine = gr.Button(visible=bool(now.own))
        return [mine, mine, mine, gr.DownloadButton(value=None, visible=False)]

    def make(now: Session, files, frames, *rest) -> list:
        # Gradio fills in the request and the bar; they stand last.
        *settings, request, bar = rest

        def action():
            def progress(done: int, total: int) -> None:
                bar((done, total), desc=text.OWN_PROGRESS, unit="")

            return own.make(
                galleries, now, read_settings(*settings), request.session_hash or "", files, frames, progress
            )

        def show(made) -> list:
            session, report = made
            return [*wiring.show_everything(session), None, own.told(report), *show_controls(session)]

        return guard(action, show, len(outputs))()

    outputs = [*wiring.everything, parts["files"], parts["told"], *controls]

    def make_with(now: Session, files, frames, k, w, c, t, keep, request: gr.Request, bar=gr.Progress()) -> list:
        return make(now, files, frames, k, w, c, t, keep, request, bar)

    inputs = [wiring.session, parts["files"], parts["frames"], *wiring.settings]
    step = parts["make"].click(make_with, inputs, outputs, show_progress_on=[parts["told"]], **BUILD)
    wiring.follow(step, everything=True)

    def leave(now: Session, *settings) -> list:
        def show(after: Session) -> list:
            return [*wiring.show_everything(after), None, f"<p>{text.OWN_DELETED}</p>", *show_controls(after)]

        return guard(lambda: own.leave(galleries, now, read_settings(*settings)), show, len(outputs))()

    step = parts["leave"].click(leave, [wiring.session, *wiring.settings], outputs, **QUEUE)
    wiring.follow(step, everything=True)

    parts["look"].click(
        lambda: gr.Tabs(selected=BROWSE_TAB), None, tabs, queue=False, show_progress="hidden", api_visibility="private"
    )

    def save(now: Session):
        def show(path) -> list:
            return [gr.DownloadButton(value=str(path), visible=True), f"<p>{text.OWN_SAVED}</p>"]

        return guard(lambda: own.save(galleries, now), show, 2)()

    parts["save"].click(save, [wiring.session], [parts["fetch"], parts["told"]], **BUILD)

    def end(request: gr.Request) -> None:
        galleries.part(request.session_hash or "")

    demo.unload(end)


def _wire_frame(parts: dict, wiring: Wiring) -> None:
    finder = None if not hasattr(finders.cv2, "HOGDescriptor") else finders.HogFinder()
    drawn = [parts[name] for name in ("frame", "line", "picture", "hint", "found", "people")] + parts["box"]

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
    parts["open"].upload(guard(own.open_frame, show, count), [parts["open"]], drawn, **QUEUE)
    parts["find"].click(guard(find, show, count), [parts["frame"]], drawn, show_progress_on=[parts["picture"]], **QUEUE)

    def corner(frame: own.Frame, event: gr.SelectData) -> list:
        return guard(lambda: own.click(frame, *event.index), show, count)()

    parts["picture"].select(corner, [parts["frame"]], drawn, show_progress="hidden", **QUEUE)

    def person(frame: own.Frame, event: gr.SelectData) -> list:
        return guard(lambda: own.choose(frame, event.index), lambda chosen: show(chosen)[0:3] + own.fields(chosen), 7)()

    chosen = parts["people"].select(
        person, [parts["frame"]], [parts["frame"], parts["line"], parts["picture"], *parts["box"]], **QUEUE
    )
    wiring.search(chosen.success, own.search_box, [parts["frame"], *parts["box"]])
    wiring.search(parts["search"].click, own.search_box, [parts["frame"], *parts["box"]])
