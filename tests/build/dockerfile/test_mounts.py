"""RUN --mount: its words, what they mean, and what is refused."""

import pytest

from sampan.build.dockerfile.mounts import parse, resolve
from sampan.build.graph import Mount, Scratch
from sampan.errors import Invalid

STAGE = Scratch()


def mount(text: str, number: int = 0) -> Mount:
    written = parse(text)
    return resolve(written, lambda word: word.replace("$V", "v"), "/w", STAGE if written.needs_origin else None, number)


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
        ("type=tmpfs,target=/t", Mount("tmpfs", "/t")),
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
        "type=volume,target=/t", "type=bind", "type=bind,target=/", "type=bind,target=/t,bind-propagation=shared",
        "type=tmpfs,target=/t,from=x", "type=cache,target=/t,sharing=all", "type=cache,target=/t,mode=9",
        "type=cache,target=/t,uid=-1", "type=cache,target=/t,size=1", "type=secret", "type=secret,id=a,env==",
        "type=ssh,env=X", "type=tmpfs,target=/t,size=much", "type=bind,target=/t,rw=maybe", "target", "",
        'type=cache,"target=/t', "type=cache,target=/t,required",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        mount(text)
