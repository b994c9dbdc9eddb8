"""Options of `app.py`: flags, their environment variables, and errors of one sentence."""

import inspect

import pytest

import app
from reid_demo.engine import Engine
from reid_demo.serving.startup import without_type_stubs


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("WEIGHTS", "GALLERY", "DEVICE", "HOST", "PORT", "SHARE"):
        monkeypatch.delenv(f"REID_DEMO_{name}", raising=False)


def test_nothing_is_set_by_default():
    options = vars(app.parse_arguments([]))
    assert options == {name: None for name in ("weights", "gallery", "device", "host", "port")} | {"share": False}


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


def test_the_page_is_built_and_nothing_is_started(tiny_engine):
    assert not app.create_demo(tiny_engine).is_running


def test_gradio_is_imported_without_refreshing_its_type_stubs():
    class OfGradio:
        __module__ = "gradio.components.somewhere"

    real = inspect.getfile
    with without_type_stubs():
        with pytest.raises(OSError, match="stubs"):
            inspect.getfile(OfGradio)
        assert inspect.getfile(Engine) == real(Engine)
    assert inspect.getfile is real
