"""The checks on every request (host names, login, headers, frames), and what remains after a visit."""

import asyncio
import base64
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from loops import in_a_new_loop
from waits import wait_until

import app
from reid_demo.errors import ConfigError
from reid_demo.serving import api, border, workplace
from reid_demo.serving.mcp_calls import has_mcp

LOGIN = border.Login.read("# people\nana:secret one\n\nbo:x:y\n")
BASIC = {"Authorization": "Basic " + base64.b64encode(b"ana:secret one").decode()}


def served(tiny_engine, place: app.Place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        return app.serve(tiny_engine, place, prevent_thread_lock=True, quiet=True)


@pytest.fixture(scope="module")
def demo(tiny_engine):
    started = served(tiny_engine, app.Place("127.0.0.1", address_header="X-Forwarded-For"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def url(demo):
    return demo.local_url.rstrip("/")


@pytest.fixture(scope="module")
def locked(tiny_engine):
    """Serve with a login; return the address."""
    started = served(tiny_engine, app.Place("127.0.0.1", login=LOGIN))
    yield started.local_url.rstrip("/")
    started.close()


def get(address: str, **headers: str) -> httpx.Response:
    return httpx.get(address, headers=headers, trust_env=False, verify=False)


@pytest.mark.parametrize(
    ("host", "origin", "may"),
    [
        ("127.0.0.1:7860", "https://evil.example", False),
        ("10.0.0.5:7860", "https://evil.example", False),
        ("10.0.0.5:7860", "null", False),
        ("10.0.0.5:7860", "http://[", False),
        ("10.0.0.5:7860", "http://10.0.0.5:7860", True),
        ("localhost:7860", "http://localhost:7860", True),
    ],
)
def test_pages_of_other_sites_read_no_answer(url, monkeypatch, host, origin, may):
    told = get(f"{url}/config", Host=host, Origin=origin).headers.get("access-control-allow-origin")
    assert told == (origin if may else None)
    asked = {"Host": host, "Origin": origin, "Access-Control-Request-Method": "POST"}
    told = httpx.options(f"{url}/gradio_api/queue/join", headers=asked, trust_env=False).headers
    assert told.get("access-control-allow-origin") == (origin if may else None)


def test_an_origin_without_a_host_is_answered(demo, capfd):
    """As by HTTP 1.0, which knows no names of hosts."""
    host, port = demo.local_url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as asked:
        asked.sendall(b"GET /gradio_api/app_id HTTP/1.0\r\nOrigin: https://other.example\r\n\r\n")
        said = b"".join(iter(lambda: asked.recv(4096), b""))
    assert b" 200 OK" in said and b"access-control-allow-origin" not in said
    assert "Traceback" not in "".join(capfd.readouterr())


def test_any_page_may_ask_a_space_which_its_owner_has_published(url, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "a/b")
    told = get(f"{url}/config", Host="10.0.0.5:7860", Origin="https://other.example").headers
    assert told["access-control-allow-origin"] == "https://other.example"


def test_answers_carry_a_content_and_a_frame_policy(url):
    for path in ("/", "/config", "/gradio_api/info"):
        headers = get(url + path).headers
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "object-src 'none'" in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"], "nothing comes from anywhere else"
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "SAMEORIGIN")


@pytest.mark.parametrize("path", ["/gradio_api/call/v2/search", "/gradio_api/queue/join"])
@pytest.mark.parametrize("value", ["[]", "{}", "1"])
def test_a_request_of_very_many_values_is_refused_before_it_is_read(url, path, value):
    body = '{"data": [null], "parts": [' + ",".join([value] * border.MOST_VALUES) + "]}"
    answer = httpx.post(url + path, content=body, headers={"content-type": "application/json"}, trust_env=False)
    assert (answer.status_code, answer.json()) == (413, {"detail": border.TOO_MUCH})


def test_a_long_data_url_is_no_request_of_many_values(url):
    body = {"image": "data:image/png;base64," + "A" * 3_000_000}  # arrives in many pieces
    event = httpx.post(url + "/gradio_api/call/v2/search", json=body, trust_env=False).json()["event_id"]
    told = httpx.get(f"{url}/gradio_api/call/v2/search/{event}", trust_env=False).text
    assert "event: error" in told and "image" in told


def test_a_name_service_that_does_not_answer_delays_no_start(monkeypatch):
    asked, calls = threading.Event(), []
    monkeypatch.setattr(border.socket, "getfqdn", lambda: calls.append(1) or asked.wait(60) and "late.example")
    border._full_name.cache_clear()
    before = time.monotonic()
    try:
        assert border.names_of(None, None) == {"localhost", socket.gethostname().lower()}
        assert border.names_of("here", None) >= {"localhost", "here"} and len(calls) == 1  # it is not asked again
    finally:
        asked.set()
        border._full_name.cache_clear()
    assert time.monotonic() - before < 10


def test_a_space_may_frame_the_page(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/demo")
    rules = app.Place().rules()
    assert "https://huggingface.co" in border.policy(rules.frames) and rules.hosts is None
    names = [name for name, _ in border.Border(lambda *values: None, rules).headers]
    assert b"x-frame-options" not in names, "that header knows no list of origins"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Gradio-Server": "http://evil.example"},
    ],
)
def test_a_forwarded_header_changes_no_link(url, headers):
    plain, sent = get(url + "/config").json(), get(url + "/config", **headers).json()
    assert sent["root"] == plain["root"] == url
    assert "evil.example" not in get(url + "/", **headers).text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "[::1", "a b"])
