"""What is asked of containers, their names and their logs: values, without a container."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.containers import logs, names, reading
from sampan.containers.ending import parse_signal
from sampan.containers.options import Mount, Options, parse_volume
from sampan.containers.spec import check_target, command, environment
from sampan.containers.state import State, read_state, write_state
from sampan.errors import Invalid
from sampan.oci.config import ContainerConfig
from sampan.snapshots.users import User

ROOT = User(0, 0, (0,), "/root", "root")


def test_options_survive_json() -> None:
    options = Options(
        ("a", "b"), (), ("K=v",), (Mount("/s", "/t", True),), "/w", "u", "h", "none", ("1:2",), (("l", "m"),),
        "SIGINT", 3, True, True, True, ("a",),
    )  # fmt: skip
    for each in (options, Options()):
        assert Options.from_json(json.loads(json.dumps(each._asdict()))) == each


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/data", Mount("", "/data")),
        ("vol:/data", Mount("vol", "/data")),
        ("/host:/data:ro", Mount("/host", "/data", True)),
        ("/host:/data/:rw,rslave", Mount("/host", "/data", False, "rslave")),
        ("vol:/data:z,ro", Mount("vol", "/data", True)),
    ],
)
def test_volumes(text: str, mount: Mount) -> None:
    assert parse_volume(text) == mount


@pytest.mark.parametrize(
    "text", ["", ":", "a:", ":/x", "a:b", "x", "/:/", "a:/", "v:/x:no", "a:b:c:d", "-v:/x", "v/w:/x"]
)
def test_volumes_that_cannot_be(text: str) -> None:
    with pytest.raises(Invalid):
        check_target(parse_volume(text).target)


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/../proc", "//proc", "/x/../proc/1", "/", "/..", "relative"])
def test_targets_that_cannot_be(target: str) -> None:
    with pytest.raises(Invalid):
        check_target(target)


IMAGE = ContainerConfig(entrypoint=("entry",), cmd=("word",))


@pytest.mark.parametrize(
    ("options", "config", "expected"),
    [
        (Options(), IMAGE, ["entry", "word"]),
        (Options(command=("x",)), IMAGE, ["entry", "x"]),
        (Options(entrypoint=("e",)), IMAGE, ["e"]),
        (Options(entrypoint=("e",), command=("x",)), IMAGE, ["e", "x"]),
        (Options(entrypoint=(), command=("x",)), IMAGE, ["x"]),
        (Options(), ContainerConfig(cmd=("c",)), ["c"]),
        (Options(), ContainerConfig(entrypoint=("e",)), ["e"]),
    ],
)
def test_commands(options: Options, config: ContainerConfig, expected: list[str]) -> None:
    assert command(options, config) == expected


def test_no_command() -> None:
    with pytest.raises(Invalid, match="no command"):
        command(Options(), ContainerConfig())


def test_environment() -> None:
    config = ContainerConfig(env=("A=1", "B=1", "MALFORMED", "PATH=/p"))
    values = environment(Options(env=("B=2", "C=x=y", "D=")), config, ROOT, "box")
    assert values == ["PATH=/p", "HOSTNAME=box", "A=1", "B=2", "C=x=y", "D=", "HOME=/root"]
    assert "TERM=xterm" in environment(Options(terminal=True), config, ROOT, "box")
    assert "HOME=/h" in environment(Options(env=("HOME=/h",)), config, ROOT, "box")


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("SIGKILL", 9), ("9", 9), ("sigusr1", 10), ("rtmin", 34)])
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NOPE", "SIG", "SIG_IGN", "1.5"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(Invalid):
        parse_signal(text)


def test_invented_names() -> None:
    taken: set[str] = set()
    for _ in range(300):
        name = names.invent(taken)
        assert names.check(name) not in taken
        taken.add(name)


@pytest.mark.parametrize("name", ["", "a", "-ab", "a b", "ab/", "äb", "_x", "a\n"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(Invalid):
        names.check(name)


def test_state_is_replaced_whole(tmp_path: Path) -> None:
    assert read_state(str(tmp_path)) == State()
    state = State("running", 7, 0, "s", "", "", "10.0.0.2", (("", 80, 8080, "tcp"),))
    write_state(str(tmp_path), state)
    assert read_state(str(tmp_path)) == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.text(max_size=40)), max_size=12))
def test_a_log_has_all_of_each_stream(chunks: list[tuple[int, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/log"
        writer = logs.Writer(path)
        for stream, text in chunks:
            writer.write(stream, text.encode())
        writer.close()
        lines = _lines(path)
    for stream in (1, 2):
        said = "".join(text for number, text in chunks if number == stream)
        assert "".join(line.text for line in lines if line.stream == stream) == said


def test_long_lines_come_in_parts(tmp_path: Path) -> None:
    writer = logs.Writer(str(tmp_path / "log"))
    writer.write(1, b"x" * 40_000)
    writer.write(1, b"y\nend")
    writer.close()
    texts = [line.text for line in _lines(tmp_path / "log")]
    assert "".join(texts) == "x" * 40_000 + "y\nend"
    assert [len(text) for text in texts] == [logs.PART, logs.PART, 40_002 - 2 * logs.PART, 3]


def test_tail_and_what_a_crash_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = logs.Writer(str(path))
    writer.write(1, b"1\n2\n3\n")
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"log":"half')
    assert [line.text for line in _lines(path, last=2)] == ["2\n", "3\n"]
    assert _lines(tmp_path / "none", last=2) == []


@pytest.mark.parametrize("last", [0, 1, 9, 1000, 4999, 5000, 5001])
def test_the_last_lines_of_a_log_of_many_blocks(tmp_path: Path, last: int) -> None:
    writer = logs.Writer(str(tmp_path / "log"))
    said = [f"{number} {'x' * (number % 97)}\n" for number in range(5000)]
    writer.write(1, "".join(said).encode())
    writer.close()
    assert [line.text for line in _lines(tmp_path / "log", last=last)] == said[max(0, 5000 - last) :]


def test_the_last_lines_are_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:  # a terabyte that is not on the disk, and would take an hour to read
        file.seek(1 << 40)
        file.write(b'\n{"log":"1\\n","stream":"stdout","time":""}\n{"log":"2\\n","stream":"stdout","time":""}\n')
    assert [line.text for line in _lines(path, last=2)] == ["1\n", "2\n"]


def _lines(path: Path | str, last: int | None = None) -> list[reading.Line]:
    with reading.Reader(str(path)) as reader:
        if last is not None:
            reader.seek_last(last)
        return list(reader.lines())


def test_times_are_rfc_3339() -> None:
    assert logs.timestamp(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
