"""RUN, and whole builds: on a real kernel, with a static busybox as the whole file system."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import commands
import trees
from builders import BASE, Builder, as_system
from sampan.build.graph import Run, Scratch
from sampan.build.run import environment, shown


def run(**fields: object) -> Run:
    return Run(Scratch(), ("x",), **{"env": (), "user": "", "cwd": "/", **fields})  # type: ignore[arg-type]


def test_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    step = run(
        env=("A=image", "EMPTY=", "AWS_SECRET_ACCESS_KEY", "*", "EQ=a=b"),
        args=(("A", "arg"), ("B", "arg")),
        unkeyed=(("B", "proxy"), ("no_proxy", "x")),
    )
    assert sorted(environment(step, "/h", {"PIP_CERT": "/p", "EMPTY": "extra"})) == [
        "A=arg", "B=arg", "EMPTY=", "EQ=a=b", "HOME=/h",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PIP_CERT=/p", "no_proxy=x",
    ]  # fmt: skip


def test_the_image_decides_on_path_and_home() -> None:
    assert environment(run(env=("PATH=/p", "HOME=/x")), "/h", {}) == ["PATH=/p", "HOME=/x"]


def test_a_command_is_shown_on_one_line() -> None:
    assert shown(run()._replace(argv=("/bin/sh", "-c", "a \\\n  b\n"))) == "'/bin/sh -c a \\ b'"
    assert len(shown(run()._replace(argv=("x" * 1000,)))) == 202


@as_system
def test_a_command_sees_the_image_and_its_changes_become_a_layer(builder: Builder) -> None:
    done = builder.build("ENV A=1\nWORKDIR /w\nRUN echo $A > f && rm /etc/group && echo made f\nCMD cat /w/f")
    assert " made f\n" in done.stderr
    assert trees.describe(builder.layer()) == {
        "etc": trees.Directory(), "etc/group": trees.WHITEOUT, "w": trees.Directory(), "w/f": trees.File("1\n"),
    }  # fmt: skip
    assert builder.sampan("run", "--rm", "--network", "none", "built").stdout == "1\n"
    assert builder.leftovers() == []


@as_system
def test_what_is_mounted_for_a_step_is_not_in_its_layer(builder: Builder) -> None:
    builder.build(
        "RUN test -s /etc/resolv.conf && test -s /etc/hosts && ls /proc/1 /sys/kernel /dev/shm && ls -d /run/*; true"
    )
    assert builder.files() == []


@as_system
@pytest.mark.parametrize(
    "make",
    [
        "ln -s /nowhere/deep etc/resolv.conf",
        "ln -s ../../../../../canary etc/resolv.conf; ln -s /bin/../new/./x etc/hosts",
        "touch etc/hosts etc/resolv.conf && rm etc/hosts",
        "mv etc etc2 && ln -s etc2 etc",
    ],
)
def test_links_in_place_of_mount_points(builder: Builder, make: str) -> None:
    """What is mounted for a step lies where the image's links lead, inside, and is in no layer."""
    done = builder.build(
        f"RUN mkdir /x && cp -a /etc /x && cd /x && rm etc/hosts etc/resolv.conf && {make}\n"
        "FROM scratch\nCOPY --from=1 /bin /bin\nCOPY --from=1 /x /\n"
        "RUN test -s /etc/resolv.conf && test -s /etc/hosts && touch /done\n"
    )
    assert done.returncode == 0
    assert builder.files() == ["done"]


@as_system
def test_a_command_cannot_turn_its_mount_points_into_links(builder: Builder) -> None:
    """CVE-2024-23652: what was made to mount on is cleaned away through a link that the command put there."""
    canary = builder.context / "canary"
    canary.write_text("")
    attack = (
        f"rm -rf /etc/hosts /run /dev /proc /sys; ln -s {canary} /etc/hosts; mv /etc /e; ln -s {builder.context} /etc"
    )
    builder.build(f"RUN {attack}; true")
    assert canary.exists()