def test_a_foreign_host_is_refused_in_a_sentence(url, host):
    answer = get(url + "/config", Host=host)
    assert answer.status_code == 400 and "--root-path" in answer.text and "evil" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:80", "192.168.1.20"])
def test_its_own_names_and_addresses_are_answered(url, host):
    assert get(url + "/config", Host=host).status_code == 200


def test_the_root_comes_from_the_option(tiny_engine):
    started = served(tiny_engine, app.Place("127.0.0.1", root_path="https://example.org/reid"))
    try:
        address = started.local_url.rstrip("/")
        for headers in ({}, {"Host": "example.org"}, {"X-Forwarded-Host": "evil.example"}):
            assert get(address + "/config", **headers).json()["root"] == "https://example.org/reid"
        assert get(address + "/config", Host="evil.example").status_code == 400
    finally:
        started.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/config"),
        ("GET", "/gradio_api/info"),
        ("POST", "/gradio_api/call/v2/gallery_info"),
        ("POST", "/gradio_api/queue/join"),
        ("GET", "/gradio_api/queue/data?session_hash=x"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/component_server"),
        ("GET", "/gradio_api/file=/etc/hostname"),
        ("POST", "/gradio_api/mcp/"),
        ("GET", "/gradio_api/heartbeat/x"),
        ("GET", "/theme.css"),
    ],
)
def test_a_login_guards_everything_alike(locked, method, path):
    wrong = {"Authorization": "Basic " + base64.b64encode(b"ana:secret").decode()}
    for headers in ({}, wrong, {"Authorization": "Bearer x"}, {"Authorization": "Basic %%%"}):
        answer = httpx.request(method, locked + path, headers=headers, json={}, trust_env=False, verify=False)
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic")


def test_with_the_login_page_and_api_answer(locked, tiny_engine):
    assert get(locked + "/", **BASIC).status_code == 200
    client = Client(locked, verbose=False, headers=BASIC)
    probe = str(tiny_engine.examples[0].path)
    assert len(client.predict(image=handle_file(probe), top_k=2, api_name="/search")["matches"]) == 2


def test_a_login_is_name_and_password_and_no_error_repeats_one():
    assert LOGIN.admits(BASIC["Authorization"]) and "secret" not in repr(LOGIN)
    assert LOGIN.admits("basic " + base64.b64encode(b"bo:x:y").decode())
    assert not LOGIN.admits("Basic " + base64.b64encode(b"nobody:").decode())
    for wrong in ("", "# none", "only-a-name", ":password", "name:"):
        with pytest.raises(ConfigError, match="--auth") as told:
            border.Login.read(wrong)
        assert "only-a-name" not in str(told.value)
    with pytest.raises(ConfigError, match="^REID_DEMO_LOGIN: line 1 is not"):
        border.Login.read("only-a-name", "REID_DEMO_LOGIN")


def test_a_call_over_http_leaves_nothing_behind(demo, url, tiny_engine):
    data = "data:image/png;base64," + base64.b64encode(Path(tiny_engine.examples[0].path).read_bytes()).decode()
    holder = demo.server_app.state_holder
    before = set(holder.session_data)
    for _ in range(3):
        name = httpx.post(f"{url}/gradio_api/call/v2/search", json={"image": data}).json()["event_id"]
        assert "event: complete" in httpx.get(f"{url}/gradio_api/call/v2/search/{name}", timeout=60).text
    wait_until(lambda: set(holder.session_data) == before)  # the last is dropped just after its client has its answer


