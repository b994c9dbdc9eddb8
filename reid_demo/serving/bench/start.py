"""The start of the page in a process of its own: until its first list is there, and the memory it holds then."""

import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import httpx

from reid_demo.errors import ReidError
from reid_demo.serving.bench.rows import Row, Timing, of

APP = Path(__file__).resolve().parent.parent.parent.parent / "app.py"
MOST_S = 120.0
AIMS = {"s": 6.0, "GB": 1.0}


def bench_start(options: Sequence[str] = (), repeats: int = 5) -> list[Row]:
    """Start the page several times, after once to warm the disk, and open it each time.

    Args:
        options: of `app.py`, without host and port.
        repeats: starts that count.

    Returns:
        Rows beside the aims: seconds to the first list, and GB of resident memory then (on Linux).

    Raises:
        ReidError: the page does not start.
    """
    _start(options)
    found = [_start(options) for _ in range(repeats)]
    rows = []
    for unit, what in (("s", "start, to the first list"), ("GB", "memory of the page at rest")):
        values = [one[unit] for one in found if unit in one]
        if values:
            known = Timing.of(values)
            spread = known.median_s, known.low_s, known.high_s
            rows.append(of(f"{what}; beside the aim", unit, spread, AIMS[unit], ratio=AIMS[unit] / known.median_s))
    return rows


def _start(options: Sequence[str]) -> dict[str, float]:
    """Return seconds and memory of one start, by their units."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, str(APP), *options, "--host", "127.0.0.1", "--port", port]
    start = time.perf_counter()
    page = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=MOST_S, trust_env=False) as http:
            _open(http, page, start)
        found = {"s": time.perf_counter() - start}
        status = Path(f"/proc/{page.pid}/status")
        if status.is_file():
            resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
            found["GB"] = int(resident.split()[1]) * 1024 / 1e9
        return found
    finally:
        page.terminate()
        page.wait(MOST_S)


def _open(http: httpx.Client, page: subprocess.Popen, start: float) -> None:
    """Open the page as a browser does, and wait for what it opens with."""
    while True:
        try:
            config = http.get("/config")
            break
        except httpx.TransportError as error:
            if page.poll() is not None or time.perf_counter() - start > MOST_S:
                raise ReidError("The page did not start. Start it with `python app.py`, which says why.") from error
            time.sleep(0.02)
    listeners = config.raise_for_status().json()["dependencies"]
    load = next(one["id"] for one in listeners if any(event == "load" for _, event in one["targets"]))
    visit = uuid.uuid4().hex
    body = {"data": [None], "fn_index": load, "session_hash": visit}
    http.post("/gradio_api/queue/join", json=body).raise_for_status()
    with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": visit}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and json.loads(line[5:])["msg"] == "process_completed":
                return
    raise ReidError("The page closed the connection of its first visitor.")
