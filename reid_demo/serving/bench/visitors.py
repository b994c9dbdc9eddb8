"""Visits of a page over HTTP, as browsers make them: one, or a crowd in a process of its own.

A visitor's browser does not take its time from the server's process, so neither may one that is timed.
"""

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import httpx

WAIT_S = 120


class Visitor:
    """One visit."""

    def __init__(self, url: str, name: str = "") -> None:
        """Start a visit of its own, or the one of a name."""
        self.url, self.name = url.rstrip("/") + "/gradio_api", name or uuid.uuid4().hex
        self.http = httpx.Client(timeout=WAIT_S, trust_env=False, verify=False)  # of this machine, without TLS

    def join(self, number: int, data: list, event_data: dict | None = None) -> str:
        """Queue an event of the listener of this number; return the event's name."""
        body = {"data": data, "fn_index": number, "session_hash": self.name, "event_data": event_data}
        answer = self.http.post(f"{self.url}/queue/join", json=body)
        answer.raise_for_status()
        return answer.json()["event_id"]

    def messages(self) -> Iterator[dict]:
        """Yield the server's messages to this visit until it has no more."""
        with self.http.stream("GET", f"{self.url}/queue/data", params={"session_hash": self.name}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def ask(self, number: int, data: list, event_data: dict | None = None) -> list:
        """Queue an event and wait for its outputs.

        Raises:
            RuntimeError: the page answered with an error, or never.
        """
        event = self.join(number, data, event_data)
        for message in self.messages():
            if message.get("event_id") == event and message["msg"] == "process_completed":
                if not message["success"]:
                    raise RuntimeError(f"The page failed: {message['output']}")
                return message["output"]["data"]
        raise RuntimeError("The page never answered.")

    def stop(self, number: int, event: str) -> None:
        """Cancel an event, as the page's stop buttons do."""
        body = {"session_hash": self.name, "fn_index": number, "event_id": event}
        self.http.post(f"{self.url}/cancel", json=body).raise_for_status()


@dataclass(frozen=True)
class Ask:
    """What one visitor of a crowd asks: an event of a listener, with its inputs."""

    visitor: str  # the visit's name
    number: int
    data: list
    event_data: dict


@dataclass(frozen=True)
class Answer:
    """What a visitor got, and how long it took; `outputs` is None where there was no answer."""

    seconds: float
    outputs: list | None


class Crowd:
    """Visitors of one page in a process of their own; a context manager."""

    def __init__(self, url: str) -> None:
        """Start the process."""
        command = [sys.executable, "-m", __name__, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Crowd":
        """Return it as it is."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(WAIT_S)

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        """Let each of several visitors ask at the same moment; return their answers in order.

        Raises:
            RuntimeError: the process has ended.
        """
        print(json.dumps([asdict(ask) for ask in asks]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The visitors' process has ended.")
        return [Answer(**answer) for answer in json.loads(line)]


def _ask_at_once(visitors: dict[str, Visitor], url: str, asks: list[Ask]) -> list[Answer]:
    begin = threading.Barrier(len(asks))
    for ask in asks:
        if ask.visitor not in visitors:
            visitors[ask.visitor] = Visitor(url, ask.visitor)

    def one(ask: Ask) -> Answer:
        visitor = visitors[ask.visitor]
        begin.wait()
        start = time.perf_counter()
        try:
            outputs = visitor.ask(ask.number, ask.data, ask.event_data)
        except (httpx.HTTPError, RuntimeError):
            outputs = None
        return Answer(time.perf_counter() - start, outputs)

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(one, asks))


def _main(url: str) -> None:
    """Serve a `Crowd`: each line on standard input holds asks, each on standard output their answers."""
    visitors = {}
    for line in sys.stdin:
        answers = _ask_at_once(visitors, url, [Ask(**ask) for ask in json.loads(line)])
        print(json.dumps([asdict(answer) for answer in answers]), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
