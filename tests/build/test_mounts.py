"""RUN --mount on a real kernel: what a command sees, and that nothing of it stays."""

import json
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import commands
import trees
from builders import Builder, as_system
from sampan.build.agent import Agent
from sampan.build.mounts import MAX_SECRET, Secret
from sampan.errors import Invalid, NotFound

CANARY = "c4nary-of-the-secret"


def caches(builder: Builder) -> list[Path]:
    """The directories of cache mounts that Dockerfiles asked for."""
    directories = sorted(path for path in (builder.sampan.root / "caches").iterdir() if path.is_dir())
    return [path for path in directories if not (path / "about").read_text().startswith("sampan packages")]


@as_system
def test_a_cache_is_kept_and_in_no_layer(builder: Builder) -> None:
    builder.build(
        "RUN --mount=type=cache,target=/var/c/d stat -c '%a %u %g' /var/c/d && echo 1 > /var/c/d/f && touch /x"
    )
    assert builder.files() == ["x"]
    done = builder.build(
        "RUN --mount=type=cache,target=/other,id=/var/c/d cat /other/f && echo 2 >> /other/f && touch /y"
    )
    assert " 1\n" in done.stderr
    assert builder.files() == ["y"]
    said = builder.failure("RUN --mount=type=cache,target=/var/c/d,ro cat /var/c/d/f; touch /var/c/d/new")
    assert " 2\n" in said
    assert "Read-only file system" in said
    assert len(caches(builder)) == 1


@as_system
def test_owner_and_mode_of_a_cache(builder: Builder) -> None:
    done = builder.build(
        "USER app\nRUN --mount=type=cache,target=/c,uid=1000,gid=1001,mode=0700 stat -c '%a %u %g' /c && touch /c/f"
    )
    assert " 700 1000 1001\n" in done.stderr


@as_system
def test_an_id_is_no_path(builder: Builder) -> None:
    """CVE-2024-9675: a cache's id leads to a directory of the host's."""
    outside = builder.context / "outside"
    outside.mkdir()
    for id_ in ("../../../../outside", str(outside), "..", "."):
        builder.build(f"RUN --mount=type=cache,target=/c,id={id_} touch /c/f")
    assert list(outside.iterdir()) == []
    assert {len(path.name) for path in caches(builder)} == {64}


@as_system
def test_a_cache_that_begins_with_something(builder: Builder) -> None:
    lines = "FROM base AS first\nRUN mkdir /d && echo seed > /d/f && ln -s /etc /d/l\nFROM base\n"
    mount = "RUN --mount=type=cache,target=/c,from=first,source=/d"
    assert " seed\n" in builder.build(f"{lines}{mount} cat /c/f && echo grown > /c/f").stderr
    assert " grown\n" in builder.build(f"{lines}{mount} cat /c/f /c/l/group").stderr
    builder.build(f"{lines}RUN --mount=type=cache,target=/c test ! -e /c/f")


@as_system
def test_a_part_of_a_cache(builder: Builder) -> None:
    """CVE-2024-23651, too: what the path leads to is decided below the cache, whoever put a link there."""
    whole, part = (f"--mount=type=cache,id=whole,{rest},target=/c" for rest in ("sharing=shared", "source=/sub/dir"))
    builder.build(f"RUN {whole} mkdir -p /c/sub/dir && echo part > /c/sub/dir/f && ln -s /etc /c/link")
    done = builder.build(f"RUN {part} cat /c/f && touch /c/g\nRUN {whole} ls /c/sub/dir | xargs")
    assert " part\n" in done.stderr
    assert " f g\n" in done.stderr
    assert "No such file or directory" in builder.failure(f"RUN {part.replace('sub/dir', 'link')} cat /c/hostname")
    assert len(caches(builder)) == 1


@as_system
def test_private_caches_are_apart_and_locked_ones_take_turns(builder: Builder) -> None:
    meet = "nc -l -p 12347 -w 30 -e true", "until nc 127.0.0.1 12347 < /dev/null; do sleep 0.1; done"
    stages = (
        "FROM base AS one\nRUN {0} {1}\nFROM base AS two\nRUN {0} {2}\nFROM base\n"
        "COPY --from=one /bin/sh /1\nCOPY --from=two /bin/sh /2"
    )
    # Both at the same time in two directories: each waits for the other.
    both = [f"set -e; touch /c/$$; {each}; test $(ls /c | wc -l) = 1" for each in meet]
    builder.build(stages.format("--mount=type=cache,target=/c,sharing=private", *both), "--network", "host")
    assert len(caches(builder)) == 2
    # One after the other: nobody meets the other's mark.
    turn = "set -e; mkdir /c/busy; sleep 0.3; rmdir /c/busy; echo {}"
    builder.build(stages.format("--mount=type=cache,target=/c,sharing=locked,id=turns", turn.format(1), turn.format(2)))
    # Shared: both in one directory.
    both = [f"touch /c/{name}; {each}; test $(ls /c | wc -l) = 2" for name, each in zip("ab", meet, strict=True)]
    builder.build(stages.format("--mount=type=cache,target=/c,id=s", *both), "--network", "host")


