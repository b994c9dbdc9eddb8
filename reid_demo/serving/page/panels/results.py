"""The list of all matches, the settings that rank it, and why the chosen match scores what it scores."""

from dataclasses import dataclass

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.records import WEIGHINGS
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import earned, probe, ranking, why
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.page.wiring import QUEUE, Detail, Wiring, guard, place_of, top_k_range


@dataclass(frozen=True)
class RankingPanel:
    """Components that others read or draw."""

    line: gr.HTML
    status: gr.HTML
    earned: gr.HTML
    strip: gr.Gallery

    @property
    def details(self) -> tuple[Detail, ...]:
        """What is drawn after every search: which places of the probe earned the chosen match."""
        return (
            Detail(self.earned, earned.waiting),
            Detail(self.earned, earned.earned, late=True),
        )


@dataclass(frozen=True)
class WhyPanel:
    """The explanation of the chosen match."""

    use_match: gr.Button
    shown: gr.HTML

    @property
    def detail(self) -> Detail:
        """What is drawn after every search."""
        return Detail(self.shown, why.why)


def build_ranking(engine: Engine) -> RankingPanel:
    """Lay out what earned the chosen match, the ranked strip and what it is ranked by."""
    with gr.Column(elem_id="ranking-side"):
        gr.Markdown(f"## {text.STEP_RANKING}")
        line = gr.HTML(elem_id="probe-line")
        status = gr.HTML(elem_id="status")
        with gr.Row(elem_id="found", equal_height=False):
            places = gr.HTML(elem_id="earned")
            strip = gr.Gallery(
                label=text.STRIP_LABEL,
                show_label=False,
                columns=10,
                height="auto",
                object_fit="contain",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="strip",
            )
    return RankingPanel(line, status, places, strip)


def build_settings(engine: Engine) -> tuple:
    """Lay out what the list is ranked by: top-k, weighing, same camera, terms."""
    has_parts = len(engine.part_names) > 0
    start = default_settings(engine)
    with gr.Column(elem_id="settings"):
        top_k = gr.Slider(
            1,
            value=start.top_k,
            step=1,
            label=text.TOP_K,
            elem_id="top-k",
            min_width=200,
            **top_k_range(engine),
        )
        weighing = gr.Radio(
            [(words, name) for name, words in WEIGHINGS.items()],
            value=start.weighing,
            label=text.WEIGHING,
            info=text.WEIGHING_INFO,
            visible=has_parts,
            elem_id="weighing",
            min_width=260,
        )
        same_camera = gr.Checkbox(
            False, label=text.SAME_CAMERA, info=text.SAME_CAMERA_INFO, elem_id="same-camera", min_width=200
        )
        terms = gr.CheckboxGroup(
            list(zip(engine.term_labels, engine.term_names, strict=True)),
            value=list(engine.term_names),
            label=text.SWITCHES,
            info=text.SWITCHES_INFO,
            visible=has_parts,
            elem_id="terms",
        )
    return top_k, weighing, same_camera, terms


def wire_ranking(panel: RankingPanel, settings: tuple, wiring: Wiring) -> None:
    """Connect the settings; a new ranking asks the network nothing."""
    top_k, *others = settings
    for listen in (top_k.release, *(component.input for component in others)):
        wiring.search(listen, ranking.rank_again, trigger_mode="always_last")  # what is set meanwhile counts after it

    def click(now: Session, event: gr.SelectData) -> list:
        return guard(lambda s: ranking.choose(s, place_of(event)), wiring.show_choice, len(wiring.choice))(now)

    clicked = panel.strip.select(click, [wiring.session], wiring.choice, trigger_mode="always_last", **QUEUE)
    wiring.follow(clicked, choice=True)


def build_why() -> WhyPanel:
    """Lay out the explanation of the chosen match."""
    use_match = gr.Button(text.USE_AS_PROBE, size="sm", elem_id="use-match")
    return WhyPanel(use_match, gr.HTML(elem_id="why"))


def wire_why(panel: WhyPanel, wiring: Wiring) -> None:
    """Connect the button that makes a match the probe."""
    wiring.search(panel.use_match.click, probe.open_match)