@as_system
def test_a_working_directory_never_leads_out(builder: Builder) -> None:
    """CVE-2024-21626 and podman's CVE-2026-55686."""
    outside = builder.context / "outside"
    outside.mkdir()
    builder.build(f"RUN ln -s {outside} /link\nWORKDIR /link/made\nRUN pwd -P > /here")
    assert list(outside.iterdir()) == []
    assert (builder.layer() / "here").read_text() == f"{outside}/made\n"
    for number in range(3, 12):
        done = builder.build(f"WORKDIR /proc/self/fd/{number}\nRUN pwd -P; ls", check=False)
        assert "outside" not in done.stderr


@as_system
def test_the_user_and_its_groups(builder: Builder) -> None:
    builder.build("USER app\nWORKDIR /made/here\nRUN id > id; echo $HOME >> id; umask >> id")
    assert (builder.layer() / "made/here/id").read_text() == (
        "uid=1000(app) gid=1001(app) groups=29(audio),1001(app)\n/home/app\n0022\n"
    )
    builder.build("RUN mkdir -m 777 /w\nUSER app:audio\nRUN id > /w/id")
    assert (builder.layer() / "w/id").read_text() == "uid=1000(app) gid=29(audio) groups=29(audio)\n"
    assert "sampan: Dockerfile:8: unable to find user nobody" in builder.failure("USER nobody\nRUN id")


@as_system
def test_a_command_that_fails_names_itself_and_its_line(builder: Builder) -> None:
    said = builder.failure("\nRUN echo before; exit 3")
    assert "sampan: Dockerfile:8: the command '/bin/sh -c echo before; exit 3' failed with exit code 3\n" in said
    assert "    8 | RUN echo before; exit 3\n" in said
    assert " before\n" in said
    said = builder.failure('RUN ["/no/such"]')
    assert "sampan: Dockerfile:7: the command cannot be executed: " in said


@as_system
def test_what_a_command_failed_on_can_be_looked_at(builder: Builder) -> None:
    lines = "ENV here=yes\nUSER app\nWORKDIR /work\nRUN echo made > file\nRUN --network=none cat file; false"
    hints = [builder.failure(lines).splitlines()[-1] for _ in range(2)]  # made now, and from the cache
    assert hints[0] == hints[1]
    *way, image, shell = hints[0].removeprefix("hint: look inside: sampan ").split()
    assert (way, shell) == (["--root", str(builder.sampan.root), "run", "-it", "--rm"], "/bin/sh")
    seen = builder.sampan("run", "--rm", "--network=none", image, shell, "-c", "pwd; cat file; id -u; echo $here")
    assert seen.stdout.split() == ["/work", "made", "1000", "yes"]
    assert builder.sampan("images", "-q").stdout == ""
    for listing in (("--all",), ("--filter", "dangling=true")):
        assert builder.sampan("images", "-q", *listing).stdout.split() == [image]
    assert image in builder.sampan("image", "prune", "-f").stdout
    assert builder.sampan("images", "-qa").stdout == ""


@as_system
def test_what_is_kept_to_look_inside_is_an_image_like_others_once_it_has_a_name(builder: Builder) -> None:
    builder.failure("RUN echo kept > /f\nRUN false")
    (image,) = builder.sampan("images", "-qa").stdout.split()
    builder.sampan("tag", image, "rescued")
    assert builder.sampan("images", "-q").stdout.split() == [image]
    builder.sampan("cache", "prune", "-f")
    assert builder.sampan("run", "--rm", "--network=none", "rescued", "cat", "/f").stdout == "kept\n"


@as_system
def test_what_is_kept_to_look_inside_keeps_no_cache(builder: Builder) -> None:
    builder.failure("RUN echo kept > /f\nRUN false")
    builder.sampan("cache", "prune", "-f")
    assert builder.sampan("cache", "ls", "-q").stdout == ""
    assert builder.sampan("images", "-qa").stdout == ""


@as_system
def test_nothing_can_be_looked_at_where_there_are_no_files(builder: Builder) -> None:
    done = builder.build('RUN ["/no/such"]', base="FROM scratch\n", check=False)
    assert "the command cannot be executed" in done.stderr
    assert "hint" not in done.stderr
    assert builder.sampan("images", "-q").stdout == ""


@as_system
def test_quiet_says_the_id_alone_and_shows_the_log_of_a_failure(builder: Builder) -> None:
    done = builder.build("RUN echo heard", "-q")
    assert done.stdout == f"{builder.image()['Id']}\n"
    assert done.stderr == ""
    assert "\nheard\n" in builder.failure("RUN echo heard; false", "-q")