@as_system
def test_tmpfs(builder: Builder) -> None:
    done = builder.build(
        "RUN --mount=type=tmpfs,target=/etc/t,size=1m df -k /etc/t | tail -1 && "
        "mount | grep ' /etc/t ' && touch /etc/t/f"
    )
    assert "1024" in done.stderr
    assert "type tmpfs (rw,nosuid,nodev" in done.stderr
    assert builder.files() == []


@as_system
def test_a_bind_of_the_context_is_a_copy_that_is_thrown_away(builder: Builder) -> None:
    """CVE-2025-4953, and .dockerignore counts."""
    trees.make(
        builder.context / "src",
        {"a": trees.File("a", 0o600, (1000, 1000)), "d/b": "b", "no": "no", "l": trees.Link("/etc/passwd")},
    )
    (builder.context / ".dockerignore").write_text("src/no\n")
    before = trees.describe(builder.context / "src")
    lines = "WORKDIR /w\nRUN --mount=source=src,target=m{} "
    lines += "ls -ln m && ls m | xargs && stat -c '%a %u' m/a && echo x > m/d/b"
    said = builder.failure(lines.format(""))
    assert "Read-only file system" in said
    done = builder.build(lines.format(",rw"))
    assert " a d l\n" in done.stderr
    assert " 600 0\n" in done.stderr
    assert builder.files() == []
    assert trees.describe(builder.context / "src") == before
    # One file, below a directory that the image lacks; what it holds is part of the key.
    single = "RUN --mount=source=src/a,target=/n/m/a cat /n/m/a && ! echo x > /n/m/a"
    assert "DONE" in builder.build(single).stderr
    assert "DONE" not in builder.build(single).stderr
    (builder.context / "src/a").write_text("changed")
    assert " changed" in builder.build(single).stderr
    assert builder.files() == []


@as_system
def test_a_bind_of_a_stage_is_the_whole_merged_tree(builder: Builder) -> None:
    lines = (
        "FROM base AS one\nRUN mkdir /d && echo 1 > /d/a && echo 1 > /d/b\nRUN rm /d/a && echo 2 > /d/c\nFROM base\n"
        "RUN --mount=from=one,source=/d,target=/m{} ls /m | xargs && cat /m/c && {} && touch /done\n"
    )
    done = builder.build(lines.format("", "! touch /m/x"))
    assert " b c\n" in done.stderr
    assert builder.files() == ["done"]
    builder.build(lines.format(",rw", "touch /m/x && rm /m/b"))
    assert builder.files() == ["done"]
    # A change elsewhere in the stage changes nothing.
    again = builder.build(
        lines.format(",rw", "touch /m/x && rm /m/b").replace("echo 1 > /d/b", "echo 1 > /d/b; touch /y")
    )
    assert again.stderr.count("DONE") == 2
    assert "is not there" in builder.failure(lines.format("", "true").replace("source=/d,", "source=/e,"))


@as_system
@pytest.mark.parametrize("link", ["/", "../../../../..", "/proc/1/root"])
def test_a_source_never_leads_out(builder: Builder, link: str) -> None:
    """CVE-2024-1753: a link in the image, or in the context, that is mounted."""
    canary = builder.context.parent / "canary-outside"
    canary.write_text("")
    (builder.context / "link").symlink_to(link)
    inside = f"/m{canary}"
    try:
        for lines in (
            f"FROM base AS evil\nRUN ln -s {link} /link\nFROM base\nRUN --mount=from=evil,source=/link,target=/m,rw ",
            "RUN --mount=source=link,target=/m,rw ",
        ):
            done = builder.build(f"{lines} ls -d /m && ! test -e {inside}", check=False)
            assert done.returncode == 0 or "is not there" in done.stderr
    finally:
        canary.unlink()


