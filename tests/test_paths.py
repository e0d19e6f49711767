"""Where the store lies, and who may look into it."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from sampan import paths
from sampan.errors import Denied, Invalid


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAMPAN_ROOT", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SAMPAN_ROOT": "/s", "XDG_DATA_HOME": "/d", "HOME": "/h"}, "/s"),
        ({"XDG_DATA_HOME": "/d", "HOME": "/h"}, "/d/sampan"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/h"}, "/h/.local/share/sampan"),
        ({"XDG_DATA_HOME": "", "HOME": "/h"}, "/h/.local/share/sampan"),
    ],
)
def test_variables(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert paths.default_root(1000) == expected


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_the_list_of_users_counts(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert paths.default_root(1000) == f"{pwd.getpwuid(os.getuid()).pw_dir}/.local/share/sampan"


def test_a_user_without_any_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    with pytest.raises(Invalid, match="user 3999999999 has no home directory to keep things in") as caught:
        paths.default_root(3_999_999_999)
    assert "--root DIR" in str(caught.value.hint)
    assert paths.default_root(0) == "/var/lib/sampan"


def test_nobody_else_may_look_into_what_is_made(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        paths.make(f"{tmp_path}/a/b/c")
        paths.make(f"{tmp_path}/a/b/c")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c")] == [
        0o700
    ] * 3


def test_a_directory_that_cannot_be_made_is_told() -> None:
    with pytest.raises(Denied, match=r"the store's directory /proc/.*cannot be made") as caught:
        paths.make("/proc/self/fdinfo/store/locks")
    assert "SAMPAN_ROOT" in str(caught.value.hint)