def test_a_visit_is_forgotten_after_a_grace(demo, url, monkeypatch):
    import datetime

    holder = demo.server_app.state_holder
    holder["old"], holder["young"]
    long_ago = datetime.datetime.now() - datetime.timedelta(seconds=border.GRACE_S + 5)
    holder.time_last_used["old"] = long_ago
    with httpx.stream("GET", f"{url}/gradio_api/heartbeat/here", timeout=30) as beating:
        lines = beating.iter_lines()  # the connection lasts as long as this is held
        next(lines)
        mine = holder["here"]
        holder.time_last_used["here"] = long_ago  # a tab that was only looked at for long
        monkeypatch.setattr(border, "SWEEP_EVERY_S", 0)
        get(url + "/config")
        assert "old" not in holder.session_data and "young" in holder.session_data
        assert holder.session_data.get("here") is mine


def test_connections_tell_who_is_here_and_from_where():
    """A visit with two heartbeats ends with the second; the address is the proxy's word, not the client's."""
    told = []

    class Galleries:
        def arrive(self, visit, address):
            told.append(("here", visit, address))

        def part(self, visit):
            told.append(("gone", visit))

    release = [asyncio.Event(), asyncio.Event()]

    async def beat(scope, receive, send):
        await release[scope["number"]].wait()

    async def visit():
        guard = border.Border(beat, border.Rules(address_header="X-Forwarded-For"), Galleries())
        guard.swept = time.monotonic() + 99
        headers = [(b"x-forwarded-for", b"6.6.6.6, 10.0.0.9")]
        path = "/gradio_api/heartbeat/ann"
        scopes = [{"type": "http", "path": path, "headers": headers, "number": i} for i in (0, 1)]
        running = [asyncio.create_task(guard(scope, None, None)) for scope in scopes]
        await asyncio.sleep(0)
        release[0].set()
        await running[0]
        assert told == [("here", "ann", "10.0.0.9")] * 2
        release[1].set()
        await running[1]

    in_a_new_loop(visit())
    assert told[-1] == ("gone", "ann") and len(told) == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/process_recording"),
        ("GET", "/gradio_api/deep_link?session_hash=a"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/gradio_api/run-history/buckets"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/gradio_api/stream/a/1/1/playlist.m3u8"),
        ("GET", "/monitoring"),
        ("GET", "/dev/reload"),
    ],
)
def test_what_gradio_offers_beside_the_page_is_not_there(url, method, path):
    answer = httpx.request(method, f"{url}{path}", files={"video": b"film"} if method == "POST" else None, timeout=20)
    assert answer.status_code == 404 and "no such address" in answer.text


def test_no_call_goes_beside_the_queue(url, tiny_engine):
    data = "data:image/png;base64," + base64.b64encode(Path(tiny_engine.examples[0].path).read_bytes()).decode()
    for prefix in ("run", "api"):
        answer = httpx.post(f"{url}/gradio_api/{prefix}/search", json={"data": [{"url": data}, 5, "default", None]})
        assert answer.status_code in (401, 403, 404) and "matches" not in answer.text


def test_a_form_for_the_stages_own_calls_is_refused(url):
    """Gradio would write its files outside of this server's own folder, and leave them where a client hangs up."""
    answer = httpx.post(f"{url}/gradio_api/component_server", files={"files": ("a.jpg", b"x" * 1000)})
    assert answer.status_code == 415


def test_a_body_that_is_refused_is_not_repeated(url):
    for body in (
        '"' + "x" * 1_000_000 + '"',
        '{"data": [], "fn_index": "' + "y" * 1_000_000 + '"}',
        '{"fn_index": 1e400}',
    ):
        sent = httpx.post(f"{url}/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"})
        assert sent.status_code == 422 and len(sent.content) < 2000 and sent.json()["detail"][0]["msg"]


def test_a_body_that_is_too_long_is_refused(url, monkeypatch):
    monkeypatch.setattr(border, "MOST_BYTES", 1000)
    answer = httpx.post(f"{url}/gradio_api/cancel", json={"session_hash": "x" * 2000})
    assert (answer.status_code, answer.json()) == (413, {"detail": border.TOO_MUCH})


