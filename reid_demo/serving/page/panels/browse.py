"""The gallery that is searched, to look through and to search from: the shipped one or the visitor's own."""

from dataclasses import dataclass, replace

import gradio as gr

from reid_demo.serving.gradio_patches import AT_ONCE
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import browse
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.wiring import Wiring, guard

BROWSE_TAB = "gallery"
# Looking asks the network nothing, so it waits for nobody's search.
LOOK = {"concurrency_id": "browse", "concurrency_limit": AT_ONCE["browse"]}
LOOK |= {"api_visibility": "private", "trigger_mode": "always_last"}


@dataclass(frozen=True)
class BrowsePanel:
    """Filters, paging and the pictures."""

    view: gr.State
    place: gr.State  # in the page of pictures, of the one clicked last
    person: gr.Dropdown
    camera: gr.Dropdown
    page: gr.Number
    line: gr.HTML
    back: gr.Button
    on: gr.Button
    grid: gr.Gallery

    @property
    def drawn(self) -> list:
        """Outputs of `_Shelf.draw`."""
        return [self.view, self.line, self.back, self.on, self.grid]

    @property
    def filters(self) -> list:
        """Person and camera."""
        return [self.person, self.camera]


def build_browse() -> BrowsePanel:
    """Lay out filters, paging and the pictures."""
    with_all = {"person": text.BROWSE_ALL_PEOPLE, "camera": text.BROWSE_ALL_CAMERAS}
    labels = {"person": text.BROWSE_PERSON, "camera": text.BROWSE_CAMERA}
    view, place = gr.State(browse.View()), gr.State(None)
    gr.Markdown(text.BROWSE_INTRO, elem_classes="intro")
    with gr.Row(elem_classes="tight", elem_id="browse-filters"):
        person, camera = (
            gr.Dropdown(
                [(with_all[name], browse.ALL)],
                value=browse.ALL,
                label=labels[name],
                allow_custom_value=True,
                interactive=True,
                elem_id=f"browse-{name}",
                min_width=140,
            )
            for name in ("person", "camera")
        )
        page = gr.Number(1, label=text.BROWSE_PAGE.format(pages=1), precision=0, elem_id="browse-page", min_width=100)
    with gr.Row(elem_classes="tight", elem_id="browse-pages"):
        line = gr.HTML(elem_id="browse-line")
        back = gr.Button(text.BROWSE_BACK, size="sm", elem_id="browse-back", min_width=120)
        on = gr.Button(text.BROWSE_ON, size="sm", elem_id="browse-on", min_width=120)
    grid = gr.Gallery(
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
    return BrowsePanel(view, place, person, camera, page, line, back, on, grid)


@dataclass(frozen=True)
class _Shelf:
    """What the clicks of the gallery browser do: look, and draw what is seen."""

    wiring: Wiring
    panel: BrowsePanel

    def look(self, now: Session, *wanted) -> browse.View:
        return browse.look(self.wiring.engine_of(now), now, *wanted)

    def draw(self, now: Session, seen: browse.View) -> list:
        engine = self.wiring.engine_of(now)
        return [
            seen,
            browse.count_line(engine, seen),
            gr.Button(interactive=seen.page > 1, visible=seen.pages > 1),
            gr.Button(interactive=seen.page < seen.pages, visible=seen.pages > 1),
            gr.Gallery(value=browse.pictures(engine, seen), selected_index=None, visible=bool(seen.rows)),
        ]

    def draw_page(self, seen: browse.View) -> gr.Number:
        label = text.BROWSE_PAGE.format(pages=seen.pages)
        return gr.Number(value=seen.page, label=label, visible=seen.pages > 1)

    def draw_filters(self, now: Session) -> list[gr.Dropdown]:
        gallery = self.wiring.engine_of(now).gallery
        offered = ((browse.people(gallery), gallery.people), (browse.cameras(gallery), gallery.cameras))
        return [
            gr.Dropdown(choices=listed, value=browse.ALL, info=browse.info(numbers) or None, visible=bool(listed))
            for listed, numbers in offered
        ]

    def opened(self, now: Session, seen: browse.View) -> list:
        """Draw all where this gallery was not looked at yet; else leave it as it was left."""
        count = len(self.panel.drawn) + 1 + len(self.panel.filters)
        if seen.own == now.own and seen.stamp == self.wiring.engine_of(now).gallery.stamp:
            return [gr.skip()] * count

        def show(new: browse.View) -> list:
            return [*self.draw(now, new), self.draw_page(new), *self.draw_filters(now)]

        return guard(self.look, show, count)(now)

    def filtered(self, now: Session, seen: browse.View, person: str, camera: str) -> list:
        """Show what the filters say; nothing is drawn anew where they say what is seen, as what has the focus loses it.

        Gradio reports a filter that the keyboard only walks through. Another person brings the cameras that saw them.
        """
        count = len(self.panel.drawn) + 2

        def show(new: browse.View) -> list:
            if replace(new, page=seen.page, rows=seen.rows) == seen:
                return [gr.skip()] * count
            cameras = gr.skip()
            if new.pid != seen.pid:
                cameras = gr.Dropdown(choices=browse.cameras(self.wiring.engine_of(now).gallery, new.pid))
            return [*self.draw(now, new), self.draw_page(new), cameras]

        return guard(self.look, show, count)(now, person, camera)

    def typed(self, now: Session, seen: browse.View, number: float) -> list:
        """Show another page; its field is left alone while the visitor types."""
        show = guard(self.look, lambda new: self.draw(now, new), len(self.panel.drawn))
        return show(now, seen.pid, seen.camid, number)

    def turned_back(self, now: Session, seen: browse.View) -> list:
        return self._seen(now, seen.pid, seen.camid, seen.page - 1)

    def turned_on(self, now: Session, seen: browse.View) -> list:
        return self._seen(now, seen.pid, seen.camid, seen.page + 1)

    def _seen(self, now: Session, *wanted) -> list:
        def show(new: browse.View) -> list:
            return [*self.draw(now, new), self.draw_page(new)]

        return guard(self.look, show, len(self.panel.drawn) + 1)(now, *wanted)


def _pick(event: gr.SelectData) -> list:
    clear = gr.Gallery(selected_index=None)  # so that a second click on it counts as well
    return [event.index if type(event.index) is int else None, clear]


def wire_browse(tab: gr.Tab, panel: BrowsePanel, wiring: Wiring) -> None:
    """Connect filters, paging and pictures. Nothing is read before the tab is opened."""
    shelf = _Shelf(wiring, panel)
    session, view, page, drawn = wiring.session, panel.view, panel.page, panel.drawn
    shown = {"show_progress_on": [panel.grid], **LOOK}
    tab.select(shelf.opened, [session, view], [*drawn, page, *panel.filters], **shown)
    for component in panel.filters:
        component.input(shelf.filtered, [session, view, *panel.filters], [*drawn, page, panel.camera], **shown)
    page.input(shelf.typed, [session, view, page], drawn, **shown)
    page.blur(shelf.draw_page, [view], page, show_progress="hidden", **LOOK)
    panel.back.click(shelf.turned_back, [session, view], [*drawn, page], **shown)
    panel.on.click(shelf.turned_on, [session, view], [*drawn, page], **shown)
    picked = panel.grid.select(_pick, None, [panel.place, panel.grid], show_progress="hidden", **LOOK)
    picked.then(None, js="() => window.showRanking()", api_visibility="private")
    wiring.search(picked.success, browse.search_from, [view, panel.place])
