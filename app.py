"""Start the demo: `python app.py`."""

import argparse
import atexit
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from reid_demo.model import zerogpu
from reid_demo.serving import gradio_patches

try:
    import resource
except ImportError:  # Windows
    resource = None
zerogpu.prepare()  # before torch, which the next lines import
with gradio_patches.quick_import():
    from gradio import http_server

from reid_demo.engine import Engine  # noqa: E402
from reid_demo.errors import ConfigError, ReidError, escape_what_a_console_lacks  # noqa: E402
from reid_demo.search.bundled import gallery_of_photos  # noqa: E402
from reid_demo.serving import border, workplace  # noqa: E402
from reid_demo.serving.api import app_options  # noqa: E402
from reid_demo.serving.mcp_calls import has_mcp  # noqa: E402
from reid_demo.serving.page.view import build_ui, launch_options  # noqa: E402
from reid_demo.serving.visitors import MAX_UPLOAD, PrivateGalleries  # noqa: E402

MOST_OPEN = 65_536  # files and connections
MAX_WAITING = 100  # requests in the queue; further ones are refused
STARTS = 5  # tries, each on a free port, where other programs are started at the same moment
PATHS = ("weights", "gallery", "auth")  # options whose environment variables may begin with ~
ENDING = [name for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)]
_ending: list[int] = []  # signals that asked for the end
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Place:
    """Where the server listens and how it is reached."""

    host: str | None = None  # None: Gradio's own default, or GRADIO_SERVER_NAME
    port: int | None = None  # None: the first free one from 7860 or GRADIO_SERVER_PORT on
    share: bool = False  # a public link through Gradio's servers
    root_path: str | None = None  # the public address, or the path under a proxy; None: GRADIO_ROOT_PATH
    login: border.Login | None = None
    address_header: str = ""  # in which a proxy in front puts a visitor's address

    def rules(self) -> border.Rules:
        """Return the rules for hosts, frames, login and addresses."""
        root = self.root_path or os.environ.get("GRADIO_ROOT_PATH")
        on_space = bool(os.environ.get("SPACE_ID"))
        known_proxy = on_space or self.share
        return border.Rules(
            None if known_proxy else border.names_of(self.host or os.environ.get("GRADIO_SERVER_NAME"), root),
            known_proxy,
            border.SPACE_FRAMES if on_space else (),
            self.login,
            self.address_header,
        )


def create_demo(engine: Engine, galleries: PrivateGalleries | None = None):
    """Build the page over an engine without starting a server."""
    return build_ui(engine, galleries)


def serve(engine: Engine, place: Place = Place(), **more):
    """Serve page and API until the process ends; return the `gr.Blocks`, immediately if `prevent_thread_lock=True`.

    Raises:
        ConfigError: the port is taken, the address is not this machine's, no temporary folder can be written, or
            Gradio could fetch addresses.
    """
    galleries = PrivateGalleries(engine, cache=_private_cache())
    _check_free(place)
    _keep_loopback_off_the_proxy(place.host)
    if not place.rules().trusts_proxy:  # else uvicorn believes forwarded headers from any program on this machine
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    for _ in range(1 if place.port else STARTS):
        port = place.port or _free_port(place.host)
        demo = _launched(engine, galleries, place, port, **more)
        if demo is not None:
            return demo
    raise ConfigError(f"Port {port} is in use. Name another: --port N.")


def _launched(engine: Engine, galleries: PrivateGalleries, place: Place, port: int, **more):
    """Build the page and serve it on a port; `None` where another program took the port meanwhile.

    A page that failed to start cannot be started again: its MCP server runs once.
    """
    demo = create_demo(engine, galleries)
    gradio_patches.require_guard()
    demo.queue(max_size=MAX_WAITING, api_open=False)  # no call goes beside the queue, its limits and its order
    _give_back_memory()
    _open_many_files()
    host = f"[{place.host}]" if place.host and ":" in place.host and "[" not in place.host else place.host
    try:
        demo.launch(
            server_name=host,
            server_port=port,
            share=place.share,
            root_path=place.root_path,
            max_file_size=MAX_UPLOAD,
            allowed_paths=[],
            blocked_paths=[str(engine.gallery.folder)],
            strict_cors=True,
            footer_links=["api", "gradio", "settings"],
            mcp_server=has_mcp(),
            app_kwargs=app_options(place.rules(), galleries),
            **launch_options(),
            **more,
        )
    except OSError as error:
        if error.errno is not None:  # Gradio's own error, for a port that is taken, has none
            raise
        return None
    return demo


def _private_cache() -> Path:
    """Let Gradio keep uploads and shown pictures in this process's own folder instead of one shared by all users."""
    folder = workplace.of_this_process().subfolder("pictures")
    gradio_patches.keep_files_in(folder)
    return folder


def _open_many_files() -> None:
    """Allow this process as many open files as it may have: every visitor has a connection, every upload a file."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_OPEN if hard == resource.RLIM_INFINITY else min(MOST_OPEN, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _give_back_memory() -> None:
    """Return to the system what reading weights and graphs took; the C library of Linux keeps it otherwise."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


def _check_free(place: Place) -> None:
    """Check that the server can listen on its address, before the page is built.

    Raises:
        ConfigError: the host is not this machine's, or the port is taken.
    """
    try:
        _listen_once(place.host, place.port or 0)
    except PermissionError as error:
        raise ConfigError(f"You may not listen on port {place.port}. Choose one above 1023: --port N.") from error
    except OSError as error:
        if place.port and error.errno in (98, 48, 10048):  # EADDRINUSE of Linux, macOS, Windows
            raise ConfigError(f"Port {place.port} is in use. Choose another: --port {place.port + 1}.") from error
        raise ConfigError(
            f"{_address(place.host)!r} is not an address of this machine ({error.strerror}). "
            "Name one: --host 127.0.0.1."
        ) from error