def test_a_second_content_type_lets_nobody_pass(url):
    """Gradio reads the first one."""
    headers = [("Content-Type", "application/json"), ("Content-Type", "multipart/form-data; boundary=x")]
    body = '{"data": [' + ",".join(["0"] * border.MOST_VALUES) + "]}"
    assert httpx.post(f"{url}/gradio_api/cancel", content=body, headers=headers).status_code == 413


@pytest.fixture
def slow(tiny_engine, monkeypatch):
    """Let describing take its time; return the sizes of the batches that were described, and what tells of the third.

    A sweep of 741 windows has 93 batches, which is half a minute.
    """
    real, batches, begun = tiny_engine.describer.describe, [], threading.Event()

    def slowly(images, **wanted):
        time.sleep(0.3)
        batches.append(len(images))
        if len(batches) > 3:
            begun.set()
        return real(images, **wanted)

    monkeypatch.setattr(tiny_engine.describer, "describe", slowly)
    return batches, begun


def sweep_of(tiny_engine) -> dict:
    data = "data:image/png;base64," + base64.b64encode(Path(tiny_engine.examples[0].path).read_bytes()).decode()
    return {"image": data, "size": 0.1, "stride": 0.05}


def assert_it_stops(batches: list) -> None:
    for _ in range(60):
        seen = len(batches)
        time.sleep(1)
        if len(batches) == seen:
            break
    assert len(batches) < 60, "it noticed within a few seconds and went no further"


@pytest.mark.parametrize("listens", [True, False], ids=["it listened for a while", "it never listened"])
def test_a_sweep_stops_when_its_client_has_left(url, tiny_engine, monkeypatch, slow, listens):
    monkeypatch.setattr(api, "UNHEARD_S", 1.5)
    (batches, two), fields = slow, sweep_of(tiny_engine)
    name = httpx.post(f"{url}/gradio_api/call/v2/sweep", json=fields).json()["event_id"]
    if listens:
        with httpx.stream("GET", f"{url}/gradio_api/call/v2/sweep/{name}", timeout=60):
            assert two.wait(20)
    assert two.wait(20)
    assert_it_stops(batches)


HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def by_mcp(name: str, arguments: dict) -> dict:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
def test_a_sweep_by_mcp_stops_when_its_client_has_left(url, tiny_engine, slow):
    batches, begun = slow
    call = by_mcp("sweep", sweep_of(tiny_engine))
    with httpx.stream("POST", f"{url}/gradio_api/mcp/", json=call, headers=HEADERS, timeout=60, trust_env=False):
        assert begun.wait(20)
    assert_it_stops(batches)


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
def test_a_sweep_by_mcp_stops_when_its_client_left_before_it_had_a_name(url, tiny_engine, slow):
    batches, begun = slow
    host, port = url.removeprefix("http://").split(":")
    sent = httpx.Request("POST", f"{url}/gradio_api/mcp/", json=by_mcp("sweep", sweep_of(tiny_engine)), headers=HEADERS)
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"POST /gradio_api/mcp/ HTTP/1.1\r\n{head}\r\n".encode() + sent.content)
    begun.wait(3)
    assert_it_stops(batches)


