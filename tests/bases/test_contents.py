import os
from pathlib import Path

import pytest

from sampan.bases.contents import Contents, Entry, files
from sampan.errors import Denied, Invalid, NotFound


def names(contents: Contents) -> list[str]:
    return [entry.name for entry in contents]


def entry(contents: Contents, path: str | Path) -> Entry:
    return next(entry for entry in contents if entry.name == str(path).strip("/"))


def test_parents_come_first_and_once() -> None:
    contents = Contents()
    contents.write("/usr/lib-x/file", "")
    contents.write("/usr/lib/deep/file", "")
    assert names(contents) == ["usr", "usr/lib", "usr/lib/deep", "usr/lib/deep/file", "usr/lib-x", "usr/lib-x/file"]


def test_what_is_put_first_stays() -> None:
    contents = Contents()
    contents.directory("root", 0o700)
    contents.write("root/file", "one")
    contents.write("/root/file", "two")
    assert entry(contents, "root").mode == 0o700
    assert entry(contents, "root/file").data == b"one"


@pytest.mark.parametrize(("mode", "expected"), [(0o4755, 0o755), (0o600, 0o644), (0o2711, 0o755), (0o666, 0o644)])
def test_modes_are_made_sane(tmp_path: Path, mode: int, expected: int) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(mode)
    contents = Contents()
    contents.copy(str(file))
    assert entry(contents, file).mode == expected


def test_every_link_on_the_way_is_kept(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc/alternatives").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin/mawk").write_text("mawk")
    (root / "etc/alternatives/awk").symlink_to(root / "bin/mawk")
    (root / "usr/bin/awk").symlink_to("../../etc/alternatives/awk")
    contents = Contents()
    contents.follow(f"{root}/bin/awk")
    links = {found.name: found.target for found in contents if found.target}
    here = str(root).strip("/")
    assert links == {
        f"{here}/bin": "usr/bin",
        f"{here}/usr/bin/awk": "../../etc/alternatives/awk",
        f"{here}/etc/alternatives/awk": f"{root}/bin/mawk",
    }
    assert [found.name for found in contents if found.source] == [f"{here}/usr/bin/mawk"]


def test_links_that_lead_nowhere_plan_nothing(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("missing")
    (tmp_path / "loop").symlink_to("loop")
    contents = Contents()
    with pytest.raises(NotFound, match="missing"):
        contents.follow(str(tmp_path / "dangling"))
    with pytest.raises(Invalid, match="links"):
        contents.follow(str(tmp_path / "loop"))
    with pytest.raises(Invalid, match="not a regular file"):
        contents.copy("/dev/null")
    assert names(contents) == []


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(Denied, match="secret"):
        Contents().copy(str(tmp_path / "secret"))


def test_the_place_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    contents = Contents(lambda path: path.replace(str(tmp_path.resolve()), "/usr/local"))
    contents.follow(str(tmp_path.resolve() / "link"))
    assert entry(contents, "usr/local/link").target == "/usr/local/file"
    assert entry(contents, "usr/local/file").source


def test_files_of_a_tree(tmp_path: Path) -> None:
    for name in ("b/one", "a", "skipped/two"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "beside").symlink_to("a")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("..")
    os.mkfifo(tmp_path / "pipe")
    found = [os.path.relpath(path, tmp_path) for path in files(str(tmp_path), lambda name: name != "skipped")]
    assert found == ["a", "b/one", "beside"]
