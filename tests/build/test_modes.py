"""Symbolic modes, compared with what chmod(1) does under an empty umask."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from sampan.build import modes
from sampan.errors import Invalid

TEXTS = (
    "u=rwX,go=rX", "+x", "a+X", "-x", "u+s", "g+s", "ug+s,o+t", "=", "a=r", "u=g", "g=u,o=g", "o-rwx", "u+w-x", "go=",
    "+t", "u=s", "=rwx", "ugo+rw", "o=t", "g-s,u-s", "=st", "u+t", "+s", "a-st", "0640", "755", "07777",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_as_chmod_does(tmp_path: Path, text: str) -> None:
    starts = (0o644, 0o755, 0o600, 0o4711, 0o2070, 0o1777, 0o000, 0o7777)
    expected, found = [], []
    for start in starts:
        for path in (tmp_path / f"d{start:o}", tmp_path / f"f{start:o}"):
            path.mkdir() if path.name[0] == "d" else path.touch()
            path.chmod(start)
    names = sorted(os.listdir(tmp_path))
    symbolic = not text[0].isdigit()
    subprocess.run(["chmod", text if symbolic else f"0{text:0>5}", *names], cwd=tmp_path, check=True, umask=0)
    for name in names:
        expected.append(f"{name} {stat.S_IMODE(os.stat(tmp_path / name).st_mode):04o}")
        found.append(f"{name} {modes.apply(modes.parse(text), int(name[1:], 8), name[0] == 'd'):04o}")
    assert found == expected


@pytest.mark.parametrize("text", ["", "8", "17777", "u", "x", "u+r,", ",u+r", "u+rz", "ug=uo", "+ x", "-1", "0x1"])
def test_no_mode(text: str) -> None:
    with pytest.raises(Invalid):
        modes.parse(text)
