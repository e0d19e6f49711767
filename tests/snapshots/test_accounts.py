"""Names of users and groups come from the image alone, and numbers are numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.errors import Invalid, NotFound, SampanError
from sampan.snapshots.accounts import Account, account, owner
from sampan.snapshots.lookup import Tree

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment
broken line
app:x:1000:1001:App:/home/app:/bin/sh
2000:x:77:77::/odd:/bin/sh
huge:x:4294967296:0::/:/bin/sh
"""
GROUP = """root:x:0:
wheel:x:10:root,app
app:x:1001:
audio:x:29:app
3000:x:78:
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    with Tree([str(tmp_path)], True) as tree:
        yield tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Account(0, 0, (0, 10), "/root")),
        ("root", Account(0, 0, (0, 10), "/root")),
        ("app", Account(1000, 1001, (1001, 10, 29), "/home/app")),
        ("1000", Account(1000, 1001, (1001, 10, 29), "/home/app")),
        ("app:wheel", Account(1000, 10, (10,), "/home/app")),
        ("1000:5", Account(1000, 5, (5,), "/home/app")),
        ("1234", Account(1234, 0, (0,), "/")),
        ("2000", Account(2000, 0, (0,), "/")),
        ("2000:3000", Account(2000, 3000, (3000,), "/")),
    ],
)
def test_account(tree: Tree, text: str, expected: Account) -> None:
    assert account(tree, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("app", (1000, 1001)), ("1000", (1000, 1000)), ("55", (55, 55)), ("app:29", (1000, 29)), ("0:app", (0, 1001))],
)
def test_owner(tree: Tree, text: str, expected: tuple[int, int]) -> None:
    assert owner(tree, text) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("nobody", NotFound),
        ("app:nogroup", NotFound),
        ("1000:", Invalid),
        (":5", Invalid),
        (":", Invalid),
        ("0x1", NotFound),
        ("-1", NotFound),
        ("+1", NotFound),
        ("٥", NotFound),
        ("4294967296", Invalid),
        ("2147483648", Invalid),
        ("huge", NotFound),
        ("0:4294967296", Invalid),
        ("9" * 5000, Invalid),
        ("app:wheel:x", NotFound),
    ],
)
def test_refused(tree: Tree, text: str, kind: type[SampanError]) -> None:
    for resolve in (account, owner):
        with pytest.raises(kind):
            resolve(tree, text)


def test_an_image_without_accounts_has_root() -> None:
    with Tree([], True) as tree:
        assert account(tree, "root") == Account(0, 0, (0,), "/root")
        assert owner(tree, "root:root") == (0, 0)


def test_a_huge_group_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with open(tmp_path / "etc/group", "wb") as file:
        file.truncate(1 << 40)
    with Tree([str(tmp_path)], True) as tree, pytest.raises(Invalid, match="larger"):
        account(tree, "0")
