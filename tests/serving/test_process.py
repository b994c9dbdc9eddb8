"""The server as a process: it starts in difficult environments, and removes visitors' files when it ends."""

import base64
import io
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from pages import opened
from PIL import Image

import app
from reid_demo.errors import ConfigError
from reid_demo.serving import workplace

PROJECT = Path(__file__).parents[2]


def start(tiny_weights, tiny_gallery_folder, temporary: Path, *options: str, **variables: str):
    """Start `python app.py` with its own temporary folder; return the process and its address."""
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    taken.close()
    environment = {**os.environ, "TMPDIR": str(temporary), "GRADIO_ANALYTICS_ENABLED": "False", "OMP_NUM_THREADS": "1"}
    environment.pop("GRADIO_TEMP_DIR", None)
    arguments = ["--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder), "--device", "cpu"]
    running = subprocess.Popen(
        [sys.executable, "app.py", *arguments, "--port", str(port), *options],
        cwd=PROJECT,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    for line in running.stdout:
        said.append(line)
        if found := re.search(r"http://\S+", line):
            return running, found[0].rstrip("/")
    raise AssertionError("".join(said))


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def ended(running: subprocess.Popen, number: int) -> int:
    running.send_signal(number)
    return running.wait(20)


def test_nothing_of_a_visitor_outlives_the_server(tiny_weights, tiny_gallery_folder, tmp_path, tiny_engine):
    where = tiny_weights, tiny_gallery_folder, tmp_path
    proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    running, url = start(*where, PYTHONIOENCODING="cp1252", **proxy)
    assert httpx.get(url, trust_env=False).status_code == 200, "neither a proxy nor a narrow console stops it"
    files = {"files": ("me.png", b"a picture", "image/png")}
    kept = httpx.post(f"{url}/gradio_api/upload", files=files, trust_env=False).json()
    uploaded = Path(kept[0])
    assert uploaded.read_bytes() == b"a picture" and uploaded.is_relative_to(tmp_path)
    assert stat.S_IMODE(uploaded.stat().st_mode) & 0o077 == 0
    opened(url)
    assert len(left_in(tmp_path)) > 10, "the pictures of the page's list"
    own = next(tmp_path.glob(f"{workplace.PREFIX}*"))
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert ended(running, signal.SIGKILL) and uploaded.exists(), "nobody can clean up after SIGKILL"

    running, url = start(*where, "--host", "::1") if socket.has_ipv6 and _ipv6() else start(*where)
    assert not uploaded.exists(), "the next start does"
    assert httpx.get(f"{url}/config", trust_env=False).status_code == 200
    httpx.post(f"{url}/gradio_api/upload", files=files, trust_env=False)
    assert left_in(tmp_path)
    for _ in range(3):  # work that is under way when the signal comes
        picture = "data:image/png;base64," + base64.b64encode(tiny_engine.examples[0].path.read_bytes()).decode()
        fields = {"image": picture, "size": 0.1, "stride": 0.05}
        httpx.post(f"{url}/gradio_api/call/v2/sweep", json=fields, trust_env=False).raise_for_status()
    begun = time.monotonic()
    assert ended(running, signal.SIGTERM) == 143 and time.monotonic() - begun < 15
    assert "terminate called" not in running.stdout.read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGHUP", "SIGTERM")])
def test_a_second_signal_does_not_interrupt_the_end(tiny_weights, tiny_gallery_folder, tmp_path, first, second):
    running, _ = start(tiny_weights, tiny_gallery_folder, tmp_path)
    running.send_signal(getattr(signal, first))
    time.sleep(0.05)
    assert ended(running, getattr(signal, second)) == 128 + getattr(signal, first)
    said = running.stdout.read()
    assert "Traceback" not in said and "terminate called" not in said, said
    assert list(tmp_path.iterdir()) == []


TOGETHER = """
import atexit, signal, threading, app
app._end_on_signals()
atexit.register(lambda: print("the end", flush=True))  # Python looks for signals while it writes
both = {signal.SIGHUP, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
for number in both:
    signal.pthread_kill(threading.get_ident(), number)
signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
"""


def test_two_signals_that_come_together_end_it_without_a_traceback():
    ended = subprocess.run(
        [sys.executable, "-c", TOGETHER], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (128 + signal.SIGHUP, "the end\n")


SWALLOWED = """
import contextlib, signal, sys
import app
load = app.Engine.load
def load_and_lose(*given):
    with contextlib.suppress(SystemExit):  # as native code does that calls Python while it makes a graph
        signal.raise_signal(signal.SIGTERM)
    return load(*given)
app.Engine.load = load_and_lose
app.run()
"""


def test_a_stop_that_other_code_loses_ends_the_start_all_the_same(tiny_weights, tiny_gallery_folder, tmp_path):
    where = ["--weights", tiny_weights, "--gallery", tiny_gallery_folder, "--device", "cpu"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "GRADIO_ANALYTICS_ENABLED": "False"}
    environment.pop("GRADIO_TEMP_DIR", None)
    ended = subprocess.run(
        [sys.executable, "-c", SWALLOWED, *where],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 143 and "http://" not in ended.stdout + ended.stderr, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_many_calls_do_not_fill_the_memory(tiny_weights, tiny_gallery_folder, tmp_path):
    """600 calls of four clients with pictures that differ; 300 of ten before warm up what every thread keeps once."""
    running, url = start(tiny_weights, tiny_gallery_folder, tmp_path, REID_DEMO_RUNTIME="torch")
    rng = np.random.default_rng(0)
    http = httpx.Client(trust_env=False, verify=False, timeout=60)  # one for all: making one takes longer than a call

    def call(number: int) -> None:
        buffer = io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 256, (16, 8, 3), np.uint8))  # noise would take longer than the call
        coarse.resize((256, 512)).save(buffer, "JPEG")
        body = {"image": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()}
        name = ("search", "what_if")[number % 2]
        if name == "what_if":
            body["recipe"] = [{"kind": "lower_half", "fill": "blur"}]
        address = f"{url}/gradio_api/call/v2/{name}"
        event = http.post(address, json=body).json()["event_id"]
        assert "event: complete" in http.get(f"{address}/{event}").text

    try:
        with ThreadPoolExecutor(10) as clients:  # more than then call, so that every thread has had its largest batch
            list(clients.map(call, range(300)))
        with ThreadPoolExecutor(4) as clients:
            before = resident_mb(running.pid)
            list(clients.map(call, range(600)))
        grown = resident_mb(running.pid) - before
        print(f"600 calls: {before:.0f} MB and {grown:+.1f} MB")
        assert grown < 50
    finally:
        ended(running, signal.SIGTERM)
    assert left_in(tmp_path) == []


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("this system has no /proc")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1]) / 1024


