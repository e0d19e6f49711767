"""The package cache with a real pip: what was fetched once is not fetched again, and is in no image."""

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import commands
from sampan.build.graph import Mount, Run, Scratch
from sampan.build.packages import PLACE, offered
from sampan.snapshots.users import User

ROOT = User(0, 0, (0,), "/root", "root")


def run(**fields: object) -> Run:
    return Run(Scratch(), ("x",), (), "", "/", **fields)  # type: ignore[arg-type]


def reading(files: dict[bytes, bytes]) -> Callable[[bytes, int], bytes | None]:
    return lambda path, limit: files.get(path)


def test_a_cache_for_each_user_and_distribution() -> None:
    debian, alpine = b"ID=debian\nVERSION_ID=12\nNAME=x\n", b"ID=alpine\nVERSION_ID=3.20\n"
    caches = [
        offered(run(), user, reading(files)).mount.id
        for user in (ROOT, ROOT._replace(uid=5, gid=6))
        for files in ({b"/etc/os-release": debian}, {b"/etc/os-release": alpine}, {})
    ]
    assert len(set(caches)) == 6
    again = offered(run(), ROOT, reading({b"/usr/lib/os-release": debian + b"BUILD_ID=7\n"}))
    assert again.mount.id == caches[0]
    assert (again.mount.mode, again.mount.uid, again.mount.gid) == (0o700, 0, 0)


def test_what_a_dockerfile_mounts_itself_comes_first() -> None:
    def names(target: str) -> set[str]:
        return set(offered(run(mounts=(Mount("cache", target),)), ROOT, reading({})).environment)

    assert names("/var/cache") == {"PIP_CACHE_DIR", "UV_CACHE_DIR", "UV_LINK_MODE"}
    assert names("/root/.cache/pip") == {"UV_CACHE_DIR", "UV_LINK_MODE"}
    assert names("/root/.cache/uv") == {"PIP_CACHE_DIR"}
    assert names("/root/.cache/") == names("/root") == set()


class Index(http.server.ThreadingHTTPServer):
    """A simple index (PEP 503) whose files may be kept, as those of the Python Package Index; notes what is fetched."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fetched: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def put(self, name: str) -> None:
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(self.directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        name = self.path.strip("/").rpartition("/")[2]
        if name.endswith(".whl"):
            self.server.fetched.append(name.partition("-")[0])
            body, kind = (self.server.directory / name).read_bytes(), "application/octet-stream"
        else:
            wheel = f"{name}-1.0-py3-none-any.whl"
            digest = hashlib.sha256((self.server.directory / wheel).read_bytes()).hexdigest()
            body, kind = f'<a href="/{wheel}#sha256={digest}">{wheel}</a>'.encode(), "text/html"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=365000000, immutable" if name.endswith(".whl") else "max-age=0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        return


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    directory = tmp_path / "index"
    directory.mkdir()
    server = Index(directory)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.system
@pytest.mark.root
def test_only_what_is_new_is_fetched(sampan: commands.Sampan, index: Index, tmp_path: Path) -> None:
    sampan("base", "host")
    context = tmp_path / "context"
    context.mkdir()
    for name in ("one", "two", "three"):
        index.put(name)
    # What comes without TLS is kept only of hosts that one trusts.
    where = f"-i http://127.0.0.1:{index.server_port}/simple --trusted-host 127.0.0.1"
    install = f"pip install -q --root-user-action=ignore {where} -r /r"

    def build(requirements: str, *options: str, lines: str = "") -> list[str]:
        (context / "r").write_text(requirements)
        (context / "Dockerfile").write_text(f"FROM localhost/python:host\n{lines}COPY r /\nRUN {install}\n")
        index.fetched.clear()
        sampan("build", "-t", "made", "--network", "host", *options, context)
        return sorted(index.fetched)

    assert build("one\ntwo\n") == ["one", "two"]
    assert build("one\ntwo\nthree\n") == ["three"]
    assert build("two\n", lines="ENV ANOTHER=image\n") == []
    listed = sampan("run", "--rm", "--network=none", "made", "sh", "-c", f"env; ls -d {PLACE} ~/.cache; true").stdout
    assert "sampan" not in listed
    assert ".cache" not in listed
    assert build("one\n", "--package-cache=false") == ["one"]
