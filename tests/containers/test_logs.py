"""Logs that are limited: their files take turns, readers follow, and a full disk ends nothing."""

import itertools
import json
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean, assert_small, await_, read_until, started, state
from sampan.containers import logdrivers, logs, reading
from sampan.containers.options import Logging
from sampan.errors import Invalid, Unsupported
from sampan.linux import mounts

MOST = 1000


def said(reader: reading.Reader) -> list[str]:
    return [line.text for line in reader.lines()]


def files(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.iterdir())


# -- files ----------------------------------------------------------------------------------------------------------


def test_files_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = logs.Writer(str(path), MOST, 3)
    for number in range(100):
        writer.write(1, b"line %d\n" % number)
    writer.close()
    assert files(path) == ["log", "log.1", "log.2"]
    assert all(MOST <= (tmp_path / name).stat().st_size < MOST + 100 for name in ("log.1", "log.2"))
    with reading.Reader(str(path)) as reader:
        kept = said(reader)
    assert kept == [f"line {number}\n" for number in range(100 - len(kept), 100)]


def test_one_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = logs.Writer(str(path), MOST)
    writer.write(1, b"x\n" * 100_000)  # more than one read gives, in one piece
    writer.close()
    assert files(path) == ["log"]
    assert 0 < path.stat().st_size < MOST + 100


def test_the_size_counts_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for _ in range(60):
        writer = logs.Writer(str(path), MOST, 2)
        writer.write(2, b"again\n")
        writer.close()
    assert files(path) == ["log", "log.1"]
    assert path.stat().st_size < MOST + 100


@pytest.mark.parametrize("seed", range(10))
def test_a_reader_misses_nothing_that_is_kept(tmp_path: Path, seed: int) -> None:
    """However often the files change while it does not look, as long as not all of them do."""
    randomly = random.Random(seed)
    path = tmp_path / "log"
    writer = logs.Writer(str(path), MOST, 40)
    written, seen = 0, []
    with reading.Reader(str(path)) as reader:
        while written < 1500:
            for _ in range(randomly.randint(0, 60)):
                writer.write(1, b"%d\n" % written)
                written += 1
            seen += said(reader)
    assert seen == [f"{number}\n" for number in range(written)]


def test_a_reader_that_is_far_behind_goes_on_with_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = logs.Writer(str(path), MOST, 2)
    writer.write(1, b"0\n")
    with reading.Reader(str(path)) as reader:
        assert said(reader) == ["0\n"]
        for number in range(1, 200):
            writer.write(1, b"%d\n" % number)
        later = [int(text) for text in said(reader)]
    steps = [after - before for before, after in itertools.pairwise(later)]
    assert (later[0], later[-1]) == (1, 199)  # the file that it has open stays until it has been read
    assert (steps.count(1), len(set(steps))) == (len(steps) - 1, 2)


@pytest.mark.parametrize("count", [0, 1, 5, 14, 15, 16, 17, 40, 1000])
def test_the_last_lines_of_several_files(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    writer = logs.Writer(str(path), MOST, 4)
    for number in range(100):
        writer.write(1, b"%d\n" % number)
    with reading.Reader(str(path)) as reader:
        kept = said(reader)
    with reading.Reader(str(path)) as reader:
        reader.seek_last(count)
        assert said(reader) == (kept[-count:] if count else [])


def test_a_log_that_is_not_kept(tmp_path: Path) -> None:
    writer = logs.Writer("")
    writer.write(1, b"x\n" * 10)
    writer.close()
    assert writer.lost == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounts.mount(b"none", os.fsencode(disk), b"tmpfs", 0, b"size=64k")
    yield disk
    mounts.umount(os.fsencode(disk))


@pytest.mark.system
@pytest.mark.root
def test_a_full_disk_costs_lines_and_says_so(disk: Path) -> None:
    path = disk / "log"
    writer = logs.Writer(str(path))
    writer.write(1, b"before\n")
    with open(disk / "fill", "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    for number in range(3000):
        writer.write(1, b"%d\n" % number)
    assert 0 < writer.lost < 3000
    assert writer.complaint() == f"{writer.lost} lines of its log were lost: No space left on device"
    lost = writer.lost
    os.unlink(disk / "fill")
    writer.write(1, b"after\n")
    writer.close()
    with reading.Reader(str(path)) as reader:
        lines = said(reader)
    kept = [f"{number}\n" for number in range(3000 - lost)]
    notice = f"[sampan: {lost} lines are missing here: No space left on device]\n"
    assert lines == ["before\n", *kept, notice, "after\n"]


# -- what is asked for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "options", "arguments"),
    [
        ("", ["max-size=10m"], ("/log", 10_000_000, 1, {})),
        ("json-file", ["max-size=1.5k", "max-file=3"], ("/log", 1500, 3, {})),
        ("json-file", ["max-size=-1"], ("/log", 0, 1, {})),
        ("json-file", ["compress=false", "mode=blocking"], ("/log", 0, 1, {})),
        ("local", [], ("/log", 20_000_000, 5, {})),
        ("local", ["max-size=1g"], ("/log", 1_000_000_000, 5, {})),
        ("none", [], ("",)),
    ],
)
def test_drivers(driver: str, options: list[str], arguments: tuple[object, ...]) -> None:
    assert logdrivers.writer(logdrivers.parse(driver, options), "/log") == arguments


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("syslog", []), ("nonsense", []), ("", ["max-size"]), ("", ["max-size=0"]), ("", ["max-size=x"]),
        ("", ["max-size=-5"]), ("", ["max-file=0"]), ("", ["max-file=-1"]), ("", ["max-file=1.5"]), ("", ["magic=1"]),
        ("", ["compress=true"]), ("", ["mode=non-blocking"]), ("", ["tag=x"]), ("", ["labels-regex=("]),
        ("local", ["labels=a"]), ("local", ["max-size=-1"]), ("none", ["max-size=1m"]),
    ],
)  # fmt: skip
def test_no_drivers(driver: str, options: list[str]) -> None:
    with pytest.raises((Invalid, Unsupported)):
        logdrivers.parse(driver, options)


