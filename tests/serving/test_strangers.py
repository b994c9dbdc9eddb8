"""What no widget of the page sends is answered in a sentence, writes no traceback and is not repeated whole."""

import json
import logging
import os
import re
import select
import socket
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from loops import in_a_new_loop
from pages import config_of
from waits import wait_until

import app
from reid_demo.errors import ImageError
from reid_demo.serving import border, incoming, workplace
from reid_demo.serving.bench.page import inputs, listener
from reid_demo.serving.bench.visitors import Visitor
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe, verify
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.page.handlers.visits import Visits

LONG = "x" * 3_000_000
WIDGETS_OWN = {"click", "then", "success", "load", "change", "input", "upload", "unload", "blur", "release"}
EVENTS = [None, {}, [], "x", 5, {"index": 1.5}, {"index": "a", "value": None}, {"index": [1, "x"], "value": None}]
EVENTS += [{"index": [1, 2], "value": None}, {"index": -1, "value": None}, {"index": True}]
EVENTS += [{"verb": 5}, {"verb": "hide"}]
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


def values_of(config: dict, number: int) -> list:
    shown = {one["id"]: one["props"].get("value") for one in config["components"]}
    return [shown[at] for at in config["dependencies"][number]["inputs"]]


def test_an_event_about_nothing_that_is_there(page, answer):
    config = config_of(page[1])
    about = [d for d in config["dependencies"] if {t[1] for t in d["targets"]} - WIDGETS_OWN]
    assert len(about) >= 10
    for dependency in about:
        for event in EVENTS:
            answer(dependency["id"], values_of(config, dependency["id"]), event)


@pytest.mark.parametrize("field", ["coverage", "seed", "crop-x", "crop-width", "browse-page", "frame-x", "top-k"])
def test_a_number_that_is_none(page, answer, field):
    _, url = page
    config = config_of(url)
    (block,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == field)
    reads = next(d for d in config["dependencies"] if block in d["inputs"] and d["backend_fn"])
    for number in NUMBERS:
        data = values_of(config, reads["id"])
        data[reads["inputs"].index(block)] = number
        answer(reads["id"], data, {"verb": "hide", "kind": "random_block"} if field in ("coverage", "seed") else None)


@pytest.mark.parametrize("field", ["weighing", "terms", "browse-person", "same-camera"])
def test_a_choice_that_is_not_offered(page, answer, field):
    _, url = page
    config = config_of(url)
    (block,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == field)
    reads = next(d for d in config["dependencies"] if block in d["inputs"] and d["backend_fn"])
    for choice in (LONG, [LONG], {"a": LONG}, 5, None, "\ud800", ["\udfff"]):
        data = values_of(config, reads["id"])
        data[reads["inputs"].index(block)] = choice
        answer(reads["id"], data)
    if field == "weighing":
        data[reads["inputs"].index(block)] = LONG
        assert answer(reads["id"], data).startswith("Value: 'xxx")  # Gradio's own sentence, cut short


def test_what_only_a_browser_does_is_refused_in_a_sentence(page, answer):
    alone = [d["id"] for d in config_of(page[1])["dependencies"] if not d["backend_fn"]]
    assert len(alone) > 10
    for number in alone:
        assert answer(number, ["x"]).startswith("This request holds a value"), number


def test_a_case_before_any_search_is_refused_in_a_sentence(page, tiny_engine, visitor, answer):
    visitor.name = "fresh"
    answer(listener(page[0], "case-make", "click"), [None])
    with pytest.raises(ImageError, match=re.escape(text.NO_PROBE)):
        verify.case_files(tiny_engine, Session())


def test_a_case_without_any_match_is_saved(tiny_engine):
    """As where all images of a gallery are left out for their camera."""
    opened = probe.open_example(tiny_engine, Session(), default_settings(tiny_engine), 0)
    assert verify.case_files(tiny_engine, replace(opened, matches=(), chosen=None)).count("case.") == 3


@pytest.mark.parametrize("number", [99999, -1, 10**30])
def test_a_listener_that_is_not_there(page, number, capfd):
    _, url = page
    body = {"data": [], "fn_index": number, "session_hash": "stranger"}
    sent = httpx.post(f"{url}/gradio_api/queue/join", json=body, trust_env=False)
    assert sent.status_code in (404, 422) and "detail" in sent.json(), sent.text
    assert "Traceback" not in "".join(capfd.readouterr())


