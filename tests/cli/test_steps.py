"""How a build is shown: BuildKit's plain lines, and the display on a terminal."""

import io
import re
from collections.abc import Callable

from sampan.cli.steps import Live, Plain
from sampan.events import Event, StepCached, StepFinished, StepOutput, StepStarted, Warned

LABELS = ["[1/3] FROM base", "[2/3] RUN make", "[3/3] COPY . ."]


def started(number: int) -> StepStarted:
    return StepStarted(number, 3, "", LABELS[number - 1])


def plain(*events: Event, note: str = "") -> str:
    stream = io.StringIO()
    with Plain(stream, LABELS) as display:
        for event in events:
            display(event)
        if note:
            display.note(note)
    return re.sub(r"(?m)^(#\d+) \d+\.\d{3} ", r"\1 0.123 ", stream.getvalue())


def live(act: Callable[[Live], None], columns: int = 60) -> str:
    stream = io.StringIO()
    with Live(stream, LABELS, (lambda: columns) if columns else None) as display:
        act(display)
    return stream.getvalue()


def screen(written: str) -> list[str]:
    """What a terminal shows after all of it: lines, of which some were erased again."""
    lines = [""]
    for part in re.split(r"(\x1b\[\d+A\x1b\[J|\n)", written):
        if part == "\n":
            lines.append("")
        elif part.startswith("\x1b"):
            del lines[-1 - int(part[2:-4]) :]
            lines.append("")
        else:
            lines[-1] += part
    return lines


def test_plain_lines_are_those_of_buildkit() -> None:
    shown = plain(
        started(1),
        StepCached(1),
        started(2),
        StepOutput(2, 1, b"one\ntw"),
        StepOutput(2, 2, b"error\n"),
        StepOutput(2, 1, b"o\nlast"),
        StepFinished(2, 1.26),
        note="writing image",
    )
    assert shown == (
        "#1 [1/3] FROM base\n#1 CACHED\n\n"
        "#2 [2/3] RUN make\n#2 0.123 one\n#2 0.123 error\n#2 0.123 two\n#2 0.123 last\n#2 DONE 1.3s\n\n"
        "#4 writing image\n"
    )


def test_plain_lines_of_steps_side_by_side() -> None:
    shown = plain(started(2), started(3), StepOutput(2, 1, b"a\n"), StepOutput(3, 1, b"b\n"), StepFinished(3, 0))
    assert shown.split("\n") == [
        "#2 [2/3] RUN make", "", "#3 [3/3] COPY . .", "", "#2 [2/3] RUN make", "#2 0.123 a", "",
        "#3 [3/3] COPY . .", "#3 0.123 b", "#3 DONE 0.0s", "", "",
    ]  # fmt: skip


def test_what_a_failed_step_said_last_is_not_lost() -> None:
    assert "#2 0.123 no newline\n" in plain(started(2), StepOutput(2, 2, b"no newline"))


def test_a_command_cannot_steer_the_terminal() -> None:
    evil = b"\x1b]0;title\x07\x1b[2J\xff\xe2\x80\xae\tx\n"
    for shown in (plain(started(2), StepOutput(2, 1, evil)), screen_of(evil)):
        assert "\x1b]" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown


def screen_of(data: bytes) -> str:
    def act(display: Live) -> None:
        display(started(2))
        display(StepOutput(2, 1, data))
        display.failed()

    return "\n".join(screen(live(act)))


def test_a_line_that_is_written_over_shows_its_last_version() -> None:
    assert plain(started(2), StepOutput(2, 1, b" 10%\r 50%\r100%\r\n")).endswith("#2 0.123 100%\n")


def test_endless_lines_do_not_pile_up() -> None:
    shown = plain(started(2), *(StepOutput(2, 1, b"x" * 6000) for _ in range(4)))
    assert [len(line) > 10_000 for line in shown.splitlines()[1:]] == [True, True]


def test_live_shows_what_is_under_way_below_what_is_done() -> None:
    shown: list[str] = []

    def act(display: Live) -> None:
        display(started(1))
        display(StepCached(1))
        display(started(2))
        display(StepOutput(2, 1, b"".join(b"line %d\n" % number for number in range(30))))
        display(Warned("careful"))
        shown.extend(screen(display._stream.getvalue()))  # type: ignore[attr-defined]
        display(StepFinished(2, 2.0))

    assert screen(live(act)) == [
        " => CACHED [1/3] FROM base",
        "WARNING: careful",
        f" => {'[2/3] RUN make':48}   2.0s",
        "",
    ]
    assert shown[:2] == [" => CACHED [1/3] FROM base", "WARNING: careful"]
    assert shown[2].startswith(" => [2/3] RUN make  ")
    assert shown[3:] == [f" => => line {number}" for number in range(24, 30)] + [""]


def test_live_fits_the_terminal() -> None:
    def act(display: Live) -> None:
        display(started(2))
        display(StepOutput(2, 1, b"x" * 500 + b"\n"))
        display(Warned("w"))
        display(StepFinished(2, 1.0))

    written = live(act, 50)
    assert all(len(line) < 50 for line in re.split(r"\n|\x1b\[\d+A\x1b\[J", written))


def test_a_failure_shows_the_last_lines_of_its_step() -> None:
    def act(display: Live) -> None:
        display(started(2))
        display(StepOutput(2, 2, b"".join(b"line %d\n" % number for number in range(30)) + b"end"))
        display.failed()

    for columns in (60, 0):
        lines = screen(live(act, columns))
        assert lines[:2] == ["------", " > [2/3] RUN make:"]
        assert lines[2:] == [*(f"line {number}" for number in range(11, 30)), "end", "------", ""]


def test_quiet_is_quiet() -> None:
    def act(display: Live) -> None:
        for event in (started(1), StepCached(1), started(2), StepOutput(2, 1, b"x\n"), StepFinished(2, 1.0)):
            display(event)
        display.note("writing image")

    assert live(act, 0) == ""
