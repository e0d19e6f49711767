"""RUN --mount: its words, what they mean, and what is refused."""

from collections.abc import Callable

import pytest

from sampan.build.dockerfile.mounts import parse, resolve
from sampan.build.graph import Mount, Scratch
from sampan.errors import Invalid

STAGE = Scratch()


def expand(word: str) -> str:
    return word.replace("$V", "v").replace("$ON", "true").replace("$KIND", "cache")


def mount(text: str, number: int = 0, warn: Callable[[str], None] = pytest.fail) -> Mount:
    written = parse(text)
    return resolve(written, expand, "/w", STAGE if written.needs_origin else None, number, warn)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/t", Mount("bind", "/t", ".", STAGE, readonly=True)),
        ("type=bind,from=x,src=/a/../b,dst=t,rw", Mount("bind", "/w/t", "b", STAGE)),
        ("type=bind,source=../../$V,destination=/t/../u,ro=false", Mount("bind", "/u", "v", STAGE)),
        ("type=cache,target=/c/", Mount("cache", "/c", ".", None, "/c", sharing="shared", mode=0o755)),
        ('type=cache,target=c,"id=a,b",ro,sharing=locked,mode=0700,uid=1,gid=2',
         Mount("cache", "/w/c", ".", None, "a,b", True, "locked", mode=0o700, uid=1, gid=2)),
        ("type=cache,target=/c,from=x,source=s", Mount("cache", "/c", "s", STAGE, "/c", sharing="shared", mode=0o755)),
        ("type=bind", Mount("bind", "/w", ".", STAGE, readonly=True)),
        ("type=cache,id=i", Mount("cache", "/w", ".", None, "i", sharing="shared", mode=0o755)),
        ("type=$KIND,target=/c,ro=$ON", Mount("cache", "/c", ".", None, "/c", True, "shared", mode=0o755)),
        ("type=Cache,target=/c,sharing=LOCKED,mode=01777,uid=4294967294,rw=F",
         Mount("cache", "/c", ".", None, "/c", True, "locked", mode=0o1777, uid=4294967294)),
        ("target=/t,ro,rw", Mount("bind", "/t", ".", STAGE)),
        ("type=tmpfs,target=/t", Mount("tmpfs", "/t")),
        ("type=tmpfs,target=/t,ro,size=1.5g", Mount("tmpfs", "/t", readonly=True, size=3 << 29)),
        ("type=tmpfs,target=/t,size=64m", Mount("tmpfs", "/t", size=64 << 20)),
        ("type=secret,id=a/b", Mount("secret", "/run/secrets/b", id="a/b", mode=0o400)),
        ("type=secret,target=/x/s,required", Mount("secret", "/x/s", id="s", required=True, mode=0o400)),
        ("type=secret,id=s,env=S", Mount("secret", "", id="s", mode=0o400, env="S")),
        ("type=secret,id=s,env=S,target=t", Mount("secret", "/w/t", id="s", mode=0o400, env="S")),
        ("type=ssh", Mount("ssh", "/run/buildkit/ssh_agent.3", id="default", mode=0o600)),
        ("TYPE=ssh,id=i,target=/s,required=true,uid=7", Mount("ssh", "/s", id="i", required=True, mode=0o600, uid=7)),
    ],
)  # fmt: skip
def test_meanings(text: str, expected: Mount) -> None:
    assert mount(text, 3) == expected


@pytest.mark.parametrize(
    "text",
    [
        "type=volume,target=/t", "type=bind,target=/", "type=bind,target=/t,bind-propagation=shared",
        "type=tmpfs,target=/t,uid=1", "type=cache,target=/t,sharing=all", "type=cache,target=/t,mode=9",
        "type=cache,target=/t,uid=-1", "type=cache,target=/t,size=1", "type=secret", "type=secret,id=a,env==",
        "type=ssh,source=x", "type=secret,id=a,source=b", "type=secret,id=a,from=b",
        "type=cache,target=/t,uid=4294967295", "type=bind,target=/t,sharing=shared",
        "type=tmpfs,target=/t,size=much", "type=bind,target=/t,rw=maybe", "target", "",
        'type=cache,"target=/t', "type=cache,target=/t,required",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        mount(text)


def test_what_changes_nothing_is_said() -> None:
    said: list[str] = []
    mount("type=tmpfs,target=/t,id=i,from=x", warn=said.append)
    mount("target=/t,env=E", warn=said.append)
    assert said == [f"--mount: {name} means nothing for type={kind}" for name, kind in
                    (("id", "tmpfs"), ("from", "tmpfs"), ("env", "bind"))]  # fmt: skip
