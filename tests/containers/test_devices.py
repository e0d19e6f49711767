"""Devices of the host: by their paths, by rules of a cgroup, and by what their vendors describe (CDI)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from commands import Sampan
from residents import IMAGE, assert_clean
from sampan.containers import cdi, devices
from sampan.errors import Invalid, NotFound, SampanError, Unsupported

RUN = ("run", "--rm", "--network", "none")
FUSE = ("10", "229")
NODE = {"path": "/dev/t", "hostPath": "/dev/full"}
VENDOR: dict[str, Any] = {
    "cdiVersion": "0.6.0",
    "kind": "example.com/toy",
    "containerEdits": {"env": ["COMMON=1"], "additionalGids": [77]},
    "devices": [
        {"name": "one", "containerEdits": {"env": ["TOY=one"], "deviceNodes": [NODE]}},
        {"name": "two", "containerEdits": {"env": ["TOY=two"]}},
    ],
}  # fmt: skip


def base() -> dict[str, Any]:
    process = {"env": ["PATH=/bin", "TOY=none"], "user": {"additionalGids": []}}
    return {"process": process, "mounts": [], "linux": {"resources": {}}}


def describe(directory: Path, value: object, name: str = "toy.json") -> str:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return str(directory)


# -- languages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", ["all"]),
        ("2", ["0", "1"]),
        ("count=1", ["0"]),
        ("device=3,driver=nvidia", ["3"]),
        ('"device=0,GPU-9f"', ["0", "GPU-9f"]),
        ("driver=nvidia", ["0"]),
        ('all,"capabilities=gpu,utility"', ["all"]),
    ],
)
def test_gpus(text: str, names: list[str]) -> None:
    assert cdi.parse_gpus(text) == tuple(f"nvidia.com/gpu={name}" for name in names)


@pytest.mark.parametrize("text", ["some", "1,2", "count=1,device=0", "magic=1", "-2", "driver=amd", "all,options=a=b"])
def test_no_gpus(text: str) -> None:
    with pytest.raises(SampanError, match="--gpus"):
        cdi.parse_gpus(text)


@pytest.mark.parametrize("text", ["c 1:3 rwm", "b *:* m", "a 5:1 r", "c 10:* rw"])
def test_rules(text: str) -> None:
    assert devices.parse_rule(text) == text


@pytest.mark.parametrize("text", ["", "c 1:3", "c 1:3 rwx", "d 1:3 r", "c 1 r", "c  1:3 r", "c 1:3 r\n", "c a:b r"])
def test_no_rules(text: str) -> None:
    with pytest.raises(Invalid, match="--device-cgroup-rule"):
        devices.parse_rule(text)


@pytest.mark.parametrize("text", ["/dev/null", "nvidia.com/gpu", "nvidia.com=0", "a/b=", "/dev/a=b", "a/b/c=d"])
def test_what_is_no_name_of_a_device(text: str) -> None:
    assert not cdi.is_name(text)


# -- descriptions ---------------------------------------------------------------------------------------------------


def test_edits_are_made_once_for_all_and_for_each(tmp_path: Path) -> None:
    spec = base()
    directory = describe(tmp_path, VENDOR)
    cdi.apply(("example.com/toy=one", "example.com/toy=two"), (directory, "/no/such"), spec)
    assert spec["process"]["env"] == ["PATH=/bin", "COMMON=1", "TOY=two"]
    assert spec["process"]["user"]["additionalGids"] == [77]
    assert spec["linux"]["devices"] == [{"path": "/dev/t", "source": "/dev/full"}]


def test_a_later_directory_counts_and_yaml_is_read(tmp_path: Path) -> None:
    first = describe(tmp_path / "a", VENDOR)
    text = "cdiVersion: 0.6.0\nkind: example.com/toy\ndevices:\n- name: one\n  containerEdits: {env: [TOY=other]}\n"
    second = describe(tmp_path / "b", text.replace("0.6.0", '"0.6.0"'), "toy.yaml")
    spec = base()
    cdi.apply(("example.com/toy=one",), (first, second), spec)
    assert spec["process"]["env"] == ["PATH=/bin", "TOY=other"]
    describe(tmp_path / "b", VENDOR, "again.json")
    with pytest.raises(Invalid, match="several files describe"):
        cdi.apply(("example.com/toy=one",), (first, second), base())


def test_a_device_that_nothing_describes(tmp_path: Path) -> None:
    directory = describe(tmp_path, VENDOR)
    with pytest.raises(NotFound, match=r"example\.com/toy=three") as raised:
        cdi.apply(("example.com/toy=three",), (directory,), base())
    assert raised.value.hint == "there are example.com/toy=one, example.com/toy=two"
    with pytest.raises(NotFound) as raised:
        cdi.apply(("nvidia.com/gpu=all",), (directory,), base())
    assert "nvidia-ctk cdi generate" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("edits", "kind"),
    [
        ({"intelRdt": {}}, Unsupported),
        ({"mounts": [{"hostPath": "etc", "containerPath": "/x"}]}, Invalid),
        ({"mounts": [{"hostPath": "/etc", "containerPath": "/x", "magic": 1}]}, Unsupported),
        ({"deviceNodes": [{"path": "/dev/no-such"}]}, NotFound),
        ({"hooks": [{"hookName": "never", "path": "/x"}]}, Invalid),
        ({"hooks": [{"hookName": "poststop", "path": "/x"}]}, Unsupported),
    ],
)
def test_edits_that_cannot_be_made_are_no_silence(edits: dict[str, Any], kind: type, tmp_path: Path) -> None:
    file = {**VENDOR, "devices": [{"name": "one", "containerEdits": edits}]}
    with pytest.raises(kind):
        cdi.apply(("example.com/toy=one",), (describe(tmp_path, file),), base())


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cdiVersion":"1","kind":"x","devices":[{"name":"one"}]}'])
def test_a_file_that_makes_no_sense_is_named(text: str, tmp_path: Path) -> None:
    directory = describe(tmp_path, text)
    with pytest.raises(Invalid, match=r"toy\.json"):
        cdi.apply(("example.com/toy=one",), (directory,), base())
    describe(tmp_path, VENDOR, "good.json")
    cdi.apply(("example.com/toy=one",), (directory,), base())  # somebody else's file is no hindrance


# -- what a container can do ----------------------------------------------------------------------------------------


@pytest.mark.system
def test_a_described_device(anyone: Sampan) -> None:
    directory = anyone.root / "cdi"
    given = anyone.root / "given"
    given.write_text("by the vendor\n")
    heard = Path("/tmp") / given.parent.name
    edits = {
        "mounts": [{"hostPath": str(given), "containerPath": "/vendor", "options": ["ro", "nosuid", "bind"]}],
        "hooks": [{"hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", f"cat > {heard}"]}],
    }  # fmt: skip
    one = {**VENDOR["devices"][0]["containerEdits"], **edits}
    file = {**VENDOR, "containerEdits": {"env": ["COMMON=1"]}, "devices": [{"name": "one", "containerEdits": one}]}
    describe(directory, file)
    script = "echo $COMMON $TOY; test -c /dev/t && echo node; cat /vendor; (echo x > /vendor) 2>/dev/null || echo kept"
    try:
        options = ("--cdi-spec-dir", str(directory), "--device", "example.com/toy=one")
        found = anyone(*RUN, *options, IMAGE, "sh", "-c", script).stdout
        assert json.loads(heard.read_text())["status"] == "creating"
    finally:
        heard.unlink(missing_ok=True)
    assert found == "1 one\nnode\nby the vendor\nkept\n"
    done = anyone(*RUN, *options, "--gpus", "all", IMAGE, "true", check=False)
    assert (done.returncode, "nvidia-ctk cdi generate" in done.stderr) == (125, True)


@pytest.mark.system
@pytest.mark.root
def test_a_rule_for_nodes_that_are_made_inside(root: Sampan) -> None:
    opened = "mknod /node c 10 229; exec 3<>/node && echo opened"
    other = "; mknod /other c 10 183; head -c1 /other 2>&1"
    done = root(*RUN, "--device-cgroup-rule", "c 10:229 rwm", IMAGE, "sh", "-c", opened + other, check=False)
    assert done.stdout == "opened\nhead: /other: Operation not permitted\n"
    assert root(*RUN, IMAGE, "sh", "-c", opened, check=False).stdout == ""
    assert root(*RUN, "--privileged", IMAGE, "sh", "-c", opened).stdout == "opened\n"
    words = ("--device-cgroup-rule", "c 10:229 rwm", IMAGE, "sh", "-c", "echo > /dev/null; head -c3 /dev/zero | wc -c")
    assert root(*RUN, *words).stdout == "3\n"


@pytest.mark.system
@pytest.mark.root
def test_what_may_be_done_with_a_device(root: Sampan) -> None:
    reading, writing = "exec 3</dev/fuse && echo read", "exec 3<>/dev/fuse && echo written"
    for access, expected in (("r", "read\n"), ("rw", "read\nwritten\n"), ("rwm", "read\nwritten\n")):
        found = root(*RUN, "--device", f"/dev/fuse:{access}", IMAGE, "sh", "-c", f"{reading}; ({writing})", check=False)
        assert found.stdout == expected


@pytest.mark.system
def test_an_ordinary_user_cannot_say_what_may_be_done(ordinary: Sampan) -> None:
    for options in (("--device-cgroup-rule", "c 1:3 r"), ("--device", "/dev/null:/dev/x:r")):
        done = ordinary(*RUN, *options, IMAGE, "true", check=False)
        assert (done.returncode, "an ordinary user cannot say" in done.stderr) == (125, True), done.stderr
    assert_clean(ordinary)
    assert ordinary(*RUN, "--privileged", IMAGE, "echo", "ran").stdout == "ran\n"
    assert os.path.exists("/dev/null")