def _ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def said(tmp_path: Path, *options: str, **variables: str) -> str:
    """Run an app that cannot start; return its output."""
    done = subprocess.run(
        [sys.executable, "app.py", *options],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_taken_port_is_a_sentence_that_names_the_option(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"error: Port {port} is in use. Choose another: --port {port + 1}."
        assert said(tmp_path, "--port", str(port)) == sentence


def test_a_port_that_is_taken_at_the_last_moment_is_left_for_the_next(tiny_engine, monkeypatch):
    """Two pages that start at once find the same port free; the one that comes second goes on to another."""
    free, asked = app._free_port, []
    with socket.create_server(("127.0.0.1", 0)) as other:

        def meanwhile_taken(host):
            asked.append(other.getsockname()[1] if not asked else free(host))
            return asked[-1]

        monkeypatch.setattr(app, "_free_port", meanwhile_taken)
        demo = app.serve(tiny_engine, app.Place("127.0.0.1"), prevent_thread_lock=True, quiet=True)
    try:
        assert len(asked) == 2 and demo.local_url == f"http://127.0.0.1:{asked[1]}/"
        assert httpx.get(f"{demo.local_url}gradio_api/info").status_code == 200
    finally:
        demo.close()


def test_no_free_port_at_all_is_a_sentence(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(app.http_server, "INITIAL_PORT_VALUE", taken.getsockname()[1])
        monkeypatch.setattr(app.http_server, "TRY_NUM_PORTS", 1)
        with pytest.raises(ConfigError, match="None of the ports.*--port N"):
            app._free_port("127.0.0.1")


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_a_sentence(host):
    with pytest.raises(ConfigError, match="not an address of this machine.*--host"):
        app._check_free(app.Place(host))


def test_a_temporary_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written.*TMPDIR"):
        workplace.Workplace(tmp_path / "file" / "inside")


def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "example.org,localhost")
    monkeypatch.setenv("no_proxy", "")
    app._keep_loopback_off_the_proxy("10.1.2.3")
    assert os.environ["NO_PROXY"] == "example.org,localhost,10.1.2.3,127.0.0.1,::1"
    assert os.environ["no_proxy"] == "10.1.2.3,127.0.0.1,::1,localhost"


def test_a_server_that_lives_keeps_its_folder(tmp_path):
    first = workplace.Workplace(tmp_path)
    second = workplace.Workplace(tmp_path)
    assert first.folder.is_dir() and second.folder.is_dir() and first.folder != second.folder
    first.close()
    second.close()
    second.close()
    assert list(tmp_path.iterdir()) == []
