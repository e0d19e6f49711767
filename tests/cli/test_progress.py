"""Transfers on a terminal and elsewhere."""

import fcntl
import io
import os
import re
import struct
import termios

import pytest

from sampan import events
from sampan.cli.progress import Transfers
from sampan.oci.digest import Digest

ONE, TWO, THREE = (Digest(f"sha256:{digit * 64}") for digit in "123")
PULL = (
    events.Resolved("a:latest", ONE),
    events.LayerExists(THREE),
    events.Transferring(ONE, 500, 1000),
    events.Transferring(TWO, 0, 2_000_000),
    events.Transferred(TWO, 2_000_000, "pulled"),
    events.Transferring(ONE, 1000, 1000),
    events.Unpacked(TWO),
    events.Transferred(ONE, 1000, "pulled"),
    events.Warned("the clock\x1b[31m is wrong"),
    events.Unpacked(ONE),
)


def show(*reported: events.Event, columns: int = 0, quiet: bool = False) -> str:
    stream = io.StringIO()
    with Transfers(stream, quiet=quiet, columns=columns) as transfers:
        for event in reported:
            transfers(event)
    return stream.getvalue()


def screen(written: str) -> list[str]:
    """What a terminal that knows the two sequences in use would show."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[\d*[A-Z]|\n)", written):
        if part == "\n":
            row += 1
            lines.append("")
        elif part.startswith("\x1b[") and part.endswith("A"):
            row -= int(part[2:-1])
            assert row >= 0, "the cursor would leave what is ours"
        elif part == "\x1b[J":
            lines[row:] = [""]
        else:
            lines[row] += part
    return lines


def test_a_terminal_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    monkeypatch.setenv("TERM", "xterm")
    with open(main, "rb", buffering=0) as screen_side, open(terminal, "w") as stream:

        def seen() -> bytes:
            """All that was written: the other side of a terminal may hear of it in pieces, and a little later."""
            stream.write("END\n")
            stream.flush()
            text = b""
            while not text.endswith(b"END\r\n"):
                text += screen_side.read(1000)
            return text.removesuffix(b"END\r\n")

        with Transfers(stream) as transfers:
            transfers(events.Transferring(ONE, 500, 1000))
        shown = seen()
        monkeypatch.setenv("TERM", "dumb")
        with Transfers(stream) as transfers:
            transfers(events.Transferring(ONE, 500, 1000))
            transfers(events.LayerExists(TWO))
        plain = seen()
    assert shown.startswith(b"111111111111: [")
    assert len(shown.partition(b"\r\n")[0]) <= 59
    assert plain == b"222222222222: Already exists\r\n"


def test_elsewhere_a_line_for_each_layer_that_is_done() -> None:
    assert show(*PULL).splitlines() == [
        "333333333333: Already exists",
        "222222222222: Pull complete",
        "WARNING: the clock\ufffd[31m is wrong",
        "111111111111: Pull complete",
    ]


def test_quiet_shows_warnings_alone() -> None:
    assert show(*PULL, quiet=True).startswith("WARNING: ")
    assert show(*PULL[:8], quiet=True) == ""


def test_on_a_terminal_nothing_is_left_of_what_was_under_way() -> None:
    written = show(*PULL, columns=80)
    assert "\x1b[" in written
    assert screen(written) == [*show(*PULL).splitlines(), ""]


def test_what_is_under_way_is_shown_below_what_is_done() -> None:
    stream = io.StringIO()
    with Transfers(stream, columns=80) as transfers:
        transfers(events.Transferring(ONE, 500, 1000))
        transfers(events.LayerExists(THREE))
        shown = screen(stream.getvalue())
    assert shown[0] == "333333333333: Already exists"
    assert shown[1].startswith("111111111111: [==============>")
    assert shown[1].endswith("500B/1kB")


def test_lines_fit_the_terminal() -> None:
    written = show(*PULL, columns=30)
    moving = [line for line in screen(written.rpartition("\x1b[")[0]) if "[" in line and "WARNING" not in line]
    assert all(len(line) < 30 for line in moving)
    assert all(len(line) < 30 for line in re.findall(r"\d{12}: \[[^\n]*", written))


def test_no_colours() -> None:
    assert not re.search(r"\x1b\[[\d;]*m", show(*PULL, columns=80))


def test_a_push() -> None:
    pushed = (
        events.LayerExists(ONE),
        events.Transferring(TWO, 10, 10),
        events.Transferred(TWO, 10, "pushed"),
        events.Transferred(THREE, 10, "mounted"),
    )
    assert show(*pushed).splitlines() == [
        "111111111111: Already exists",
        "222222222222: Pushed",
        "333333333333: Mounted",
    ]


def test_a_layer_that_was_fetched_and_is_unpacked_already() -> None:
    fetched = (events.Transferred(ONE, 5, "pulled"), events.LayerExists(ONE))
    assert show(*fetched) == "111111111111: Pull complete\n"


def test_a_layer_is_told_of_once() -> None:
    assert show(events.LayerExists(ONE), events.LayerExists(ONE), events.Unpacked(ONE)).count("\n") == 1


def test_an_empty_blob() -> None:
    assert "0B/0B" in show(events.Transferring(ONE, 0, 0), columns=80)


def test_a_failure_leaves_the_screen_in_order() -> None:
    stream = io.StringIO()
    transfers = Transfers(stream, columns=80)
    transfers(events.Transferring(ONE, 500, 1000))
    with pytest.raises(KeyboardInterrupt), transfers:
        raise KeyboardInterrupt
    assert "\x1b[" in stream.getvalue()
    assert screen(stream.getvalue()) == [""]
