"""Tables, sizes and times as Docker writes them."""

import time

import pytest

from sampan.cli import output

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (999, "999B"),
        (1000, "1kB"),
        (1024, "1.02kB"),
        (1982256, "1.98MB"),
        (12_345_678, "12.3MB"),
        (123_456_789, "123MB"),
        (999_400, "999kB"),
        (999_999, "1MB"),
        (1_500_000_000, "1.5GB"),
        (10**15, "1PB"),
        (2 * 10**21, "2000EB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (25_275_000_000, "23.54GiB"), (64 << 20, "64MiB")]
)
def test_binary_sizes(count: int, text: str) -> None:
    assert output.binary_size(count) == text


@pytest.mark.parametrize(  # the table of docker/go-units duration_test.go
    ("seconds", "text"),
    [
        (0.45, "Less than a second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (46, "46 seconds"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (90, "About a minute"),
        (2 * 60, "2 minutes"),
        (2 * 60 + 40, "2 minutes"),
        (3 * 60, "3 minutes"),
        (59 * 60, "59 minutes"),
        (60 * 60, "About an hour"),
        (89 * 60, "About an hour"),
        (90 * 60, "2 hours"),
        (150 * 60, "3 hours"),
        (3 * 3600 + 60 * 30, "4 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (30 * 86400, "4 weeks"),
        (60 * 86400, "2 months"),
        (364 * 86400, "12 months"),
        (730 * 86400, "2 years"),
        (5 * 365 * 86400, "5 years"),
        (-3, "Less than a second"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2023-11-14T22:13:15Z", "5 seconds ago"),
        ("2023-11-14T22:13:15.123456789Z", "4 seconds ago"),
        ("2023-11-14T23:13:15+01:00", "5 seconds ago"),
        ("2023-11-14T22:13:15", "5 seconds ago"),
        ("2023-11-11T22:13:20Z", "3 days ago"),
        ("1970-01-01T00:00:00Z", "53 years ago"),
        ("0001-01-01T00:00:00Z", "N/A"),
        ("", "N/A"),
        ("yesterday", "N/A"),
    ],
)
def test_how_long_ago(moment: str, text: str) -> None:
    assert output.ago(moment, NOW) == text


def test_states() -> None:
    before, long_before = "2023-11-14T22:13:17Z", "2023-11-14T20:13:20Z"
    assert output.state("created") == "Created"
    assert output.state("running", started=before, now=NOW) == "Up 3 seconds"
    assert output.state("paused", started=long_before, now=NOW) == "Up 2 hours (Paused)"
    assert output.state("exited", started=long_before, finished=before, now=NOW) == "Exited (0) 3 seconds ago"
    assert output.state("exited", finished=before, exit_code=137, now=NOW) == "Exited (137) 3 seconds ago"
    assert output.state("restarting", finished=before, exit_code=1, now=NOW) == "Restarting (1) 3 seconds ago"
    assert output.state("dead") == "Dead"


def test_columns_are_aligned_as_docker_aligns_them() -> None:
    headers = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")
    rows = [("t", "latest", "8ddfd1e3b18f", "Less than a second ago", "1.98MB")]
    assert output.table(headers, rows) == (
        "REPOSITORY   TAG       IMAGE ID       CREATED                  SIZE\n"
        "t            latest    8ddfd1e3b18f   Less than a second ago   1.98MB"
    )
    assert output.table(headers, []) == "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE"


def test_cells_cannot_steer_the_terminal() -> None:
    shown = output.table(("A", "B"), [("\x1b[31mred\x07", "two\nlines\tand \u202e more")])
    assert shown.count("\n") == 1
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert "two lines and" in shown


def test_letters_of_every_script_are_shown() -> None:
    assert "naïve 舢板" in output.table(("A",), [("naïve 舢板",)])


@pytest.mark.parametrize(("text", "width", "shown"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("", 3, "")])
def test_shortening(text: str, width: int, shown: str) -> None:
    assert output.shorten(text, width) == shown


def test_json() -> None:
    assert output.json([{"Id": "é"}]) == '[\n    {\n        "Id": "é"\n    }\n]'
    assert output.json([]) == "[]"


def test_json_on_one_line() -> None:
    assert output.json([{"Id": "é", "a": 1}], indent=None) == '[{"Id":"é","a":1}]'


@pytest.mark.parametrize(
    ("text", "aligned"),
    [
        ("", ""),
        ("a\tb", "a         b"),
        ("a\tb\nlonger than ten\tc", "a                 b\nlonger than ten   c"),
        ("a\tb\n\nlonger than ten\tc", "a         b\n\nlonger than ten   c"),  # columns end at a line without
        ("a\tb\tc\nd\te", "a         b         c\nd         e"),
        ("a\t", "a"),
    ],
)
def test_cells_between_tabs(text: str, aligned: str) -> None:
    assert output.align(text) == aligned


def test_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert output.moment("2024-01-02T03:04:05.123456Z") == "2024-01-02 03:04:05 +0000 UTC"
    assert output.moment("no time") == ""