def test_an_answer_that_was_fetched_is_not_waited_for_again(url):
    name = httpx.post(f"{url}/gradio_api/call/gallery_info", json={"data": []}).json()["event_id"]
    place = f"{url}/gradio_api/call/gallery_info/{name}"
    assert "event: complete" in httpx.get(place, timeout=20).text
    with httpx.stream("GET", place, timeout=5) as again:
        assert "event: complete" not in "".join(again.iter_text()), "it ends at once"


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
def test_a_picture_that_an_mcp_client_sends_is_not_kept(url, tiny_engine):
    folder = workplace.of_this_process().folder
    fields = {"image": sweep_of(tiny_engine)["image"], "top_k": 1}
    before = set(folder.rglob("*"))
    for image, fails in ((fields["image"], "false"), ("data:text/html;base64,PGI+", "true"), ("/etc/passwd", "true")):
        call = by_mcp("search", {**fields, "image": image})
        answer = httpx.post(f"{url}/gradio_api/mcp/", json=call, headers=HEADERS, timeout=60, trust_env=False)
        assert f'"isError":{fails}' in answer.text
    assert set(folder.rglob("*")) == before


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
@pytest.mark.parametrize(
    ("root", "place"), [("https://example.org/reid", "https://example.org/reid"), ("/reid", "http://localhost/reid")]
)
def test_mcp_behind_a_proxy(tiny_engine, root, place):
    """The proxy takes the prefix away and passes the name that it was asked for."""
    started = served(tiny_engine, app.Place("127.0.0.1", root_path=root))
    host = "example.org" if "://" in root else "localhost"
    where = f"{started.local_url.rstrip('/')}/gradio_api/mcp"
    try:
        for address in (where, f"{where}/"):
            page = get(address, Host=host, Accept="text/html")
            assert page.status_code == 200 and f"{place}/gradio_api/mcp/" in page.text
            listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            answer = httpx.post(address, json=listed, headers={**HEADERS, "host": host}, timeout=20, trust_env=False)
            assert answer.status_code == 200 and "what_if" in answer.text
        with httpx.stream("GET", f"{where}/sse", headers={"host": host}, timeout=20, trust_env=False) as events:
            assert events.status_code == 200
            lines = events.iter_lines()
            found = next(line for line in lines if line.startswith("data:")).removeprefix("data:").strip()
            path = root.removeprefix("https://example.org")
            assert found.startswith(f"{path}/gradio_api/mcp/messages/?session_id=")
            own = f"{where}/messages/?session_id={found.rpartition('=')[2]}"
            sent = httpx.post(own, json=listed, headers={"host": host}, timeout=20, trust_env=False)
            assert sent.status_code == 202
    finally:
        started.close()


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
@pytest.mark.parametrize("message", ["{}", "[", '"' + "x" * 100_000 + '"'], ids=["empty", "cut", "long"])
def test_a_message_over_sse_that_is_none_is_one_line_of_the_log(url, capfd, caplog, message):
    with httpx.stream("GET", f"{url}/gradio_api/mcp/sse", timeout=20, trust_env=False) as events:
        lines = events.iter_lines()  # kept: the session ends with it
        found = next(line for line in lines if line.startswith("data:")).removeprefix("data:").strip()
        sent = httpx.post(f"{url}{found}", content=message, headers={"content-type": "application/json"})
        assert sent.status_code == 400
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Traceback" not in said and len(said) < 1500


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
def test_a_sweep_over_sse_is_whole_and_stops_when_its_client_has_left(url, tiny_engine, slow):
    from mcp import ClientSession
    from mcp.client.sse import sse_client

    batches, begun = slow

    async def visit(leaves: bool, **window) -> str:
        async with sse_client(f"{url}/gradio_api/mcp/sse") as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            call = asyncio.ensure_future(session.call_tool("sweep", {**sweep_of(tiny_engine), **window}))
            if not leaves:
                return (await call).content[0].text
            while not begun.is_set():
                await asyncio.sleep(0.1)
            call.cancel()
            return ""

    told = in_a_new_loop(visit(False, size=0.4, stride=0.3))
    assert "boxes" in told and "Stopped" not in told and len(batches) > 3  # longer than two looks for the client
    batches.clear()
    begun.clear()
    in_a_new_loop(visit(True))
    assert_it_stops(batches)


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
def test_nobody_waits_for_the_sweep_of_another_mcp_client(url, tiny_engine, slow):
    batches, begun = slow
    calls, where = sweep_of(tiny_engine), {"headers": HEADERS, "timeout": 60, "trust_env": False}
    with httpx.stream("POST", f"{url}/gradio_api/mcp/", json=by_mcp("sweep", calls), **where):
        assert begun.wait(20)
        call = by_mcp("search", {"image": calls["image"], "top_k": 1})
        answer = httpx.post(f"{url}/gradio_api/mcp/", json=call, **where).text
        seen = len(batches)
        time.sleep(1.5)
        assert '"isError":false' in answer and len(batches) > seen, "the sweep still went on"
    assert_it_stops(batches)


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("search", {"image": "data:,", "top_k": "x" * 3_000_000}),
        ("x" * 3_000_000, {}),
        ("search", {"image": "y" * 10**6}),
    ],
    ids=["a value", "a name", "a picture"],
)
def test_what_an_mcp_client_sends_is_not_repeated_whole(url, capfd, caplog, name, arguments):
    call = by_mcp(name, arguments)
    answer = httpx.post(f"{url}/gradio_api/mcp/", json=call, headers=HEADERS, timeout=60, trust_env=False)
    assert len(answer.text) < 1000 and '"isError":true' in answer.text
    said = "".join(capfd.readouterr()) + caplog.text
    assert len(said) < 2000 and "Traceback" not in said
