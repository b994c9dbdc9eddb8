"""The page over HTTP, as a browser asks for it."""

import json

import httpx


def config_of(url: str) -> dict:
    """Return the components and listeners of a page."""
    return httpx.get(f"{url.rstrip('/')}/config", trust_env=False, verify=False).json()


def opened(url: str) -> dict:
    """Open a page as a browser does; give what it shows by the names of components."""
    url, config = url.rstrip("/"), config_of(url)
    load = next(d for d in config["dependencies"] if ["load"] in [t[1:] for t in d["targets"]])
    body = {"data": [None] * len(load["inputs"]), "fn_index": load["id"], "session_hash": "reader"}
    httpx.post(f"{url}/gradio_api/queue/join", json=body, trust_env=False, verify=False).raise_for_status()
    with httpx.stream("GET", f"{url}/gradio_api/queue/data?session_hash=reader", timeout=60) as events:
        for line in events.iter_lines():
            event = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if event.get("msg") == "process_completed":
                assert event["success"], event
                names = {c["id"]: c["props"].get("elem_id") for c in config["components"]}
                shown = zip(load["outputs"], event["output"]["data"], strict=True)
                return {names[at]: value for at, value in shown}
    raise AssertionError("the page gave no answer")


def pictures_in(strip) -> list:
    """Return the pictures of a gallery component's value."""
    return strip["value"] if isinstance(strip, dict) else strip