def leaks(builder: Builder) -> str:
    found = subprocess.run(["grep", "-rla", CANARY, builder.sampan.root], capture_output=True, text=True, check=False)
    return found.stdout


@as_system
def test_a_secret_is_seen_and_leaves_no_trace(
    builder: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN", CANARY + "-env")
    path = tmp_path.parent / f"{tmp_path.name}-secret"
    path.write_text(CANARY)
    run = (
        "RUN --mount=type=secret,id=file --mount=type=secret,id=token,env=T,target=t "
        "--mount=type=secret,id=none,env=NONE --mount=type=secret,id=owned,target=/o,uid=1000,gid=1001,mode=0440 "
        "grep -q ^c4n.ry-of-the-secret$ /run/secrets/file && stat -c '%a %u %g' /run/secrets/file /o "
        "&& test $T = $(cat t) && test -z ${NONE+x} && ! touch /run/secrets/file && ls -a /run/secrets && touch /d\n"
        "RUN test ! -e /run/secrets && test -z $T"
    )
    options = ("--secret", f"id=file,src={path}", "--secret", "id=token,env=TOKEN", "--secret", f"id=owned,src={path}")
    done = builder.build(run, *options)
    assert " 400 0 0\n" in done.stderr
    assert " 440 1000 1001\n" in done.stderr
    assert CANARY not in done.stdout + done.stderr + json.dumps(builder.image())
    assert CANARY not in builder.sampan("history", "--no-trunc", "built").stdout
    assert leaks(builder) == ""
    # What a secret holds is not part of the key, and a step that fails leaves none behind either.
    path.write_text("other")
    assert "DONE" not in builder.build(run, *options).stderr
    path.write_text(CANARY)
    said = builder.failure("RUN --mount=type=secret,id=file,required cat /run/secrets/file > /kept; false", *options)
    assert CANARY not in said
    assert leaks(builder) == ""


@as_system
def test_a_secret_that_is_required(builder: Builder) -> None:
    said = builder.failure("RUN --mount=type=secret,id=s,required true")
    assert "Dockerfile:7: the secret s is required\n    7 | RUN --mount=type=secret,id=s,required true\n" in said
    assert builder.build("RUN --mount=type=secret,id=s test ! -e /run/secrets/s").returncode == 0
    for option in ("src=/x", "id=s,src=/no/such", "id=s,env=NO_SUCH_VARIABLE", "id=s,mode=1", "id=s,src=/x,env=Y"):
        assert builder.build("RUN true", "--secret", option, check=False).returncode == 1


def test_secrets_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"x" * MAX_SECRET)
    assert len(Secret(str(path)).read("s")) == MAX_SECRET
    path.write_bytes(b"x" * (MAX_SECRET + 1))
    with pytest.raises(Invalid):
        Secret(str(path)).read("s")
    with pytest.raises(NotFound):
        Secret(str(tmp_path / "none")).read("s")


