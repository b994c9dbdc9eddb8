"""The options of `app.py`: flags, environment variables, and errors of one sentence."""

import functools
import inspect
import io
import sys

import pytest

import app
from reid_demo.engine import Engine
from reid_demo.errors import ConfigError
from reid_demo.serving import workplace
from reid_demo.serving.gradio_patches import without_type_stubs

OPTIONS = ("weights", "gallery", "device", "host", "port", "runtime", "root_path", "auth", "address_header")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in (*OPTIONS, "share", "login"):
        monkeypatch.delenv(f"REID_DEMO_{name.upper()}", raising=False)


@pytest.fixture(autouse=True)
def own_workplace(monkeypatch):
    """Let `main` remove a folder of its own at its end, not the one of a server that other tests share."""
    monkeypatch.setattr(workplace, "of_this_process", functools.cache(workplace.of_this_process.__wrapped__))


def test_nothing_is_set_by_default():
    options = vars(app.parse_arguments([]))
    assert options == {name: None for name in OPTIONS} | {"share": False}


def test_flags_override_variables(monkeypatch):
    for name, value in (("WEIGHTS", "w"), ("GALLERY", "g"), ("DEVICE", "cpu"), ("HOST", "h"), ("PORT", "1234")):
        monkeypatch.setenv(f"REID_DEMO_{name}", value)
    monkeypatch.setenv("REID_DEMO_SHARE", "1")
    assert vars(app.parse_arguments(["--host", "127.0.0.1", "--port", "80"])) == {
        "weights": "w",
        "gallery": "g",
        "device": "cpu",
        "host": "127.0.0.1",
        "port": 80,
        "runtime": None,
        "root_path": None,
        "auth": None,
        "address_header": None,
        "share": True,
    }
    assert app.parse_arguments([]).port == 1234


@pytest.mark.parametrize("port", ["eighty", "70000", "-1", "8.5"])
def test_a_port_that_is_none_is_one_clear_error(monkeypatch, capsys, port):
    monkeypatch.setenv("REID_DEMO_PORT", port)
    with pytest.raises(SystemExit) as stopped:
        app.parse_arguments([])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "REID_DEMO_PORT" in lines[-1] and port in lines[-1] and "Traceback" not in "".join(lines)


def test_empty_variables_are_not_set(monkeypatch):
    monkeypatch.setenv("REID_DEMO_PORT", "")
    monkeypatch.setenv("REID_DEMO_SHARE", "no")
    options = app.parse_arguments([])
    assert options.port is None and options.share is False


def test_missing_weights_stop_with_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match="error: The weights folder"):
        app.main(["--weights", str(tmp_path)])


def test_no_character_ends_the_app_on_a_narrow_console(tmp_path, monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", shown)
    with pytest.raises(SystemExit):
        app.main(["--weights", str(tmp_path)])
    print("\U0001f528 \u4eba", flush=True)
    assert shown.buffer.getvalue() == b"\\U0001f528 \\u4eba\n"


def test_the_page_is_built_and_nothing_is_started(tiny_engine):
    assert not app.create_demo(tiny_engine).is_running


@pytest.mark.skipif(app.resource is None, reason="this system has no such limit")
def test_a_crowd_finds_open_files_enough():
    kind = app.resource.RLIMIT_NOFILE
    before = app.resource.getrlimit(kind)
    try:
        app.resource.setrlimit(kind, (512, before[1]))
        app._open_many_files()
        assert 512 < app.resource.getrlimit(kind)[0] <= app.MOST_OPEN and app.resource.getrlimit(kind)[1] == before[1]
    finally:
        app.resource.setrlimit(kind, before)


def test_gradio_is_imported_without_refreshing_its_type_stubs():
    class OfGradio:
        __module__ = "gradio.components.somewhere"

    real = inspect.getfile
    with without_type_stubs():
        with pytest.raises(OSError, match="stubs"):
            inspect.getfile(OfGradio)
        assert inspect.getfile(Engine) == real(Engine)
    assert inspect.getfile is real


def test_a_variable_may_begin_with_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WEIGHTS", "GALLERY", "AUTH"):
        monkeypatch.setenv(f"REID_DEMO_{name}", "~/here")
    options = app.parse_arguments([])
    assert options.weights == options.gallery == options.auth == str(tmp_path / "here")


def test_options_of_the_server_become_its_place(tmp_path, monkeypatch):
    (tmp_path / "people").write_text("ana:secret\n")
    flags = ["--root-path", "https://example.org/reid", "--auth", str(tmp_path / "people"), "--host", "::1"]
    place = app.place_of(app.parse_arguments(flags))
    assert (place.host, place.root_path) == ("::1", "https://example.org/reid") and place.login is not None
    assert {"localhost", "::1", "example.org"} <= place.rules().hosts
    monkeypatch.setenv("REID_DEMO_LOGIN", "ana:secret")
    assert app.place_of(app.parse_arguments([])).login is not None
    for wrong, words in ((["--root-path", "reid"], "--root-path"), (["--auth", str(tmp_path)], "--auth")):
        with pytest.raises(ConfigError, match=words):
            app.place_of(app.parse_arguments(wrong))
