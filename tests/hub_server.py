"""A small loopback server for tests that implements the part of the Hub's protocol `huggingface_hub` uses."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

LARGE = (".safetensors", ".npy", ".faiss")
TYPES = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """Repositories in memory: `repos["models/owner/name"]` is a list of commits, each `(oid, {path: bytes})`."""

    def __init__(self) -> None:
        self.repos: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.large: dict[str, bytes] = {}  # by SHA-256
        self.settings: dict[str, dict] = {}
        self.log: list[tuple[str, str, str]] = []  # method, path, Range
        self.cut_once: set[str] = set()  # file names whose first answer breaks off half way
        self.refuse_writes = False
        self.closed = False
        self.broken = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.closed = True
        self.server.shutdown()
        self.server.server_close()

    def add(self, repo: str, files: dict[str, bytes]) -> str:
        commits = self.repos.setdefault(repo, [])
        files = {**(commits[-1][1] if commits else {}), **files}
        oid = hashlib.sha1(repr((repo, len(commits), sorted(files))).encode()).hexdigest()
        commits.append((oid, files))
        return oid

    def find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.repos.get(repo) or []
        if revision == "main":
            return commits[-1] if commits else None
        return next((commit for commit in commits if commit[0] == revision), None)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_) -> None:
        pass

    def answer(self, value=None, status: int = 200, body: bytes | None = None, headers: dict | None = None) -> None:
        body = json.dumps(value).encode() if body is None else body
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, code: str) -> None:
        self.answer({"error": code}, 404, headers={"X-Error-Code": code, "X-Error-Message": code})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def parse_request(self) -> bool:
        if self.hub.closed:  # connections kept alive end too
            self.close_connection = True
            return False
        return super().parse_request()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.log.append((self.command, path, self.headers.get("Range", "")))
        if self.hub.broken:
            self.answer({"error": "down"}, 503)
        elif found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)/revision/([^/]+)", path):
            self.info(*found.groups())
        elif found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)/tree/([^/]+)/?(.*)", path):
            self.tree(*found.groups())
        elif found := re.fullmatch(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.file(found[1] or "models", *found.groups()[1:])
        else:
            self.missing("EntryNotFound")

    def info(self, kind: str, repo: str, revision: str) -> None:
        commit = self.hub.find(f"{kind}/{repo}", revision)
        if commit is None:
            return self.missing("RevisionNotFound" if f"{kind}/{repo}" in self.hub.repos else "RepoNotFound")
        names = [{"rfilename": name} for name in sorted(commit[1])]
        self.answer({"id": repo, "sha": commit[0], "private": False, "tags": [], "siblings": names})

    def tree(self, kind: str, repo: str, revision: str, folder: str) -> None:
        commit = self.hub.find(f"{kind}/{repo}", revision)
        if commit is None:
            return self.missing("RevisionNotFound")
        rows = []
        for name, data in sorted(commit[1].items()):
            row = {"type": "file", "path": name, "size": len(data), "oid": blob_id(data)}
            if name.endswith(LARGE):
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            if name.startswith(folder):
                rows.append(row)
        self.answer(rows)

    def file(self, kind: str, repo: str, revision: str, name: str) -> None:
        commit = self.hub.find(f"{kind}/{repo}", revision)
        if commit is None:
            return self.missing("RevisionNotFound" if f"{kind}/{repo}" in self.hub.repos else "RepoNotFound")
        if name not in commit[1]:
            return self.missing("EntryNotFound")
        data = commit[1][name]
        headers = {"X-Repo-Commit": commit[0], "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if name.endswith(LARGE):
            etag = hashlib.sha256(data).hexdigest()
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data)), "ETag": f'"{etag}"'}
        else:
            headers["ETag"] = f'"{blob_id(data)}"'
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self.answer(status=206, body=data[start:], headers=headers)
        if self.command == "GET" and name in self.hub.cut_once:
            self.hub.cut_once.discard(name)
            self.send_response(200)
            for key, text in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, text)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return None
        return self.answer(body=data, headers=headers)

    def do_POST(self) -> None:
        path, data = unquote(urlparse(self.path).path), self.body()
        self.hub.log.append(("POST", path, ""))
        if self.hub.refuse_writes:
            return self.answer({"error": "Invalid credentials"}, 401)
        if path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            kind = f"{asked.get('type', 'model')}s"
            self.hub.settings[f"{kind}/{name}"] = asked
            if f"{kind}/{name}" not in self.hub.repos:
                self.hub.add(f"{kind}/{name}", {})
            return self.answer({"url": f"{self.hub.url}/{TYPES[kind]}{name}"})
        if path == "/api/validate-yaml":
            return self.answer({"warnings": [], "errors": []})
        if found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(data)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(LARGE) or f["size"] > 10_000_000 else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for f in files
            ]
            return self.answer({"files": modes, "commitOid": self.hub.find("/".join(found.groups()), "main")[0]})
        if found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.url}/large/{one['oid']}", "header": {}}}}
                for one in json.loads(data)["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)/commit/main", path):
            files = {}
            for line in data.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
                elif row["key"] == "lfsFile":
                    files[row["value"]["path"]] = self.hub.large[row["value"]["oid"]]
            oid = self.hub.add("/".join(found.groups()), files)
            return self.answer(
                {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{found[2]}/commit/{oid}"}
            )
        return self.missing("EntryNotFound")

    def do_PUT(self) -> None:
        data = self.body()
        self.hub.log.append(("PUT", self.path, ""))
        digest = self.path.rsplit("/", 1)[1]
        if hashlib.sha256(data).hexdigest() != digest:
            return self.answer({"error": "hash"}, 400)
        self.hub.large[digest] = data
        return self.answer({})
