"""``-v`` as moby's parser for Linux has it: what it takes, and what it refuses."""

import pytest

from sampan.containers.options import parse_volume
from sampan.containers.spec import check_target
from sampan.errors import Invalid

VALID = (
    "/home", "/home:/home", "/home:/something/else", "/with space", "/home:/with space", "name:/absolute-path",
    "/hostPath:/containerPath:ro", "/hostPath:/containerPath:rw", "/rw:/ro", "/hostPath:/containerPath:shared",
    "/hostPath:/containerPath:rshared", "/hostPath:/containerPath:slave", "/hostPath:/containerPath:rslave",
    "/hostPath:/containerPath:private", "/hostPath:/containerPath:rprivate", "/hostPath:/containerPath:ro,shared",
    "/hostPath:/containerPath:ro,slave", "/hostPath:/containerPath:ro,private", "/hostPath:/containerPath:ro,z,shared",
    "/hostPath:/containerPath:ro,Z,slave", "/hostPath:/containerPath:Z,ro,slave", "/hostPath:/containerPath:slave,Z,ro",
    "/hostPath:/containerPath:Z,slave,ro", "/hostPath:/containerPath:slave,ro,Z",
    "/hostPath:/containerPath:rslave,ro,Z",
    "/hostPath:/containerPath:ro,rshared,Z", "/hostPath:/containerPath:ro,Z,rprivate", "name:/path:nocopy",
    "/hostPath:/containerPath:cached", "/hostPath:/containerPath:ro,delegated",
)  # fmt: skip
INVALID = (
    "", "./", "../", "/:/", "/path:/", ":/path", "/path::ro", "/path:relative", "hello", ":test", ":test:", "tmp:",
    "::", ":::", "/tmp:::", ":/tmp::", "/path:rw", "/path:ro", "/rw:rw", "path:ro", "/path:/path:sw", "/path:/path:rwz",
    "/path:/path:ro:rw", "/path:/path:ro,rw", "/path:/path:rw,rw", "/path:/path:z,Z", "/path:/path:ro,rshared,rslave",
    "/path:/path:ro,z,rshared,rslave", "/path:shared", "/path:slave", "/path:private", "/path:/path:shared,shared",
    "/path:/path:cached,delegated", "name:/..", "/hostPath:/containerPath:rw,ro,shared",
)  # fmt: skip


@pytest.mark.parametrize("text", VALID)
def test_valid(text: str) -> None:
    mount = parse_volume(text)
    check_target(mount.target)
    words = text.split(":")
    assert mount.read_only == ("ro" in words[2].split(",") if len(words) == 3 else False)


@pytest.mark.parametrize("text", INVALID)
def test_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        check_target(parse_volume(text).target)