class Echo:
    """A server on a UNIX socket that answers each connection with what it got, in capitals."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                end, _ = self._listening.accept()
            except OSError:
                return
            with end:
                while data := end.recv(1 << 16):
                    end.sendall(data.upper())

    def __enter__(self) -> "Echo":
        return self

    def __exit__(self, *rest: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def test_an_agent_is_forwarded(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 40)
    directory.mkdir()
    with Echo(tmp_path / "s") as echo, Agent(str(directory), echo.path), socket.socket(socket.AF_UNIX) as end:
        (tmp_path / "l").symlink_to(directory)
        end.connect(str(tmp_path / "l/socket"))
        end.settimeout(30)
        end.sendall(b"one")
        assert end.recv(10) == b"ONE"
        end.sendall(b"x" * 1_000)
        end.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: end.recv(100), b"")) == b"X" * 1_000
    with pytest.raises(NotFound), Agent(str(directory), str(tmp_path / "nobody")):
        pass


@as_system
def test_an_agent_is_seen_and_its_socket_is_not_in_the_layer(builder: Builder, tmp_path: Path) -> None:
    agent = tmp_path.parent / f"{tmp_path.name}.agent"
    run = "RUN --mount=type=ssh,id=i,mode=0666 env | grep ^SSH && stat -c '%a %F' $SSH_AUTH_SOCK && touch /done"
    with Echo(agent):
        done = builder.build(run, "--ssh", f"i={agent}")
    agent.unlink()
    assert " SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0\n" in done.stderr
    assert " 666 socket\n" in done.stderr
    assert builder.files() == ["done"]
    assert "the ssh agent default is required" in builder.failure("RUN --mount=type=ssh,required true")
    assert "is not a socket" in builder.failure("RUN true", "--ssh", f"default={builder.context}/busybox")


@as_system
def test_a_script_with_an_interpreter_of_its_own(builder: Builder) -> None:
    script = '#!/bin/awk -f\nBEGIN { print "by $0 awk" > "/said" }\n'
    builder.build(f"RUN <<EOF\n{script}EOF\n")
    assert builder.files() == ["said"]
    assert (builder.layer() / "said").read_text() == "by $0 awk\n"
    assert "DONE" in builder.build(f"RUN <<EOF\n{script.replace('by', 'on')}EOF\n").stderr
    builder.build("USER app\nRUN <<-one\n\t#!/bin/sh -e\n\techo $0 ran\n\t! touch $0\none\n")
    assert builder.files() == []


@as_system
def test_mounts_within_mounts_and_over_links(builder: Builder) -> None:
    builder.build(
        "RUN mkdir /real && ln -s /real /link\n"
        "RUN --mount=type=tmpfs,target=/link/t/u --mount=type=cache,target=/etc/c --mount=type=tmpfs,target=/etc "
        "touch /real/t/u/f /etc/c/f /etc/f && ls /etc"
    )
    assert builder.files() == []


@pytest.mark.system
@pytest.mark.needs("busybox")
def test_an_ordinary_user_has_mounts_too(rootless_sampan: commands.Sampan, ordinary_user: commands.Account) -> None:
    context = ordinary_user.home / "context"
    context.mkdir()
    builder = Builder(rootless_sampan, context)
    (context / "f").write_text("f")
    for path in (context, *context.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    done = builder.build(
        "FROM base AS one\nRUN mkdir /d && touch /d/a /d/b\nRUN rm /d/a\nFROM base\n"
        "RUN --mount=type=cache,target=/c --mount=source=f,target=/f --mount=from=one,source=/d,target=/m,rw "
        "--mount=type=tmpfs,target=/t --mount=type=secret,id=s touch /c/f /m/x /t/t && cat /f && ls /m | xargs && "
        "cat /run/secrets/s",
        "--secret", f"id=s,src={context}/f", "--network=host",
    )  # fmt: skip
    assert "b x\n" in done.stderr


PIP = "test $PIP_CACHE_DIR = /dev/sampan/packages/pip -a $UV_LINK_MODE = copy && mkdir -p $PIP_CACHE_DIR"


@as_system
def test_all_builds_share_the_package_cache(builder: Builder) -> None:
    builder.build(f"RUN {PIP} && echo 1 > $PIP_CACHE_DIR/f && touch /x")
    assert builder.files() == ["x"]
    assert "PIP" not in json.dumps(builder.image())
    assert " 1\n" in builder.build("FROM base\nRUN cat $PIP_CACHE_DIR/f # another").stderr
    builder.build("USER app\nRUN test ! -e $PIP_CACHE_DIR/f && touch $UV_CACHE_DIR")
    builder.build("RUN echo ID=other > /etc/os-release\nRUN test -w ${PIP_CACHE_DIR%/*} -a ! -e $PIP_CACHE_DIR")


@as_system
def test_the_package_cache_gives_way(builder: Builder) -> None:
    builder.build('RUN test -z "$PIP_CACHE_DIR" -a ! -e /dev/sampan', "--package-cache=false")
    builder.build("ENV PIP_CACHE_DIR=/own\nRUN test $PIP_CACHE_DIR = /own -a $UV_CACHE_DIR")
    builder.build('ENV HOME=/root\nRUN --mount=type=cache,target=/root/.cache test -z "$PIP_CACHE_DIR$UV_LINK_MODE"')
    assert (
        "CACHED"
        in builder.build(
            "ENV PIP_CACHE_DIR=/own\nRUN test $PIP_CACHE_DIR = /own -a $UV_CACHE_DIR", "--package-cache=false"
        ).stderr
    )


@as_system
def test_the_stages_that_are_named_are_built_anew(builder: Builder) -> None:
    lines = "FROM base AS one\nRUN echo 1 > /1\nFROM base AS Two\nCOPY --from=one /1 /\nRUN echo 2 > /2"
    builder.build(lines)
    done = builder.build(lines, "--no-cache-filter", "TWO")
    assert done.stderr.count("DONE") == 2
    assert builder.build(lines, "--no-cache-filter", "one,3").stderr.count("DONE") == 3
    assert "did you mean two?" in builder.build(lines, "--no-cache-filter", "tow", check=False).stderr
