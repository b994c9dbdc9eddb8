"""The API over the real app on loopback: the examples of docs/API.md, the command line's numbers, named errors."""

import base64
import contextlib
import io
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from loops import in_a_new_loop

import app
from reid_demo.__main__ import main
from reid_demo.images import read_image
from reid_demo.serving import answers, budget
from reid_demo.serving import api_calls as handlers
from reid_demo.serving.mcp_calls import has_mcp
from reid_demo.whatif.sweep import FIRST

DOCS = Path(__file__).parents[2] / "docs" / "API.md"
ENDPOINTS = {"/search", "/explain", "/what_if", "/sweep", "/gallery_info"}


@pytest.fixture(scope="module")
def url(tiny_weights, tiny_gallery_folder, tiny_engine):
    """Serve the app as `python app.py` does; return its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        started = app.serve(tiny_engine, app.Place("127.0.0.1"), prevent_thread_lock=True, quiet=True)
        yield started.local_url.rstrip("/")
        started.close()


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


@pytest.fixture
def probe(tiny_engine) -> str:
    return str(tiny_engine.examples[0].path)


@pytest.fixture
def where(tiny_weights, tiny_gallery_folder, monkeypatch) -> list[str]:
    monkeypatch.setenv("REID_DEMO_RUNTIME", "torch")  # as the served engine: runtimes differ in the last digits
    return ["--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder), "--device", "cpu", "--json"]


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def command(capsys, *arguments: str):
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def call(url: str, name: str, **fields):
    """Call an endpoint over plain HTTP; return the kind of event and its data."""
    started = httpx.post(f"{url}/gradio_api/call/v2/{name}", json=fields, verify=False)
    if started.status_code != 200:
        return started.status_code, started.json()["detail"]
    said = httpx.get(f"{url}/gradio_api/call/v2/{name}/{started.json()['event_id']}", timeout=60, verify=False).text
    event, data = re.search(r"event: (complete|error)\ndata: (.*)", said).groups()
    return event, json.loads(data)


def data_url(path: str) -> str:
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def test_only_the_named_endpoints_are_public(client):
    told = client.view_api(return_format="dict")
    assert set(told["named_endpoints"]) == ENDPOINTS and not told["unnamed_endpoints"]
    search = told["named_endpoints"]["/search"]
    types = {p["parameter_name"]: p["python_type"]["type"] for p in search["parameters"]}
    assert types["image"] == "filepath" and types["top_k"] == "int" and "part_aware" in types["weighing"]
    assert "similarity: float" in search["returns"][0]["python_type"]["type"]


def test_the_python_example_runs(url, probe, tmp_path, monkeypatch):
    shutil.copy(probe, tmp_path / "person.jpg")
    monkeypatch.chdir(tmp_path)
    source = next(text for text in examples("python") if "gradio_client" in text)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(source.replace("http://127.0.0.1:7860", url), {})
    lines = printed.getvalue().splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["1", "2", "3"] and lines[3].startswith("[(")


def test_the_engine_example_runs(tiny_weights, tiny_gallery_folder, probe, tmp_path, monkeypatch, capsys):
    shutil.copy(probe, tmp_path / "person.jpg")
    (tmp_path / "photos").mkdir()
    shutil.copy(probe, tmp_path / "photos" / "one.png")
    monkeypatch.chdir(tmp_path)
    load, index = (text for text in examples("python") if "gradio_client" not in text)
    load = load.replace("Engine.load()", f"Engine.load({str(tiny_weights)!r}, {str(tiny_gallery_folder)!r}, 'cpu')")
    names: dict = {}
    exec(load + index, names)
    assert len(capsys.readouterr().out.splitlines()) >= 5 and names["report"].total == 1


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "base64"))), reason="needs bash, curl and base64")
def test_the_http_example_runs(url, probe, tmp_path, client):
    shutil.copy(probe, tmp_path / "person.jpg")
    source = examples("sh")[0].replace("http://127.0.0.1:7860", url)
    said = subprocess.run(["bash", "-c", source], cwd=tmp_path, capture_output=True, text=True, timeout=120).stdout
    event, data = re.search(r"event: (\w+)\ndata: (.*)", said).groups()
    wanted = client.predict(image=handle_file(probe), top_k=3, api_name="/search")
    assert event == "complete" and json.loads(data) == [wanted] and len(wanted["matches"]) == 3


def test_search_and_explain_equal_the_command_line(client, url, where, probe, capsys, tmp_path):
    options = {"top_k": 4, "weighing": "adaptive", "parts": ["global", "2", "5"]}
    found = client.predict(image=handle_file(probe), **options, api_name="/search")
    flags = ["--top-k", "4", "--adaptive", "--parts", "global", "2", "5"]
    assert [{"probe": probe, **answers.with_paths(found)}] == command(capsys, "search", probe, *where, *flags)
    assert call(url, "search", image=data_url(probe), **options) == ("complete", [found])

    old, new = (call(url, "search", image=data_url(probe), weighing=name) for name in ("plain", "cosine"))
    assert old == new and new[0] == "complete"

    why = client.predict(image=handle_file(probe), rank=2, weighing="part_aware", api_name="/explain")
    printed = command(
        capsys, "explain", probe, *where, "--rank", "2", "--part-aware", "--out", str(tmp_path / "explained")
    )
    assert answers.with_paths(why) == {key: value for key, value in printed.items() if key != "files"}


def test_what_if_and_sweep_equal_the_command_line(client, where, probe, capsys):
    recipe = [{"kind": "lower_half", "fill": "black"}]
    change = client.predict(image=handle_file(probe), recipe=recipe, top_k=3, api_name="/what_if")
    printed = command(capsys, "search", probe, *where, "--occlude", "lower_half", "--fill", "black", "--top-k", "3")
    rows = answers.with_paths(change["after"])
    for row, told in zip(rows, printed[0]["matches"], strict=True):
        assert (row["path"], row["pid"]) == (told["path"], told["pid"])
        assert row["similarity"] == pytest.approx(told["similarity"], abs=1e-5)
    listed = {row["image"] for row in (*change["before"], *change["after"])}
    assert {move["image"] for move in change["moves"]} == listed

    options = {"rank": 2, "size": 0.5, "stride": 0.5, "fill": "black"}
    swept = client.predict(image=handle_file(probe), **options, api_name="/sweep")
    flags = [f"--{name}={value}" for name, value in options.items()]
    assert answers.with_paths(swept) == command(capsys, "sweep", probe, *where, *flags)


def test_gallery_info_equals_info(client, where, capsys):
    told = client.predict(api_name="/gallery_info")
    printed = command(capsys, "info", *where)
    assert told["images"] == printed["gallery_images"] == 18 and told["people"] == printed["gallery_pids"] == 6
    same = ("gallery", "exact", "created", "fingerprint", "weights", "variant", "device", "weighing", "terms")
    assert {name: told[name] for name in same} == {name: printed[name] for name in same}


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("search", {"top_k": 0}, "top_k must be a whole number from 1 to 1000, not 0"),
        ("search", {"top_k": 2.5}, "top_k must be"),
        ("search", {"top_k": "7"}, "top_k must be"),
        ("search", {"top_k": True}, "top_k must be"),
        ("search", {"weighing": "heavy"}, "weighing must be one of default, cosine"),
        ("search", {"parts": "global"}, "parts must be a list"),
        ("search", {"parts": ["left leg"]}, "parts: there is no part 'left leg'"),
        ("search", {"image": None}, "image: upload a file"),
        ("search", {"image": "person.jpg"}, "image: upload a file"),
        ("search", {"image": {"path": "/etc/hostname"}}, "image: upload the file first"),
        ("search", {"image": "data:image/png;base64,%%%"}, "image: the data URL is not base64"),
        ("search", {"image": "data:image/png;base64,aGVsbG8="}, "image: This file is not an image"),
        ("explain", {"rank": 19}, "rank must be a whole number from 1 to 18"),
        ("what_if", {"recipe": []}, "recipe must be a list of changes"),
        ("what_if", {"recipe": [{"kind": "left_leg"}]}, "recipe: Unknown occlusion 'left_leg'"),
        ("what_if", {"recipe": [{"kind": "box", "box": "all"}]}, "recipe: "),
        ("what_if", {"recipe": [{"kind": "lower_half"}] * 21}, "recipe holds 21 changes"),
        ("sweep", {"size": 0.01}, "size must be a number from 0.1 to 1"),
        ("sweep", {"stride": None}, "stride must be a number"),
        ("sweep", {"fill": "gold"}, "fill must be one of"),
    ],
)
def test_a_wrong_value_is_a_sentence_that_names_the_field(url, probe, name, fields, words):
    event, told = call(url, name, **{"image": data_url(probe), **fields})
    assert event == "error" and words in told["error"] and "\n" not in told["error"]


@pytest.mark.parametrize("path", ["/etc/hostname", "/none/there.jpg", "~/x.jpg", "", ".", 5, None, ["/etc/hostname"]])
def test_a_file_of_the_server_is_refused_in_words(url, path):
    """Name the file like a client that claims to have uploaded it; Gradio alone would answer with a null error."""
    for image in ({"path": path, "meta": {"_type": "gradio.FileData"}}, {"path": path}):
        event, told = call(url, "search", image=image)
        assert event == "error" and told["error"].startswith("image: upload ") and told["error"].endswith(".")


def test_fields_that_are_missing_or_unknown_are_named(url, probe):
    status, told = call(url, "search", top_k=3)
    assert status == 422 and "image" in told
    status, told = call(url, "search", image=data_url(probe), top=3)
    assert status == 422 and "`top`" in told
    assert call(url, "fly", image=data_url(probe))[0] == 404


def test_no_address_is_fetched(client, url):
    """Offer an address on a server that records requests: neither the API nor a component sends one."""
    asked = []

    class Bait(threading.Thread):
        def __init__(self):
            import socket

            super().__init__(daemon=True)
            self.socket = socket.create_server(("127.0.0.1", 0))
            self.port = self.socket.getsockname()[1]

        def run(self):
            with contextlib.suppress(OSError):
                while True:
                    asked.append(self.socket.accept())

    bait = Bait()
    bait.start()
    named = f"http://127.0.0.1:{bait.port}/x.png"
    with pytest.raises(AppError, match="fetches no address"):
        client.predict(image={"path": named, "meta": {"_type": "gradio.FileData"}}, api_name="/search")
    for image in ({"path": named, "meta": {"_type": "gradio.FileData"}}, {"url": named}, {"path": named}, named):
        event, told = call(url, "search", image=image)
        assert event == "error" and "image" in told["error"]
    bait.socket.close()
    assert asked == []


def test_checks_of_numbers():
    assert handlers.whole("k", 4.0, 1, 9) == 4
    for wrong in (float("nan"), float("inf"), None, [1]):
        with pytest.raises(handlers.ConfigError, match="k must be a whole number from 1 to 9"):
            handlers.whole("k", wrong, 1, 9)


def test_the_probe_of_a_call_is_read_as_everywhere(tiny_engine, client, probe):
    found = client.predict(image=handle_file(probe), api_name="/search")
    assert found == answers.search(tiny_engine, read_image(probe))


@pytest.mark.skipif(not has_mcp(), reason="gradio[mcp] is not installed")
def test_the_endpoints_are_mcp_tools(url, probe):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def visit():
        async with streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                tools = [tool.name for tool in (await session.list_tools()).tools]
                return tools, await session.call_tool("search", {"image": data_url(probe), "top_k": 0})

    tools, told = in_a_new_loop(visit())
    assert set(tools) == {name.strip("/") for name in ENDPOINTS}
    assert told.isError and "top_k must be" in told.content[0].text


# Each row is one bad input and what its sentence must say: add a row for every one that is found.
BAD_INPUTS = [
    ("search", {"top_k": 10**400}, "top_k must be a whole number from 1 to 1000"),
    ("search", {"top_k": [[[[1]]]]}, "top_k must be"),
    ("search", {"weighing": ["cosine"]}, "weighing must be one of"),
    ("search", {"weighing": "adaptive,part_aware"}, "weighing must be one of"),
    ("search", {"parts": ["7" * 5000]}, "parts: there is no part '7777"),
    ("search", {"parts": {"global": True}}, "parts must be a list"),
    ("search", {"parts": [["global"]]}, "parts: there is no part"),
    ("explain", {"rank": 1e308}, "rank must be"),
    ("sweep", {"size": 1e308}, "size must be a number"),
    ("sweep", {"fill": {"a": 1}}, "fill must be one of"),
    ("what_if", {"recipe": {"kind": "centre"}}, "recipe must be a list"),
    *(
        ("what_if", {"recipe": [{"kind": "random_block", "seed": seed}]}, "recipe: seed")
        for seed in (-1, "x", 1.5, [1], None, 10**400)
    ),
    *(
        ("what_if", {"recipe": [{"kind": "random_block", "coverage": share}]}, "recipe: ")
        for share in (True, "1", None, 0, 2)
    ),
    *(
        ("what_if", {"recipe": [{"kind": "box", "box": box}]}, "recipe: ")
        for box in ("0011", [0, 0, 1], [0, 0, 1, True], [0, 0, "1", 1], {"x": 1}, [1, 1, 0, 0])
    ),
    *(("what_if", {"recipe": [{"kind": "brush", "mask_png": mask}]}, "recipe: mask_png") for mask in (5, [1], {})),
    ("what_if", {"recipe": [{"kind": "brush", "mask_png": "%%"}]}, "The painted mask"),
    ("what_if", {"recipe": [{"kind": "centre", "colour": 1}]}, "recipe: colour"),
    ("what_if", {"recipe": [{}]}, "recipe: kind"),
    ("what_if", {"recipe": [{"kind": "centre"}, {"kind": "centre", "seed": -1}]}, "recipe: change 2: seed"),
]


@pytest.mark.parametrize(("name", "fields", "words"), BAD_INPUTS, ids=range(len(BAD_INPUTS)))
def test_no_bad_input_is_without_its_sentence(url, probe, name, fields, words):
    event, told = call(url, name, **{"image": data_url(probe), **fields})
    assert event == "error" and words in told["error"] and "\n" not in told["error"] and len(told["error"]) < 400


@pytest.mark.parametrize(("name", "field"), [("search", "top_k"), ("explain", "rank"), ("sweep", "size")])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_sentences(url, probe, name, field, number):
    body = json.dumps({"image": data_url(probe), field: 12345}).replace("12345}", f"{number}}}")
    answer = httpx.post(f"{url}/gradio_api/call/v2/{name}", content=body, headers={"content-type": "application/json"})
    if answer.status_code == 200:
        said = httpx.get(f"{url}/gradio_api/call/v2/{name}/{answer.json()['event_id']}", timeout=60, verify=False).text
        assert f"{field} must be a" in said and "event: error" in said
    else:
        assert answer.status_code in (400, 422) and answer.json()["detail"]


def test_a_mask_that_unpacks_to_gigabytes_is_refused(url, probe):
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side, words in ((5_000, "more than 16 megapixels"), (60_000, "too large")):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(5_000 * 626))) + chunk(b"IEND", b"")
        change = {"kind": "brush", "mask_png": base64.b64encode(png).decode()}
        event, told = call(url, "what_if", image=data_url(probe), recipe=[change])
        assert event == "error" and "mask" in told["error"] and words in told["error"]


def test_deep_json_is_a_sentence(url, probe):
    body = '{"image": "x", "recipe": ' + "[" * 100_000 + "]" * 100_000 + "}"
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{url}/gradio_api/call/v2/what_if", content=body, headers=headers)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]


def test_a_failure_of_ours_is_a_sentence_too(url, probe, tiny_engine, monkeypatch):
    def broken(images):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(tiny_engine.describer, "describe", broken)
    event, told = call(url, "search", image=data_url(probe))
    assert event == "error" and "Something went wrong on the server" in told["error"] and "inside" not in told["error"]


def test_a_picture_of_thousands_of_windows_is_refused_before_the_work(url, tmp_path):
    from PIL import Image

    Image.new("RGB", (60, 1200)).save(tmp_path / "long.png")
    event, told = call(url, "sweep", image=data_url(tmp_path / "long.png"), size=0.1, stride=0.05)
    assert event == "error" and told["error"].startswith("stride: ") and "at most 1000" in told["error"]


def test_a_sweep_past_its_time_answers_with_what_it_has(url, probe, monkeypatch):
    _, (whole,) = call(url, "sweep", image=data_url(probe), stride=0.2)
    monkeypatch.setattr(budget, "SWEEP_S", 0)
    event, (cut,) = call(url, "sweep", image=data_url(probe), stride=0.2)
    assert event == "complete" and len(cut["boxes"]) == FIRST < len(whole["boxes"])
    done, total = len(cut["boxes"]), len(whole["boxes"])
    assert cut["warning"] == f"Stopped after 0 s: {done} of {total} windows were tried, coarse ones first."
    assert "warning" not in whole
    assert cut["boxes"] == whole["boxes"][:FIRST]
    assert cut["similarity_change"] == pytest.approx(whole["similarity_change"][:FIRST], abs=1e-6)
    assert cut["rank_change"] == whole["rank_change"][:FIRST]


def grey_url(path: str) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(path).convert("L").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("name", "fields"),
    [("search", {}), ("explain", {}), ("what_if", {"recipe": [{"kind": "lower_half"}]}), ("sweep", {"stride": 1})],
)
def test_a_probe_without_colour_is_warned_of(url, probe, name, fields):
    _, (grey,) = call(url, name, image=grey_url(probe), **fields)
    _, (whole,) = call(url, name, image=data_url(probe), **fields)
    assert grey["warning"] == answers.NO_COLOUR and "warning" not in whole


def test_the_command_line_warns_of_a_probe_without_colour(where, probe, tmp_path, capsys):
    from PIL import Image

    Image.open(probe).convert("L").save(tmp_path / "grey.png")
    assert main(["search", str(tmp_path / "grey.png"), probe, *where]) == 0
    said = capsys.readouterr()
    first, second = json.loads(said.out)
    assert first["warning"] == answers.NO_COLOUR and "warning" not in second
    assert said.err.count(answers.NO_COLOUR) == 1 and "grey.png: This probe has no colour" in said.err


def test_changes_past_their_time_are_left_out_and_it_is_said(url, probe, monkeypatch):
    recipe = [{"kind": "upper_third"}, {"kind": "lower_third", "fill": "noise"}, {"kind": "centre"}]
    _, (first,) = call(url, "what_if", image=data_url(probe), recipe=recipe[:1])
    monkeypatch.setattr(budget, "CHANGES_S", 0)
    _, (cut,) = call(url, "what_if", image=data_url(probe), recipe=recipe)
    assert cut.pop("warning") == "Stopped after 0 s: 1 of 3 changes were made."
    assert cut == first, "what was made is answered"