def _free_port(host: str | None) -> int:
    """Return the first free port of those that Gradio tries.

    Raises:
        ConfigError: none is free.
    """
    first, count = http_server.INITIAL_PORT_VALUE, http_server.TRY_NUM_PORTS
    for port in range(first, first + count):
        try:
            _listen_once("127.0.0.1", port)  # Gradio tries this one as well
            _listen_once(host, port)
        except OSError:
            continue
        return port
    raise ConfigError(f"None of the ports from {first} to {first + count - 1} is free. Name another: --port N.")


def _listen_once(host: str | None, port: int) -> None:
    family, _, _, _, address = socket.getaddrinfo(_address(host), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        if os.name != "nt":  # there it would take a port that is in use
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)


def _address(host: str | None) -> str:
    return (host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1").strip("[]")


def _keep_loopback_off_the_proxy(host: str | None) -> None:
    """Exempt loopback from a proxy in the environment, because Gradio calls its own server to see if it is up."""
    names = {*LOOPBACK, *([host.strip("[]")] if host else [])}
    for variable in ("no_proxy", "NO_PROXY"):
        kept = [name for name in os.environ.get(variable, "").split(",") if name.strip()]
        os.environ[variable] = ",".join([*kept, *sorted(names - set(kept))])


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the options; each has an environment variable that it overrides."""
    parser = argparse.ArgumentParser(description="Person re-identification: hide a part, search again, see why.")

    def option(name: str, help_text: str, **more) -> None:
        variable = f"REID_DEMO_{name.upper()}"
        default = os.environ.get(variable) or None
        if default and name in PATHS:
            default = os.path.expanduser(default)  # a shell expands ~ in a flag, but nothing does in a variable
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, default=default, help=f"{help_text} (or {variable})", **more)

    option("weights", "folder of weights, name of shipped weights, or hf:// address")
    words = "gallery made by `python -m reid_demo index`, hf:// or milvus:// address, or a folder of pictures"
    option("gallery", f"{words}, which is described first")
    option("device", "cpu, cuda or cuda:N; the best one by default")
    option("runtime", "on a CPU: torch, openvino or onnxruntime; the fastest one installed by default")
    option("host", "address to listen on; default: 127.0.0.1")
    option("port", "port to listen on; default: the first free one from 7860", type=_port)
    option(
        "root_path",
        "address or path under which a proxy serves the page, such as https://example.org/reid or /reid",
        metavar="ADDRESS",
    )
    option("auth", "file of lines name:password; everybody must log in then, on the page and the API", metavar="FILE")
    words = "header in which your proxy puts a visitor's address, such as X-Forwarded-For"
    option("address_header", words, metavar="NAME")
    share = os.environ.get("REID_DEMO_SHARE", "").lower() in ("1", "true", "yes")
    parser.add_argument("--share", action="store_true", default=share, help="public link (or REID_DEMO_SHARE=1)")
    return parser.parse_args(arguments)


def _port(value: str) -> int:
    """Read a port, for argparse."""
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535 (flag or REID_DEMO_PORT), not {value!r}")
    return int(value)


def place_of(options: argparse.Namespace) -> Place:
    """Build the `Place` from the options.

    Raises:
        ConfigError: the file of `--auth` cannot be read, or `--root-path` is neither an address nor a path.
    """
    root = options.root_path
    if root and not root.startswith(("http://", "https://", "/")):
        raise ConfigError(f"--root-path {root!r} is neither an address (https://...) nor a path (/...).")
    login = None
    if options.auth:
        try:
            login = border.Login.read(Path(options.auth).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The file {options.auth!r} of --auth cannot be read as text.") from error
    elif os.environ.get("REID_DEMO_LOGIN"):
        login = border.Login.read(os.environ["REID_DEMO_LOGIN"], "REID_DEMO_LOGIN")
    return Place(options.host, options.port, options.share, root, login, options.address_header or "")


def _end_on_signals() -> None:
    """Make signals end the process normally, so that visitors' files are removed; Ctrl-C counts as one.

    A second one does not interrupt the removing. It is not ignored by the system meanwhile: of one that came together
    with the first, Python would print a traceback.
    """

    def end(number: int, frame) -> None:
        if not _ending:
            _ending.append(number)
            _end_if_asked()

    def ignore() -> None:
        for name in ENDING:
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    atexit.register(ignore)  # last of all: Python forgets `end` before the process is gone
    for name in ENDING:
        signal.signal(getattr(signal, name), end)


def _end_if_asked() -> None:
    """End once a signal has asked for it, also where it came while other libraries' code ran, which loses exceptions.

    PyTorch and OpenVINO do while they make a graph.
    """
    if _ending:
        raise SystemExit(128 + _ending[0])


def main(arguments: list[str] | None = None) -> None:
    """Load the engine and serve the page."""
    escape_what_a_console_lacks()  # Gradio prints symbols
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = parse_arguments(arguments)
    try:
        place = place_of(options)
        _check_free(place)
        gallery = gallery_of_photos(options.gallery, options.weights, options.device, options.runtime)
        engine = Engine.load(options.weights, gallery, options.device, options.runtime)
        _end_if_asked()
        os.umask(0o077)  # no other user can read visitors' files
        serve(engine, place)
    except ReidError as error:
        raise SystemExit(f"error: {error}") from error
    finally:
        workplace.close_this_process()


def run() -> None:
    """Run `main` as a program that ends at once: a search that is still under way would outlive Python and abort it."""
    code: int | str | None = None
    _end_on_signals()
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a pipe whose reader has left, or closed
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    run()
