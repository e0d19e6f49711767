import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import elves
from sampan.bases import libraries
from sampan.bases.libraries import By, Library, Search


def names(search: Search, path: str) -> list[str]:
    return [library.path for library in search.closure(path).libraries]


def test_libraries_of_libraries_each_once(tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    program = elves.put(tmp_path / "program", elves.elf(needed=["liba.so", "libb.so"]))
    a = elves.put(lib / "liba.so", elves.elf(needed=["libc.so"]))
    b = elves.put(lib / "libb.so", elves.elf(needed=["libc.so", "liba.so"]))
    c = elves.put(lib / "libc.so", elves.elf(needed=["libb.so"]))
    assert names(Search([str(lib)]), program) == [a, b, c]


def test_what_is_nowhere_is_named_once(tmp_path: Path) -> None:
    program = elves.put(tmp_path / "program", elves.elf(needed=["liba.so", "libgone.so"]))
    elves.put(tmp_path / "lib/liba.so", elves.elf(needed=["libgone.so"]))
    assert Search([str(tmp_path / "lib")]).closure(program).missing == ("libgone.so",)


def test_a_library_for_another_machine_is_passed_over(tmp_path: Path) -> None:
    program = elves.put(tmp_path / "program", elves.elf(needed=["liba.so"]))
    elves.put(tmp_path / "first/liba.so", elves.elf(machine=elves.AARCH64))
    elves.put(tmp_path / "second/liba.so", elves.elf(bits=32))
    elves.put(tmp_path / "third/liba.so", b"INPUT(-lfoo)\n")
    right = elves.put(tmp_path / "fourth/liba.so", elves.elf())
    places = [str(tmp_path / name) for name in ("first", "second", "third", "fourth")]
    assert names(Search(places), program) == [right]


@pytest.mark.parametrize(
    ("rpath", "runpath", "expected"),
    [
        ("$ORIGIN/own", "", "own"),  # RPATH goes before everything
        ("", "$ORIGIN/own", "path"),  # RUNPATH comes after LD_LIBRARY_PATH ...
        ("", "${ORIGIN}/other", "path"),
        ("$ORIGIN/own", "$ORIGIN/other", "path"),  # ... and switches RPATH off
        ("", "", "path"),
    ],
)
def test_the_order_of_the_loader(tmp_path: Path, rpath: str, runpath: str, expected: str) -> None:
    for place in ("own", "other", "path", "system"):
        elves.put(tmp_path / place / "liba.so", elves.elf())
    program = elves.put(tmp_path / "program", elves.elf(needed=["liba.so"], rpath=rpath, runpath=runpath))
    search = Search([str(tmp_path / "system")], [str(tmp_path / "path")])
    assert names(search, program) == [str(tmp_path / expected / "liba.so")]


def test_runpath_goes_before_the_system(tmp_path: Path) -> None:
    for place in ("own", "system"):
        elves.put(tmp_path / place / "liba.so", elves.elf())
    program = elves.put(tmp_path / "program", elves.elf(needed=["liba.so"], runpath=str(tmp_path / "own")))
    (library,) = Search([str(tmp_path / "system")]).closure(program).libraries
    assert library == Library("liba.so", str(tmp_path / "own/liba.so"), By.ABSOLUTE)


def test_rpath_is_inherited_and_runpath_is_not(tmp_path: Path) -> None:
    own = tmp_path / "own"
    a = elves.put(own / "liba.so", elves.elf(needed=["libb.so"]))
    b = elves.put(own / "libb.so", elves.elf())
    old = elves.put(tmp_path / "old", elves.elf(needed=["liba.so"], rpath=str(own)))
    new = elves.put(tmp_path / "new", elves.elf(needed=["liba.so"], runpath=str(own)))
    assert names(Search([]), old) == [a, b]
    assert Search([]).closure(new).missing == ("libb.so",)


def test_a_plug_in_is_looked_up_with_its_program(tmp_path: Path) -> None:
    plug_in = elves.put(tmp_path / "plug-in.so", elves.elf(needed=["liba.so"]))
    a = elves.put(tmp_path / "own/liba.so", elves.elf())
    program = elves.put(tmp_path / "bin/program", elves.elf(rpath="$ORIGIN/../own"))
    search = Search([])
    assert search.closure(plug_in).missing == ("liba.so",)
    assert [found.path for found in search.closure(plug_in, search.rpath(program)).libraries] == [a]


def test_origin_is_that_of_the_file_behind_a_link(tmp_path: Path) -> None:
    program = elves.put(tmp_path / "real/program", elves.elf(needed=["liba.so"], runpath="$ORIGIN"))
    a = elves.put(tmp_path / "real/liba.so", elves.elf())
    (tmp_path / "link").symlink_to(program)
    assert names(Search([]), str(tmp_path / "link")) == [a]


def test_places_that_depend_on_the_caller_are_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elves.put(tmp_path / "liba.so", elves.elf())
    program = elves.put(tmp_path / "program", elves.elf(needed=["liba.so"], runpath=".:$PLATFORM:/none/$LIB"))
    monkeypatch.chdir(tmp_path)
    assert Search([]).closure(program).missing == ("liba.so",)


def test_a_directory_or_a_pipe_of_that_name_is_no_library(tmp_path: Path) -> None:
    program = elves.put(tmp_path / "program", elves.elf(needed=["liba.so", "libb.so"]))
    (tmp_path / "liba.so").mkdir()
    os.mkfifo(tmp_path / "libb.so")
    assert Search([str(tmp_path)]).closure(program).missing == ("liba.so", "libb.so")


def test_ld_so_conf_with_what_it_includes(tmp_path: Path) -> None:
    main = tmp_path / "ld.so.conf"
    (tmp_path / "d").mkdir()
    main.write_text("# none\n/first  # that is it\ninclude d/*.conf\n/last\nrelative\nhwcap 0 nosegneg\n")
    (tmp_path / "d/b.conf").write_text("/b1:/b2,/b3\n")
    (tmp_path / "d/a.conf").write_text(f"/a\ninclude {main}\ninclude missing.conf\n")
    assert libraries.configured(str(main)) == ["/first", "/a", "/b1", "/b2", "/b3", "/last"]


@pytest.mark.interop
@pytest.mark.parametrize("program", ["sh", "ls", "tar", "ps", "python"])
def test_the_loader_finds_the_same(program: str) -> None:
    path = os.path.realpath(sys.executable if program == "python" else shutil.which(program) or "")
    loader = (header.interpreter if (header := Search([]).read(path)) else "") or pytest.fail(f"{path} is static")
    listed = subprocess.run([loader, "--list", path], check=True, capture_output=True, text=True).stdout
    expected = {os.path.realpath(found) for found in re.findall(r"=> (/\S+)", listed)}
    closure = libraries.search(loader).closure(path)
    assert {os.path.realpath(library.path) for library in closure.libraries} - {os.path.realpath(loader)} == expected
    assert closure.missing == ()
