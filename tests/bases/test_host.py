import importlib.util
import marshal
import os
import sys
import types

import pytest

from sampan.bases import host, interpreter
from sampan.bases.contents import Contents, Entry
from sampan.bases.interpreter import Interpreter
from sampan.errors import Denied


@pytest.fixture(scope="module")
def plan() -> host.Plan:
    return host.plan()


@pytest.fixture(scope="module")
def entries(plan: host.Plan) -> dict[str, Entry]:
    return {entry.name: entry for entry in plan.contents}


def resolved(entries: dict[str, Entry], path: str) -> Entry:
    """The entry that a path leads to inside the image."""
    for _ in range(20):
        parts = path.strip("/").split("/")
        for length in range(1, len(parts) + 1):
            found = entries["/".join(parts[:length])]
            if found.target is not None:
                parent = "" if found.target.startswith("/") else "/".join(parts[: length - 1])
                path = os.path.normpath("/".join([parent, found.target, *parts[length:]]))
                break
        else:
            return found
    raise AssertionError(f"{path} loops")


def test_python_pip_and_a_shell_are_on_the_path(plan: host.Plan, entries: dict[str, Entry]) -> None:
    path = dict(item.split("=", 1) for item in plan.config.env)["PATH"].split(":")
    for program in ("python", "python3", "pip", "sh", "ls", "sed"):
        place = next(f"{place}/{program}".strip("/") for place in path if f"{place}/{program}".strip("/") in entries)
        assert resolved(entries, place).mode == 0o755


def test_every_link_leads_somewhere(entries: dict[str, Entry]) -> None:
    beyond = {"var/run"}  # the runtime mounts there
    for name, entry in entries.items():
        if entry.target is not None and name not in beyond:
            resolved(entries, name)


def test_directories_come_before_what_is_in_them(plan: host.Plan) -> None:
    seen = {""}
    for entry in plan.contents:
        assert os.path.dirname(entry.name) in seen
        if entry.target is None and entry.source is None and entry.data is None:
            seen.add(entry.name)


def test_nothing_private_and_nothing_needless(entries: dict[str, Entry]) -> None:
    assert entries["root"].mode == 0o700
    assert entries["tmp"].mode == 0o1777
    assert not [name for name in entries if name.endswith(("EXTERNALLY-MANAGED", ".pth", "pip.conf"))]
    assert not [name for name in entries if "/idlelib/" in name or "/tkinter/" in name or "/test_" in name]
    assert {entry.mode for entry in entries.values()} <= {0o755, 0o644, 0o777, 0o640, 0o700, 0o1777}
    accounts = (entries["etc/passwd"].data or b"") + (entries["etc/shadow"].data or b"")
    assert b"$" not in accounts
    sources = [entry.source for entry in entries.values() if entry.source]
    assert not [source for source in sources if source.startswith(("/etc/ssl", "/etc/pki", "/etc/pip", "/home"))]
    assert [source for source in sources if source.startswith("/etc/")] in ([], ["/etc/os-release"])


def test_byte_code_needs_no_look_at_its_source(entries: dict[str, Entry]) -> None:
    library = next(name for name in entries if name.endswith("/json/__init__.py"))
    data = entries[importlib.util.cache_from_source(library, optimization="")].data or b""
    assert data[:8] == importlib.util.MAGIC_NUMBER + b"\x01\0\0\0"
    with open(entries[library].source or "", "rb") as file:
        assert data[8:16] == importlib.util.source_hash(file.read())
    code = marshal.loads(data[16:])
    assert isinstance(code, types.CodeType)
    assert "dumps" in code.co_names


def test_the_same_twice(plan: host.Plan) -> None:
    assert list(host.plan().contents) == list(plan.contents)


def test_stale_byte_code_is_not_taken(tmp_path: object) -> None:
    module = os.path.join(str(tmp_path), "module.py")
    cached = importlib.util.cache_from_source(module, optimization="")
    with open(module, "w") as file:
        file.write("answer = 42\n")
    os.makedirs(os.path.dirname(cached))
    with open(cached, "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile("answer = 41", "m", "exec")))
    contents = Contents()
    interpreter.plan_module(module, "/m.py", contents)
    (data,) = (entry.data for entry in contents if entry.name.endswith(".pyc"))
    namespace: dict[str, object] = {}
    exec(marshal.loads((data or b"")[16:]), namespace)
    assert namespace["answer"] == 42


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/opt/py/lib/libpython.so", "/usr/local/lib/libpython.so"),
        ("/opt/python/lib", "/opt/python/lib"),
        ("/usr/lib/libc.so", "/usr/lib/libc.so"),
    ],
)
def test_a_python_with_a_prefix_of_its_own_is_moved(path: str, expected: str) -> None:
    python = Interpreter("", "/opt/py", "/usr/local", "/opt/py/lib/python3.11", (3, 11, 0))
    assert python.place(path) == expected


def test_a_python_that_this_user_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(Denied) as caught:
        interpreter.running()
    assert os.path.realpath(sys._base_executable) in caught.value.message  # type: ignore[attr-defined]
    assert caught.value.hint
