"""Messages of D-Bus, by themselves and with a real bus."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Unavailable
from sampan.linux import dbus
from sampan.linux.dbus import Bus, Refused

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
BY_TYPE = {
    "y": st.integers(0, 255),
    "b": st.booleans(),
    "q": st.integers(0, 2**16 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "u": st.integers(0, 2**32 - 1),
    "x": st.integers(-(2**63), 2**63 - 1),
    "t": st.integers(0, 2**64 - 1),
    "s": TEXT,
    "as": st.lists(TEXT, max_size=3),
    "ay": st.lists(st.integers(0, 255), max_size=9),
    "a(sv)": st.lists(st.tuples(TEXT, st.tuples(st.just("t"), st.integers(0, 2**64 - 1))), max_size=3),
    "a{sv}": st.lists(st.tuples(TEXT, st.tuples(st.just("as"), st.lists(TEXT, max_size=2))), max_size=3),
    "(yv)": st.tuples(st.integers(0, 255), st.tuples(st.just("s"), TEXT)),
}


def test_signatures_fall_apart_into_types() -> None:
    assert dbus.types("ssa(sv)a(sa(sv))ay") == ["s", "s", "a(sv)", "a(sa(sv))", "ay"]
    assert dbus.types("aa{s(iv)}u") == ["aa{s(iv)}", "u"]
    assert dbus.types("") == []


@given(st.lists(st.sampled_from(sorted(BY_TYPE)), max_size=5).flatmap(lambda kinds: st.tuples(*(
    st.tuples(st.just(kind), BY_TYPE[kind]) for kind in kinds
))))  # fmt: skip
def test_what_is_written_is_read(values: tuple[tuple[str, Any], ...]) -> None:
    signature = "".join(kind for kind, _ in values)
    data = dbus.encode(1, 7, {1: ("o", "/a"), 3: ("s", "M")}, signature, [value for _, value in values])
    message = dbus.decode(data)
    assert message.body == tuple(value for _, value in values)
    assert message.fields == {1: "/a", 3: "M", **({8: signature} if signature else {})}


@pytest.mark.skipif(sys.byteorder != "little", reason="the machine puts the high byte first")
def test_the_bytes_of_a_call() -> None:
    """As the specification has them: each field of the header on a boundary of 8, the body on the next one."""
    data = dbus.encode(1, 2, {1: ("o", "/"), 3: ("s", "Hi")}, "y", [5])
    fields = b"\x01\x01o\0\x01\0\0\0/\0" + bytes(6) + b"\x03\x01s\0\x02\0\0\0Hi\0" + bytes(5) + b"\x08\x01g\0\x01y\0"
    assert data == b"l\x01\0\x01" + struct.pack("<III", 1, 2, len(fields)) + fields + b"\0" + b"\x05"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A bus of the test's own."""
    path = tmp_path / "bus"
    words = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1", f"--address=unix:path={path}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        assert daemon.stdout
        assert daemon.stdout.readline()
        yield str(path)
        daemon.kill()


@pytest.mark.system
@pytest.mark.needs("dbus-daemon")
def test_a_bus_answers(address: str) -> None:
    with Bus(address, os.getuid()) as bus:
        (names,) = bus.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ListNames")
        assert "org.freedesktop.DBus" in names
        with pytest.raises(Refused) as refusal:
            bus.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetNameOwner", "s", "no.such")
        assert refusal.value.name == "org.freedesktop.DBus.Error.NameHasNoOwner"
        bus.listen("org.freedesktop.DBus", "NameOwnerChanged")
        with Bus(address, os.getuid()):
            assert bus.await_signal("NameOwnerChanged", lambda body: True)[2].startswith(":")


@pytest.mark.system
@pytest.mark.needs("dbus-daemon")
def test_a_bus_lets_nobody_in_who_is_another(address: str) -> None:
    with pytest.raises(Unavailable, match="does not let user 12345 in"):
        Bus(address, 12345)


def test_no_bus(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer: No such file"):
        Bus(str(tmp_path / "bus"), 0)