def test_what_goes_with_every_line() -> None:
    asked = Logging("json-file", (("labels", "a, b"), ("env-regex", "^LC_"), ("env", "X")))
    settled = logdrivers.settle(asked, {"a": "1", "c": "3"}, ["LC_ALL=C", "X=y", "OTHER=z"])
    assert settled.attributes == (("LC_ALL", "C"), ("X", "y"), ("a", "1"))


# -- containers -----------------------------------------------------------------------------------------------------


RUN = ("run", "-d", "--network", "none", "--name", "hull")
FLOOD = "seq 1 200000; echo up; while [ ! -e /tmp/end ]; do sleep 0.05; done; echo end"


@pytest.mark.system
def test_a_flood_stays_below_its_limits(anyone: Sampan) -> None:
    """Its monitor stays small too, and a client that follows hears the end."""
    limits = ("--log-opt", "max-size=100k", "--log-opt", "max-file=3")
    identifier = anyone(*RUN, *limits, IMAGE, "sh", "-c", FLOOD).stdout.strip()
    directory = anyone.root / "containers" / identifier
    with started(anyone, "logs", "-f", "hull") as follower:
        read_until(follower.stdout, "up\n")
        assert_small(anyone)
        anyone("exec", "hull", "touch", "/tmp/end")
        assert read_until(follower.stdout, "end\n") == "end\n"
        assert follower.wait(30) == 0
    found = {path.name.removeprefix(f"{identifier}-json.log"): path.stat().st_size for path in directory.glob("*.log*")}
    assert found.keys() == {"", ".1", ".2"}
    assert max(found.values()) < 101_000
    lines = anyone("logs", "hull").stdout.split()
    assert lines[-2:] == ["up", "end"]
    assert [int(line) for line in lines[:-2]] == list(range(200_001 - len(lines) + 2, 200_001))
    assert anyone("logs", "-n", "3", "hull").stdout == "200000\nup\nend\n"


@pytest.mark.system
def test_a_flood_without_limits_is_kept_whole(anyone: Sampan) -> None:
    anyone(*RUN, "--log-driver", "json-file", IMAGE, "sh", "-c", FLOOD.replace("200000", "100000"))
    with started(anyone, "logs", "-f", "hull") as follower:
        assert read_until(follower.stdout, "up\n").split() == [*map(str, range(1, 100_001)), "up"]
        assert_small(anyone)
    anyone("rm", "-f", "hull")


@pytest.mark.system
def test_log_drivers(anyone: Sampan) -> None:
    assert anyone("run", "--rm", "--network", "none", "--log-driver", "none", IMAGE, "echo", "hi").stdout == "hi\n"
    identifier = anyone(*RUN, "--log-driver", "none", IMAGE, "echo", "hi").stdout.strip()
    anyone("wait", "hull")
    assert list((anyone.root / "containers" / identifier).glob("*.log")) == []
    refused = anyone("logs", "hull", check=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        "sampan: container hull keeps no log: it was made with --log-driver none\n",
    )
    value = json.loads(anyone("inspect", "hull").stdout)[0]
    assert (value["HostConfig"]["LogConfig"], value["LogPath"]) == ({"Type": "none", "Config": {}}, "")
    anyone("rm", "hull")
    options = ("--log-driver", "local", "--log-opt", "max-size=1m")
    anyone(*RUN, *options, IMAGE, "echo", "hi")
    anyone("wait", "hull")
    assert anyone("logs", "hull").stdout == "hi\n"
    assert json.loads(anyone("inspect", "hull").stdout)[0]["HostConfig"]["LogConfig"] == {
        "Type": "local", "Config": {"max-size": "1m"},
    }  # fmt: skip


@pytest.mark.system
def test_labels_and_variables_go_with_every_line(anyone: Sampan) -> None:
    asked = ("-l", "site=north pole", "-e", "STAGE=1", "--log-opt", "labels=site,none", "--log-opt", "env=STAGE")
    identifier = anyone(*RUN, *asked, IMAGE, "echo", "hi").stdout.strip()
    anyone("wait", "hull")
    line = json.loads((anyone.root / "containers" / identifier / f"{identifier}-json.log").read_text())
    assert line["attrs"] == {"site": "north pole", "STAGE": "1"}
    assert anyone("logs", "--details", "hull").stdout == "STAGE=1,site=north+pole hi\n"
    assert anyone("logs", "hull").stdout == "hi\n"


@pytest.mark.system
def test_what_closes_its_output_goes_on(anyone: Sampan) -> None:
    """Its monitor neither ends nor spins: it uses no processor time while nothing happens."""
    script = "echo up; exec >&- 2>&- <&-; while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 5"
    anyone(*RUN, IMAGE, "sh", "-c", script)
    assert await_(lambda: anyone("logs", "hull").stdout == "up\n")
    monitor = int(Path(f"/proc/{state(anyone, 'hull')['Pid']}/stat").read_text().rpartition(")")[2].split()[1])

    def ticks() -> int:
        fields = Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    assert_small(anyone)
    before = ticks()
    for _ in range(5):
        assert state(anyone, "hull")["Running"] is True
    assert ticks() - before <= 2
    anyone("exec", "hull", "touch", "/tmp/end")
    assert anyone("wait", "hull").stdout == "5\n"
    anyone("rm", "hull")
    assert_clean(anyone)