@as_system
def test_nothing_of_the_builder_reaches_a_command(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_CANARY", "canary")
    builder.build(
        "ARG GIVEN\nENV KEPT=1\nRUN env | sort > /env; ls -l /proc/self/fd | grep -c . > /fds", "--build-arg", "GIVEN=g"
    )
    names = {line.partition("=")[0] for line in (builder.layer() / "env").read_text().splitlines()}
    packages = {"PIP_CACHE_DIR", "UV_CACHE_DIR", "UV_LINK_MODE"}
    assert names - packages == {"GIVEN", "HOME", "KEPT", "PATH", "PWD", "SHLVL"}


@as_system
def test_networks(builder: Builder) -> None:
    count = "RUN ls /sys/class/net | sort > /net"
    builder.build(count, "--network", "none")
    assert (builder.layer() / "net").read_text() == "lo\n"
    builder.build(count)
    assert (builder.layer() / "net").read_text() == "eth0\nlo\n"
    # The namespace itself is compared: what interfaces a machine has may change meanwhile.
    namespace = "RUN{} readlink /proc/self/ns/net > /net"
    here = os.readlink("/proc/self/ns/net") + "\n"
    builder.build(namespace.format(""), "--network", "host")
    assert (builder.layer() / "net").read_text() == here
    builder.build(namespace.format(" --network=host"), "--allow", "network.host")
    assert (builder.layer() / "net").read_text() == here
    own = count.replace("RUN", "RUN --network={}")
    builder.build(own.format("none"), "--network", "host")
    assert (builder.layer() / "net").read_text() == "lo\n"


@as_system
def test_labels_hosts_and_the_file_of_the_id(builder: Builder) -> None:
    iidfile = builder.context.parent / f"{builder.context.name}.iid"
    lines = "LABEL a=1 b=2\nRUN grep '^::2\tother$' /etc/hosts; cp /etc/hosts /h; touch /x"
    options = ("--label", "b=3", "--label", "c=x=y", "--label", "d", "--iidfile", str(iidfile))
    builder.build(lines, *options, "--add-host", "name:10.0.0.7", "--add-host", "other=[::2]")
    config = builder.image()["Config"]
    assert config["Labels"] == {"a": "1", "b": "3", "c": "x=y", "d": ""}  # type: ignore[index]
    assert iidfile.read_text() == builder.image()["Id"]
    hosts = (builder.layer() / "h").read_text()
    assert "10.0.0.7\tname\n::2\tother\n" in hosts
    assert "DONE" in builder.build(lines, *options).stderr  # names are part of the key
    builder.failure("RUN false", *options)
    assert not iidfile.exists()
    for wrong in (("--label", "=x"), ("--add-host", "x:y"), ("--add-host", "a b:1.1.1.1"), ("--add-host", ":1.1.1.1")):
        assert "sampan: invalid --" in builder.failure("RUN true", *wrong)


@as_system
def test_pull_asks_the_registry_first(builder: Builder) -> None:
    builder.build("RUN touch /x")
    builder.sampan("tag", "built", "127.0.0.1:9/never/there:1")
    builder.sampan("tag", "built", "localhost/made:here")
    lines = "FROM {}\nRUN touch /y\n"
    builder.build(lines.format("127.0.0.1:9/never/there:1"), base="")
    assert (
        "127.0.0.1:9" in builder.build(lines.format("127.0.0.1:9/never/there:1"), "--pull", base="", check=False).stderr
    )
    builder.build(lines.format("localhost/made:here"), "--pull", base="")


@as_system
def test_a_dockerfile_alone_gets_no_privilege(builder: Builder) -> None:
    """CVE-2024-23653: the one who builds has to agree."""
    assert "RUN --network=host is not allowed" in builder.failure("RUN --network=host true")
    assert "--allow security.insecure" in builder.failure("RUN --security=insecure true")
    assert "is not supported" in builder.failure("RUN true", "--allow", "device")


@as_system
@pytest.mark.root
def test_all_privileges_where_the_builder_agrees(builder: Builder) -> None:
    lines = "RUN {}grep Seccomp: /proc/self/status; mkdir /m; mount -t tmpfs none /m && echo mounted || true\n"
    ordinary = builder.build(lines.format("")).stderr
    opened = builder.build(lines.format("--security=insecure "), "--allow", "security.insecure").stderr
    seccomp = re.compile(r"Seccomp:\s+(\d)")
    assert seccomp.findall(ordinary) == ["2"]
    assert seccomp.findall(opened) == ["0"]
    assert any(line.endswith(" mounted") for line in opened.splitlines())
    assert not any(line.endswith(" mounted") for line in ordinary.splitlines())


@as_system
def test_progress_for_programs(builder: Builder) -> None:
    lines = [json.loads(line) for line in builder.build("RUN echo said\n", "--progress", "rawjson").stderr.splitlines()]
    logs = [base64.b64decode(log["data"]) for line in lines for log in line.get("logs", ())]
    assert b"".join(logs) == b"said\n"
    last = {vertex["name"]: vertex for line in lines for vertex in line.get("vertexes", ())}
    assert all(vertex["completed"] >= vertex["started"] for vertex in last.values())
    assert any(name.endswith("RUN echo said") for name in last)


@as_system
def test_a_second_build_takes_everything_from_the_cache(builder: Builder) -> None:
    lines = "COPY busybox etc /x/\nRUN date +%s%N > /when\nWORKDIR /w\nRUN cat /proc/sys/kernel/random/uuid > r"
    builder.build(lines)
    first = builder.image()
    for path in builder.context.rglob("*"):
        os.utime(path)  # times alone do not count
    done = builder.build(lines)
    assert "DONE" not in done.stderr
    assert builder.image()["Id"] == first["Id"]
    done = builder.build(lines, "--no-cache")
    assert done.stderr.count("CACHED") == 1  # FROM scratch: there is nothing to do
    second = builder.image()
    assert second["Id"] != first["Id"]
    builder.build(lines)
    assert builder.image()["Id"] == second["Id"]  # what --no-cache made is remembered


@as_system
def test_a_change_rebuilds_what_depends_on_it(builder: Builder) -> None:
    lines = "COPY f /f\nRUN cat /f\nARG A=1\nRUN echo $A"
    (builder.context / "f").write_text("1")
    builder.build(lines)
    (builder.context / "f").write_text("2")
    assert builder.build(lines).stderr.count("DONE") == 3
    assert builder.build(lines).stderr.count("DONE") == 0
    assert builder.build(lines, "--build-arg", "A=2").stderr.count("DONE") == 1
    (builder.context / "f").chmod(0o600)
    assert builder.build(lines).stderr.count("DONE") == 3


@as_system
def test_a_stage_that_comes_out_the_same_invalidates_nothing(builder: Builder) -> None:
    lines = "RUN date +%s%N > /log && echo same > /result\nFROM base\nCOPY --from=1 /result /r\nRUN cat /r"
    builder.build(lines)
    first = builder.image()
    # The stage is built anew; what is copied out of it is what it was.
    done = builder.build(lines.replace("date", "sleep 0; date"))
    assert done.stderr.count("DONE") == 1
    assert builder.image()["Id"] == first["Id"]


@as_system
def test_the_cache_is_not_poisoned_by_a_pulled_image_with_the_same_history(builder: Builder) -> None:
    """CVE-2024-24557: entries come from builds alone, whatever an image claims."""
    builder.build("RUN echo real > /f")
    genuine = builder.image()
    from sampan.engine import open_engine

    with open_engine(str(builder.sampan.root)) as engine:
        engine.database.execute("DELETE FROM build_cache")
    done = builder.build("RUN echo real > /f")
    assert "DONE" in done.stderr
    assert (builder.layer() / "f").read_text() == "real\n"
    assert builder.image()["Id"] != genuine["Id"]


@as_system
def test_builds_are_reproducible(builder: Builder, store_root: Path, tmp_path: Path) -> None:
    """Another store, another directory, other times, another umask: the same image."""
    lines = "WORKDIR /w\nCOPY f .\nRUN mkdir d && date > /dev/null && echo x > d/x && rm /etc/group"
    options = ("--build-arg", "SOURCE_DATE_EPOCH=1600000000")
    (builder.context / "f").write_text("f")
    for path in builder.context.rglob("*"):
        os.utime(path)  # older times than the epoch would stay as they are
    builder.build(lines, *options)
    elsewhere = tmp_path / "elsewhere"
    mask = os.umask(0o077)
    try:
        shutil.copytree(
            builder.context, elsewhere, ignore=shutil.ignore_patterns("elsewhere"), copy_function=shutil.copy
        )
    finally:
        os.umask(mask)
    other = commands.Sampan(store_root / "other")
    other("build", "-t", "built", *options, elsewhere, environment={"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"})
    again = json.loads(other("inspect", "built").stdout)[0]
    assert again["Id"] == builder.image()["Id"]
    assert again["Created"] == "2020-09-13T12:26:40Z"


@as_system
def test_host_pip_leaves_no_trace(builder: Builder, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".config/pip").mkdir(parents=True)
    wheels = tmp_path / "wheels"
    trees.make(wheels, {"a.whl": "wheel"})
    (home / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://user:c4nary@host/simple\n")
    (tmp_path / "ca.pem").write_text("bundle c4nary")
    environment = {"HOME": str(home), "PIP_FIND_LINKS": str(wheels), "PIP_CERT": str(tmp_path / "ca.pem")}
    (builder.context / "Dockerfile").write_text(
        BASE + "RUN grep -q c4n.ry $PIP_CONFIG_FILE && grep -q bundle $PIP_CERT && ls /run/sampan/pip/* > /seen "
        "&& ! touch $PIP_CONFIG_FILE /run/sampan/pip/0/x && ! env | grep c4n.ry\nRUN ls /run; true\n"
    )
    done = builder.sampan("build", "-t", "built", "--host-pip", builder.context, environment=environment)
    assert "c4nary" not in done.stderr + done.stdout
    history = builder.sampan("history", "--no-trunc", "built").stdout
    assert "c4nary" not in history + json.dumps(builder.image())
    assert "PIP_" not in json.dumps(builder.image())
    found = subprocess.run(
        ["grep", "-rla", "c4nary", str(builder.sampan.root)], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    assert not (wheels / "x").exists()
    # With or without it the steps have the same keys.
    assert "DONE" not in builder.sampan("build", "--progress=plain", builder.context).stderr


@as_system
def test_an_interrupt_ends_the_build_and_leaves_nothing(builder: Builder) -> None:
    (builder.context / "Dockerfile").write_text(BASE + f"RUN echo up; sleep {_SECONDS} & sleep {_SECONDS}\n")
    process = subprocess.Popen(
        builder.sampan.command("build", "-t", "built", "--progress=plain", builder.context),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    try:
        said = iter(process.stderr.readline, "")
        assert any(line.endswith(" up\n") for line in said)
        while not (mine := _sleepers()):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert "sampan: interrupted\n" in process.stderr.read()
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    assert builder.leftovers() == []
    assert not mine & _sleepers()
    assert str(builder.sampan.root) not in Path("/proc/self/mountinfo").read_text()
    assert builder.sampan("images", "-q").stdout == ""


_SECONDS = 1_000_000 + os.getpid()
"""Others on this machine sleep, too."""


def _sleepers() -> set[str]:
    found = set()
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and Path(f"/proc/{entry}/cmdline").read_bytes() == f"sleep\0{_SECONDS}\0".encode():
                found.add(entry)
        except OSError:
            continue
    return found


@as_system
def test_a_builder_that_is_killed_takes_its_command_along(builder: Builder) -> None:
    (builder.context / "Dockerfile").write_text(BASE + f"RUN echo up; sleep {_SECONDS}\n")
    process = subprocess.Popen(
        builder.sampan.command("build", "--progress=plain", builder.context), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    assert any(line.endswith(" up\n") for line in iter(process.stderr.readline, ""))
    while not (mine := _sleepers()):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while mine & _sleepers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not mine & _sleepers()
    assert builder.build("RUN true").returncode == 0  # the store is as good as ever
    assert builder.leftovers() == []


@as_system
def test_stages_are_built_side_by_side(builder: Builder) -> None:
    """Two commands, each of which waits for the other."""
    with_fifo = builder.context / "meet"
    with_fifo.mkdir()
    lines = (
        "FROM base AS one\nRUN nc -l -p 12345 -w 60 -e echo hi\n"
        "FROM base AS two\nRUN until echo | nc 127.0.0.1 12345 > /got && test -s /got; do sleep 0.1; done\n"
        "FROM base\nCOPY --from=one /bin/sh /1\nCOPY --from=two /got /2"
    )
    builder.build(lines, "--network", "host")
    assert (builder.layer() / "2").read_text() == "hi\n"


@as_system
def test_an_image_is_built_on_and_copied_from(builder: Builder) -> None:
    builder.build("RUN echo one > /one")
    builder.sampan("tag", "built", "first:1")
    (builder.context / "Dockerfile").write_text(
        "FROM first:1\nRUN echo two > /two\nFROM scratch\nCOPY --from=0 /two /\nCOPY --from=first:1 /one /\n"
    )
    builder.sampan("build", "-t", "built", builder.context)
    assert builder.files() == ["one"]
    config = builder.image()
    assert len(config["RootFS"]["Layers"]) == 2  # type: ignore[index]


@as_system
def test_add_unpacks_and_a_dockerfile_may_come_from_standard_input(builder: Builder) -> None:
    subprocess.run(["tar", "-C", builder.context, "-czf", builder.context / "t.tgz", "etc"], check=True)
    builder.sampan("build", "-t", "built", "-f", "-", builder.context, input="FROM scratch\nADD t.tgz /deep/\n")
    assert builder.files() == ["deep", "deep/etc", "deep/etc/group", "deep/etc/passwd"]
    builder.sampan("build", "-t", "built", "-", input="FROM scratch\nWORKDIR /w\n")
    assert builder.files() == ["w"]


@as_system
def test_peak_memory_is_bounded(builder: Builder) -> None:
    """A layer of 300 MB takes no more memory than a small one."""
    with open(builder.context / "big", "wb") as file:
        for _ in range(300):
            file.write(os.urandom(1 << 20))
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    (builder.context / "Dockerfile").write_text("FROM scratch\nCOPY big /\n")
    command = builder.sampan.command("build", "-q", builder.context)
    done = commands.run([sys.executable, "-c", measure, *command], check=True)
    assert int(done.stdout.split()[-1]) < 150 << 10


@pytest.mark.system
@pytest.mark.needs("busybox")
def test_an_ordinary_user_builds(rootless_sampan: commands.Sampan, ordinary_user: commands.Account) -> None:
    context = ordinary_user.home / "context"
    context.mkdir()
    builder = Builder(rootless_sampan, context)
    (context / "f").write_text("f")
    for path in (context, *context.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    lines = "WORKDIR /w\nCOPY f .\nRUN id -u > u && rm /etc/group && test -s f && cat /etc/resolv.conf"
    builder.build(lines)
    done = rootless_sampan("run", "--rm", "--network", "none", "built", "sh", "-c", "cat /w/u; ls /etc")
    assert done.stdout.split() == ["0", "hostname", "hosts", "passwd", "resolv.conf"]
    assert "DONE" not in builder.build(lines).stderr


@pytest.mark.system
@pytest.mark.needs("busybox", "pasta")
def test_an_ordinary_users_command_has_a_network_of_its_own(
    rootless_sampan: commands.Sampan, ordinary_user: commands.Account
) -> None:
    if os.stat("/dev/net/tun").st_mode & 0o006 != 0o006:
        pytest.skip("the machine keeps /dev/net/tun from ordinary users")
    context = ordinary_user.home / "context"
    context.mkdir()
    builder = Builder(rootless_sampan, context)
    context.chmod(0o755)
    (context / "busybox").chmod(0o755)
    done = builder.build("RUN ip route && ip -o link | cut -d: -f2 | tr -d ' \\n'; pidof pasta || true")
    assert " default via " in done.stderr
    assert " loeth0" in done.stderr
    assert "WARNING" not in done.stderr
    assert _named("pasta", ordinary_user.uid) == []


def _named(name: str, uid: int) -> list[str]:
    """Processes with that name of that user."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().startswith(name) and entry.stat().st_uid == uid:
                found.append(entry.name)
        except OSError:
            continue
    return found