UPLOAD, FORM = "/gradio_api/upload", {"content-type": "multipart/form-data; boundary=x"}
PART = 'Content-Disposition: form-data; name="files"'
CALL = {"session_hash": "s", "fn_name": "act", "data": {}}
# Method, address, what is sent, and the status of the answer: add a row for every one that is found.
REQUESTS = [
    ("GET", "/gradio_api/queue/data?session_hash=unknown", {}, 200),
    ("GET", "/gradio_api/call/search/unknown", {}, 200),
    ("GET", "/gradio_api/call/x/y", {}, 200),
    ("POST", "/gradio_api/component_server", {"json": {**CALL, "component_id": 99999}}, 404),
    ("POST", "/gradio_api/component_server", {"json": {**CALL, "component_id": 1}}, 404),
    ("POST", UPLOAD, {"files": {"files": (None, "no file")}}, 400),
    ("POST", UPLOAD, {"files": {"files": ("", b"no name")}}, 400),
    ("POST", UPLOAD, {"files": {"other": ("a.png", b"x")}}, 400),
    ("POST", UPLOAD, {"files": [("files", ("a.png", b"x")), ("files", (None, "no file"))]}, 400),
    ("POST", UPLOAD, {"files": {"files": ("..", b"x")}}, 400),
    ("POST", UPLOAD, {"content": f"--x\r\n{PART}".encode(), "headers": FORM}, 200),
    ("POST", UPLOAD, {"content": f'--x\r\n{PART}; filename="a.png"\r\n\r\nabc'.encode(), "headers": FORM}, 400),
    ("POST", UPLOAD, {"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400),
    ("POST", f"{UPLOAD}?upload_id=u", {"content": f"--x\r\n{PART}\r\n\r\na\r\n--x--".encode(), "headers": FORM}, 400),
    ("POST", "/gradio_api/queue/join", {"json": {"data": [], "fn_index": 0, "session_hash": ""}}, 400),
    ("POST", "/gradio_api/queue/join", {"json": {"data": [], "fn_index": 0, "session_hash": "a\n"}}, 400),
    ("POST", "/gradio_api/queue/join", {"json": {"data": [], "fn_index": 0, "session_hash": "a" * 101}}, 400),
    ("POST", "/gradio_api/call/%00", {"json": {"data": []}}, 404),
    ("POST", "/gradio_api/call/nothing", {"json": {"data": []}}, 404),
    ("POST", "/gradio_api/call/v2/nothing", {"json": {}}, 404),
    ("POST", "/gradio_api/api/nothing", {"json": {"data": []}}, 404),
    ("GET", "/?page=x", {}, 404),
    ("GET", "/gradio_api/proxy=http://example.org", {}, 404),
    ("HEAD", "/gradio_api/proxy=%00", {}, 404),
    ("GET", "/gradio_api/heartbeat/%00", {}, 404),
    ("GET", "/gradio_api/heartbeat/a%0Ab", {}, 404),
    ("GET", "/gradio_api/file=%00", {}, 404),
    ("GET", "/gradio_api/file=" + "a" * 60_000, {}, 414),
    ("GET", "/?view=" + "a" * 9_000, {}, 414),
    ("GET", "/gradio_api/heartbeat/" + "a" * 101, {}, 404),
    ("POST", "/gradio_api/component_server", {"json": {**CALL, "session_hash": "a" * 101, "component_id": 1}}, 400),
    ("POST", UPLOAD, {"files": [("files", (f"{i}.png", b"x")) for i in range(501)]}, 400),
    ("POST", UPLOAD, {"files": {"files": (None, "x" * 1001)}}, 413),
    ("POST", UPLOAD, {"content": b"x", "headers": {"content-type": f"multipart/form-data; boundary={'x' * 300}"}}, 400),
    ("GET", "/config", {"headers": {"host": "[127.0.0.1]"}}, 400),
    ("GET", "/config", {"headers": {"host": "[::1"}}, 400),
]


@pytest.fixture
def kept(page):
    """Return a function that lists the files that the server keeps of uploads and shown pictures."""
    folder = workplace.of_this_process().folder / "pictures"
    return lambda: {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("method", "address", "sent", "status"), REQUESTS, ids=range(len(REQUESTS)))
def test_a_request_that_nobody_of_ours_sends(page, kept, capfd, caplog, method, address, sent, status):
    before = kept()
    answer = httpx.request(method, f"{page[1]}{address}", **sent, timeout=20, trust_env=False)
    assert answer.status_code == status and len(answer.content) < 1000
    time.sleep(0.1)  # an answer is on its way before the log says why
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Traceback" not in said and len(said) < 1000
    assert kept() == before, "nothing of it is left"


def test_what_gradio_fails_at_is_a_sentence_and_one_line_of_the_log(page, monkeypatch, caplog):
    demo, url = page

    def fail():
        raise ZeroDivisionError("y" * 5000)

    monkeypatch.setattr(demo._queue, "get_status", fail)
    answer = httpx.get(f"{url}/gradio_api/queue/status", trust_env=False)
    assert (answer.status_code, answer.text) == (500, border.UNFORESEEN)
    (line,) = [record for record in caplog.records if "queue/status" in record.getMessage()]
    assert line.levelno == logging.WARNING and line.exc_info is None and len(line.getMessage()) < 500


def test_what_our_own_code_fails_at_is_in_the_log_with_its_traceback(page, visitor, monkeypatch, caplog):
    demo, url = page
    config = config_of(url)
    (canvas,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == "stage")

    def fail(*given):
        raise ZeroDivisionError("by itself")

    monkeypatch.setattr(Visits, "open", fail)
    call = {"session_hash": visitor.name, "component_id": canvas, "fn_name": "mark", "data": {}}
    answer = httpx.post(f"{url}/gradio_api/component_server", json=call, trust_env=False)
    assert answer.status_code == 500
    (line,) = [record for record in caplog.records if "by itself" in record.getMessage()]
    assert line.levelno == logging.ERROR and line.exc_info


@pytest.mark.parametrize("wanted", ["bytes=0-0,1-1", "1-2-3", "bytes=\u00b2-5", f"bytes=0-{'9' * 5000}", "bytes=0-9"])
def test_a_part_of_a_file_that_cannot_be_told_is_all_of_it(page, wanted):
    sent = httpx.post(f"{page[1]}{UPLOAD}", files={"files": ("a.txt", b"0123456789" * 5)}, trust_env=False).json()[0]
    headers = {"range": wanted.encode("latin-1")}
    answer = httpx.get(f"{page[1]}/gradio_api/file={sent}", headers=headers, trust_env=False)
    whole = b"0123456789" * 5
    assert (answer.status_code, answer.content) == ((206, whole[:10]) if wanted == "bytes=0-9" else (200, whole))


@pytest.mark.parametrize("kind", ["multipart/x", "multipart/form-data; boundary=x", "application/json"])
def test_only_uploads_may_be_large(page, monkeypatch, kind, kept):
    monkeypatch.setattr(border, "MOST_BYTES", 1000)
    for path in ("queue/join", "cancel", "call/search"):
        answer = httpx.post(
            f"{page[1]}/gradio_api/{path}", content=b"x" * 2000, headers={"content-type": kind}, trust_env=False
        )
        assert answer.status_code == 413 and answer.json() == {"detail": border.TOO_MUCH}
    monkeypatch.setattr(border, "MOST_UPLOADED", 3000)
    before = kept()
    files = [("files", (f"{i}.png", b"x" * 1000)) for i in range(3)]
    answer = httpx.post(f"{page[1]}{UPLOAD}", files=files, trust_env=False)
    assert answer.status_code == 413 and answer.json() == {"detail": border.TOO_LARGE} and kept() == before


def test_what_waits_is_limited_as_well(page, monkeypatch):
    monkeypatch.setattr(incoming, "MOST_WAITING", 7000)
    monkeypatch.setattr(incoming, "SMALL", 500)
    for letters, status in (("x" * 2000, 200), ("x" * 1999 + "\U0001f600", 503), ("x" * 9000, 503), ("x", 200)):
        call = {"data": [{"url": "data:," + letters}, 5, "default", None]}
        for ascii_only in (True, False):  # an escape is six letters long and makes the text as wide
            sent = json.dumps(call, ensure_ascii=ascii_only).encode()
            answer = httpx.post(
                f"{page[1]}/gradio_api/call/search",
                content=sent,
                headers={"content-type": "application/json"},
                trust_env=False,
            )
            assert answer.status_code == status
            assert status == 200 or answer.json() == {"detail": incoming.FULL}


def test_bodies_that_are_not_whole_yet_are_limited_together(page, monkeypatch):
    monkeypatch.setattr(incoming, "MOST_WAITING", 5000)
    monkeypatch.setattr(incoming, "SMALL", 500)
    host, port = page[1].removeprefix("http://").split(":")
    head = "POST /gradio_api/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    def ask(size: int) -> int:
        body = {"session_hash": "x", "fn_index": 0, "event_id": "y" * size}
        return httpx.post(f"{page[1]}/gradio_api/cancel", json=body, trust_env=False).status_code

    with socket.create_connection((host, int(port))) as held:
        held.sendall(f"{head}Content-Length: 90000\r\n\r\n".encode() + b" " * 4500)
        wait_until(lambda: ask(2000) == 503)
        assert ask(100) == 200
    wait_until(lambda: ask(2000) == 200)


def begin_upload(page, files: int) -> socket.socket:
    """Send the heads of files and a byte of each; return the connection, on which more is said to come."""
    host, port = page[1].removeprefix("http://").split(":")
    part = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\na\r\n'
    head = "Host: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 90000\r\n\r\n"
    begun = socket.create_connection((host, int(port)), timeout=20)
    begun.sendall(f"POST {UPLOAD} HTTP/1.1\r\n{head}{part * files}".encode())
    return begun


def test_uploads_together_open_few_files(page, monkeypatch):
    monkeypatch.setattr(incoming, "MOST_OPEN", 20)
    picture = {"files": ("a.png", b"a")}
    with begin_upload(page, 12), begin_upload(page, 6):
        wait_until(lambda: sum(map(len, incoming._uploads)) == 18)
        assert httpx.post(f"{page[1]}{UPLOAD}", files=picture, trust_env=False).status_code == 200
        with begin_upload(page, 5) as refused:
            assert refused.recv(4096).startswith(b"HTTP/1.1 503")
    wait_until(lambda: incoming._uploads == [])
    resource = pytest.importorskip("resource", reason="this system counts no open files")
    monkeypatch.setattr(incoming.resource, "getrlimit", lambda kind: (30, 30))
    assert incoming._most_open() == 15
    monkeypatch.setattr(incoming.resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    assert incoming._most_open() == 20


@pytest.mark.parametrize("upload", [False, True], ids=["call", "upload"])
@pytest.mark.parametrize(("limit", "goes_on"), [("STALLED_S", False), ("LONGEST_BODY_S", True)])
def test_a_body_that_does_not_come_holds_nobody_up(page, monkeypatch, limit, goes_on, upload):
    monkeypatch.setattr(border, limit, 0.3)
    host, port = page[1].removeprefix("http://").split(":")
    head = "POST /gradio_api/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
    began, before = time.monotonic(), set(workplace.of_this_process().folder.rglob("*"))
    with begin_upload(page, 3) if upload else socket.create_connection((host, int(port)), timeout=20) as held:
        if not upload:
            held.sendall(head.encode() + b" " * 4500)
        while goes_on and not select.select([held], [], [], 0.05)[0]:
            held.sendall(b" ")
        answer = ""
        while border.TOO_SLOW not in answer and (piece := held.recv(4096)):  # head and body come one by one
            answer += piece.decode()
    assert answer.startswith("HTTP/1.1 408") and border.TOO_SLOW in answer
    assert 0.3 < time.monotonic() - began < 5
    assert not upload or set(workplace.of_this_process().folder.rglob("*")) == before and incoming._uploads == []


def test_a_body_in_many_pieces_is_kept_as_one():
    gate = border.Border(None, border.Rules())
    pieces = [{"type": "http.request", "body": b"ab", "more_body": True}] * 1000
    pieces += [{"type": "http.request", "body": b"c"}]
    counted = []

    async def receive() -> dict:
        counted.append(gate.reading)
        return pieces.pop(0)

    whole = in_a_new_loop(gate._read(receive))
    assert whole == {"type": "http.request", "body": b"ab" * 1000 + b"c", "more_body": False}
    assert counted[-1] == 2000 and gate.reading == 0


def test_answers_that_nobody_fetches_give_way_to_later_ones(page, monkeypatch):
    monkeypatch.setattr(border, "MOST_UNFETCHED", 3)
    demo, url = page
    names = []
    for _ in range(6):
        sent = httpx.post(f"{url}/gradio_api/call/gallery_info", json={"data": []}, trust_env=False)
        names.append(sent.json()["event_id"])
        wait_until(lambda: names[-1] not in demo._queue.event_ids_to_events and not any(demo._queue.active_jobs))
    kept = [name in demo._queue.pending_messages_per_session for name in names]
    assert kept == [False, False, True, True, True, True]  # the last one was not there yet when it was counted
    found = httpx.get(f"{url}/gradio_api/call/gallery_info/{names[-1]}", trust_env=False).text
    assert "event: complete" in found
    gone = httpx.get(f"{url}/gradio_api/call/gallery_info/{names[0]}", trust_env=False).text
    assert "event: error" in gone and "Not Found" in gone


def test_uploads_whose_progress_nobody_asks_for_are_forgotten(monkeypatch):
    from gradio.route_utils import FileUploadProgress

    monkeypatch.setattr(incoming, "MOST_FOLLOWED", 3)
    followed = FileUploadProgress()
    for number in range(10):
        followed.append(f"{number}", "a.png", b"x")
    assert list(followed._statuses) == list(followed._signals) == ["7", "8", "9"]
    assert followed.pop("9").chunk_size == 1


def test_calls_that_nobody_fetches_are_forgotten(page, monkeypatch):
    demo, url = page
    queue, holder = demo._queue, demo.state_holder
    sent = [httpx.post(f"{url}/gradio_api/call/gallery_info", json={"data": []}, trust_env=False) for _ in range(5)]
    names = [one.json()["event_id"] for one in sent]
    wait_until(lambda: not set(names) & set(queue.event_ids_to_events))
    assert set(names) <= set(queue.pending_event_ids_session)
    monkeypatch.setattr(border, "SWEEP_EVERY_S", 0)
    httpx.get(f"{url}/config", trust_env=False)
    assert set(names) <= set(queue.pending_event_ids_session), "they may yet be fetched"
    monkeypatch.setattr(border, "GRACE_S", -1)
    httpx.get(f"{url}/config", trust_env=False)
    for known in (queue.pending_event_ids_session, queue.pending_messages_per_session, holder.session_data):
        assert not set(names) & set(known)


def test_an_upload_that_is_cut_off_leaves_nothing(page, kept, capfd):
    before, (host, port) = kept(), page[1].removeprefix("http://").split(":")
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\nContent-Type: {FORM['content-type']}"
    with socket.create_connection((host, int(port))) as cut:
        cut.sendall(f'{head}\r\n\r\n--x\r\n{PART}; filename="a.png"\r\n\r\n'.encode() + b"a" * 5000)
        wait_until(lambda: kept() - before)
        assert len(kept() - before) == 1, "it had begun"
    wait_until(lambda: kept() == before)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_same_file_of_two_visitors_has_two_places(page):
    send = lambda: httpx.post(f"{page[1]}{UPLOAD}", files={"files": ("a.zip", b"same")}, trust_env=False)  # noqa: E731
    first, second = (Path(send().json()[0]) for _ in range(2))
    assert first != second and first.name == second.name == "a.zip"
    first.unlink()
    assert second.read_bytes() == b"same"


def test_old_files_go_with_their_folders_and_with_what_gradio_forgets(page, kept):
    demo, url = page
    folder = workplace.of_this_process().folder / "pictures"
    others = set(folder.iterdir())  # of pages that earlier tests of this process served, who have sweeps of their own
    sent = httpx.post(f"{url}{UPLOAD}", files={"files": ("a.zip", b"x")}, trust_env=False).json()[0]
    taken = httpx.post(f"{url}{UPLOAD}", files={"files": ("b.zip", b"x")}, trust_env=False).json()[0]
    os.remove(taken)  # as a gallery's files are, once it is made
    stray, young = folder / "tmpstray", folder / "tmpyoung"
    for path in (stray, young):
        path.touch()
    os.utime(stray, (1, 1))
    from gradio import route_utils

    route_utils.delete_files_created_by_app(demo, 3600)
    assert Path(sent).exists() and young.exists() and not stray.exists()
    assert not Path(taken).parent.exists() and taken not in demo.upload_file_set
    route_utils.delete_files_created_by_app(demo, 0)
    assert not Path(sent).parent.exists() and sent not in demo.upload_file_set
    assert not [path for path in folder.iterdir() if path.is_file()]
    emptied = [path.name for path in set(folder.iterdir()) - others if path.is_dir() and not any(path.iterdir())]
    assert not [name for name in emptied if len(name) == 64], "folders that are named by a digest"


def test_an_empty_number_is_named(page, answer):
    """Gradio sends nothing at all for a slider whose number was deleted."""
    config = config_of(page[1])
    (block,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == "top-k")
    reads = next(d for d in config["dependencies"] if block in d["inputs"] and d["backend_fn"])
    data = values_of(config, reads["id"])
    data[reads["inputs"].index(block)] = None
    assert answer(reads["id"], data) == f"{text.TOP_K}: fill in a number."
