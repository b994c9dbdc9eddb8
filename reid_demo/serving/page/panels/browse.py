"""The gallery that is searched, to look through and to search from: the shipped one or the visitor's own."""

import gradio as gr

from reid_demo.serving.page import text_browse as text
from reid_demo.serving.page.handlers import browse
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.wiring import Wiring, guard

BROWSE_TAB = "gallery"
# Looking asks the network nothing, so it waits for nobody's search.
LOOK = {"concurrency_id": "browse", "concurrency_limit": 2, "api_visibility": "private", "trigger_mode": "always_last"}


def build_browse() -> dict:
    """Lay out filters, paging and the pictures; the rest is wired by `wire_browse`."""
    parts: dict = {"view": gr.State(browse.View()), "place": gr.State(None)}
    gr.Markdown(text.BROWSE_INTRO, elem_classes="intro")
    with gr.Row(elem_classes="tight", elem_id="browse-filters"):
        for name, words, everything in (
            ("person", text.BROWSE_PERSON, text.BROWSE_ALL_PEOPLE),
            ("camera", text.BROWSE_CAMERA, text.BROWSE_ALL_CAMERAS),
        ):
            parts[name] = gr.Dropdown(
                [(everything, browse.ALL)],
                value=browse.ALL,
                label=words,
                allow_custom_value=True,
                interactive=True,
                elem_id=f"browse-{name}",
                min_width=140,
            )
        parts["page"] = gr.Number(
            1, label=text.BROWSE_PAGE.format(pages=1), precision=0, minimum=1, elem_id="browse-page", min_width=100
        )
    with gr.Row(elem_classes="tight", elem_id="browse-pages"):
        parts["line"] = gr.HTML(elem_id="browse-line")
        parts["back"] = gr.Button(text.BROWSE_BACK, size="sm", elem_id="browse-back", min_width=120)
        parts["on"] = gr.Button(text.BROWSE_ON, size="sm", elem_id="browse-on", min_width=120)
    parts["grid"] = gr.Gallery(
        label=text.BROWSE_GRID,
        show_label=False,
        columns=10,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        buttons=[],
        format="jpeg",  # written ten times as fast as the default
        elem_id="browse-grid",
    )
    return parts


def wire_browse(tab: gr.Tab, parts: dict, wiring: Wiring) -> None:
    """Connect filters, paging and pictures. Nothing is read before the tab is opened."""
    session, view, page = wiring.session, parts["view"], parts["page"]
    filters = [parts["person"], parts["camera"]]
    drawn = [parts[name] for name in ("view", "line", "back", "on", "grid")]

    def draw(now: Session, seen: browse.View) -> list:
        engine = wiring.engine_of(now)
        return [
            seen,
            browse.count_line(engine, seen),
            gr.Button(interactive=seen.page > 1, visible=seen.pages > 1),
            gr.Button(interactive=seen.page < seen.pages, visible=seen.pages > 1),
            gr.Gallery(value=browse.pictures(engine, seen), selected_index=None, visible=bool(seen.rows)),
        ]

    def draw_page(seen: browse.View) -> gr.Number:
        label = text.BROWSE_PAGE.format(pages=seen.pages)
        return gr.Number(value=seen.page, label=label, visible=seen.pages > 1)

    def draw_filters(now: Session) -> list[gr.Dropdown]:
        gallery = wiring.engine_of(now).gallery
        offered = ((browse.people(gallery), gallery.people), (browse.cameras(gallery), gallery.cameras))
        return [
            gr.Dropdown(choices=listed, value=browse.ALL, info=browse.info(numbers) or None, visible=bool(listed))
            for listed, numbers in offered
        ]

    def look(now: Session, *wanted) -> browse.View:
        return browse.look(wiring.engine_of(now), now, *wanted)

    def opened(now: Session, seen: browse.View) -> list:
        """Draw all where this gallery was not looked at yet; else leave it as it was left."""
        if seen.own == now.own:
            return [gr.skip()] * (len(drawn) + 3)
        act = guard(
            lambda: look(now), lambda new: [*draw(now, new), draw_page(new), *draw_filters(now)], len(drawn) + 3
        )
        return act()

    def filtered(now: Session, person, camera) -> list:
        act = guard(lambda: look(now, person, camera), lambda new: [*draw(now, new), draw_page(new)], len(drawn) + 1)
        return act()

    def typed(now: Session, seen: browse.View, number) -> list:
        """Show another page; its field is left alone while the visitor types."""
        return guard(lambda: look(now, seen.pid, seen.camid, number), lambda new: draw(now, new), len(drawn))()

    def turn(step: int):
        def turned(now: Session, seen: browse.View) -> list:
            act = guard(
                lambda: look(now, seen.pid, seen.camid, seen.page + step),
                lambda new: [*draw(now, new), draw_page(new)],
                len(drawn) + 1,
            )
            return act()

        return turned

    def pick(event: gr.SelectData) -> list:
        return [event.index, gr.Gallery(selected_index=None)]  # so that a second click on it counts as well

    shown = {"show_progress_on": [parts["grid"]], **LOOK}
    tab.select(opened, [session, view], [*drawn, page, *filters], **shown)
    for component in filters:
        component.input(filtered, [session, *filters], [*drawn, page], **shown)
    page.input(typed, [session, view, page], drawn, **shown)
    page.blur(draw_page, [view], page, show_progress="hidden", **LOOK)
    parts["back"].click(turn(-1), [session, view], [*drawn, page], **shown)
    parts["on"].click(turn(+1), [session, view], [*drawn, page], **shown)
    picked = parts["grid"].select(pick, None, [parts["place"], parts["grid"]], show_progress="hidden", **LOOK)
    picked.then(None, js="() => window.showRanking()", api_visibility="private")
    wiring.search(picked.success, browse.search_from, [view, parts["place"]])
