"""What no widget of the page sends is answered in a sentence, writes no traceback and is not repeated whole."""

import json

import httpx
import pytest
from pages import config_of

import app
from reid_demo.serving.bench.page import inputs, listener
from reid_demo.serving.bench.visitors import Visitor

LONG = "x" * 3_000_000
WIDGETS_OWN = {"click", "then", "success", "load", "change", "input", "upload", "unload", "blur", "release"}
EVENTS = [None, {}, [], "x", 5, {"index": 1.5}, {"index": "a", "value": None}, {"index": [1, "x"], "value": None}]
EVENTS += [{"index": [1, 2], "value": None}, {"index": -1, "value": None}, {"verb": 5}, {"verb": "hide"}]
NUMBERS = [float("nan"), float("inf"), 1e308, -1e308, "12a", [], LONG]


@pytest.fixture(scope="module")
def page(tiny_engine):
    demo = app.serve(tiny_engine, app.Place("127.0.0.1"), prevent_thread_lock=True, quiet=True)
    yield demo, demo.local_url.rstrip("/")
    demo.close()


@pytest.fixture
def visitor(page, tiny_engine):
    """Return a visitor who has opened an example."""
    demo, url = page
    found = Visitor(url)
    found.ask(listener(demo, "stage", "act"), inputs(tiny_engine), {"verb": "example", "number": 0})
    return found


@pytest.fixture
def answer(visitor, capfd, caplog):
    """Return a function that sends an event and checks what is said of it; it returns the error's words, if any."""
    caplog.set_level("INFO")

    def ask(number: int, data: list, event_data: object = None) -> str:
        body = {"data": data, "fn_index": number, "session_hash": visitor.name, "event_data": event_data}
        sent = visitor.http.post(
            f"{visitor.url}/queue/join", content=json.dumps(body), headers={"content-type": "application/json"}
        )
        sent.raise_for_status()
        for message in visitor.messages():
            if message["msg"] == "process_completed" and message["event_id"] == sent.json()["event_id"]:
                break
        said = "".join(capfd.readouterr()) + caplog.text
        caplog.clear()
        assert "Traceback" not in said, (number, event_data, said[-2000:])
        assert len(said) < 5000 and "x" * 1000 not in json.dumps(message)
        return "" if message["success"] else message["output"]["error"]

    return ask


def values_of(url: str, number: int) -> list:
    config = config_of(url)
    shown = {one["id"]: one["props"].get("value") for one in config["components"]}
    return [shown[at] for at in config["dependencies"][number]["inputs"]]


def test_an_event_about_nothing_that_is_there(page, answer):
    _, url = page
    about = [d for d in config_of(url)["dependencies"] if {t[1] for t in d["targets"]} - WIDGETS_OWN]
    assert len(about) >= 10
    for dependency in about:
        for event in EVENTS:
            answer(dependency["id"], values_of(url, dependency["id"]), event)


@pytest.mark.parametrize("field", ["coverage", "seed", "crop-x", "crop-width", "browse-page", "frame-x", "top-k"])
def test_a_number_that_is_none(page, answer, field):
    _, url = page
    config = config_of(url)
    (block,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == field)
    reads = next(d for d in config["dependencies"] if block in d["inputs"] and d["backend_fn"])
    for number in NUMBERS:
        data = values_of(url, reads["id"])
        data[reads["inputs"].index(block)] = number
        answer(reads["id"], data, {"verb": "hide", "kind": "random_box"} if field in ("coverage", "seed") else None)


@pytest.mark.parametrize("field", ["weighing", "terms", "browse-person", "same-camera"])
def test_a_choice_that_is_not_offered(page, answer, field):
    _, url = page
    config = config_of(url)
    (block,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == field)
    reads = next(d for d in config["dependencies"] if block in d["inputs"] and d["backend_fn"])
    for choice in (LONG, [LONG], {"a": LONG}, 5, None):
        data = values_of(url, reads["id"])
        data[reads["inputs"].index(block)] = choice
        answer(reads["id"], data)
    if field == "weighing":
        data[reads["inputs"].index(block)] = LONG
        assert answer(reads["id"], data).startswith("Value: 'xxx")  # Gradio's own sentence, cut short


@pytest.mark.parametrize("number", [99999, -1, 10**30])
def test_a_listener_that_is_not_there(page, number, capfd):
    _, url = page
    body = {"data": [], "fn_index": number, "session_hash": "stranger"}
    sent = httpx.post(f"{url}/gradio_api/queue/join", json=body, trust_env=False)
    assert sent.status_code in (404, 422) and "detail" in sent.json(), sent.text
    assert "Traceback" not in "".join(capfd.readouterr())
