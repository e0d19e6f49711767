"""What is forgotten of the build cache, in which order, and that the disk is free then."""

import os
import subprocess
import time
from pathlib import Path

from builders import Builder, as_system
from sampan.build.prune import MOUNT, STEP, Remembered, chosen


def step(name: str, used: float, size: int = 10, *, shared: bool = False, depth: int = 1) -> Remembered:
    return Remembered(STEP, name, "RUN x", size, "", used, shared, depth)


def names(found: list[Remembered]) -> str:
    return "".join(each.name for each in found)


def test_what_images_stand_on_stays() -> None:
    steps = [step("a", 1), step("b", 2, shared=True), step("c", 3)]
    assert names(chosen(steps)) == "ac"
    assert names(chosen(steps, shared=True)) == "abc"


def test_what_was_used_longest_ago_goes_first_and_what_lies_on_it_before() -> None:
    steps = [step("a", 5), step("b", 1, depth=1), step("c", 1, depth=2), step("d", 7)]
    assert names(chosen(steps, keep=30)) == "c"
    assert names(chosen(steps, keep=29)) == "cb"
    assert names(chosen(steps, keep=40)) == ""
    assert names(chosen(steps)) == "cbad"


def listed(builder: Builder) -> dict[str, tuple[str, str]]:
    """By the description: kind, and whether it is reclaimable."""
    template = "{{.Description}}|{{.Type}}|{{.Reclaimable}}"
    lines = builder.sampan("cache", "ls", "--format", template).stdout.splitlines()
    return {line.split("|")[0]: (line.split("|")[1], line.split("|")[2]) for line in lines}


def bytes_of(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if not path.name.startswith("sampan.db"))


@as_system
def test_pruning_frees_the_disk_at_once(builder: Builder) -> None:
    big = "RUN head -c 3000000 /dev/urandom > /big"
    lines = "FROM base\nCOPY --from=big /etc/passwd /p\nRUN --mount=type=cache,target=/c echo > /c/f"
    builder.build(f"FROM base AS big\n{big}\n{lines}")
    found = listed(builder)
    assert found[big] == (STEP, "true")
    assert found["COPY --from=big /etc/passwd /p"] == (STEP, "false")
    assert found["/c"] == (MOUNT, "true")
    before = bytes_of(builder.sampan.root)
    assert big not in builder.sampan("cache", "prune", "-f", "--filter", "until=1h").stdout
    assert listed(builder) == found
    said = builder.sampan("builder", "prune", "-f").stdout
    assert "Total reclaimed space: 6.0" in said or "Total reclaimed space: 6MB" in said
    assert bytes_of(builder.sampan.root) < before - 6_000_000
    assert big not in listed(builder)
    assert "/c" not in listed(builder)
    assert builder.sampan("run", "--rm", "--network", "none", "built", "cat", "/p").stdout
    builder.sampan("cache", "prune", "-af")
    assert listed(builder) == {}
    assert "CACHED" not in builder.build("RUN true").stderr.partition("#2")[2]


@as_system
def test_filters_and_questions(builder: Builder) -> None:
    builder.build("RUN --mount=type=cache,target=/c true\nRUN echo > /x")
    builder.sampan("rmi", "built")
    count = len(listed(builder))
    assert "nobody answered" in builder.sampan("cache", "prune", check=False).stderr
    assert "[y/N]" in builder.sampan("cache", "prune", input="n\n").stdout
    assert len(listed(builder)) == count
    assert len(builder.sampan("cache", "ls", "-q", "--filter", f"type={MOUNT}").stdout.split()) == 2
    (first, *_) = builder.sampan("cache", "ls", "-q").stdout.split()
    builder.sampan("cache", "prune", "-f", "--filter", f"id={first}")
    assert first not in builder.sampan("cache", "ls", "-q").stdout
    builder.sampan("cache", "prune", "-f", "--keep-storage", "1GB")
    assert len(listed(builder)) == count - 1
    for wrong in (("--filter", "size=1"), ("--filter", "type=x"), ("--filter", "until=soon"), ("--keep-storage", "x")):
        assert builder.sampan("cache", "prune", "-f", *wrong, check=False).returncode == 1
    assert len(listed(builder)) == count - 1


@as_system
def test_a_build_under_way_keeps_what_it_uses(builder: Builder) -> None:
    (builder.context / "Dockerfile").write_text(
        'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
        "RUN --mount=type=cache,target=/c --mount=type=cache,id=done,target=/d touch /c/begun; "
        "until test -e /c/go; do sleep 0.05; done; echo done > /f\n"
    )
    command = builder.sampan.command("build", "-t", "built", builder.context)
    building = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (begun := list((builder.sampan.root / "caches").glob("*/it/begun"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pruned = builder.sampan("cache", "prune", "-af")
        assert "other operations are under way" in pruned.stderr
        (begun[0].parent / "go").touch()
        assert building.wait(60) == 0
    finally:
        building.kill()
        building.communicate()
    assert builder.sampan("run", "--rm", "--network", "none", "built", "cat", "/f").stdout == "done\n"


@as_system
def test_what_is_known_of_files_that_are_gone_goes_too(builder: Builder) -> None:
    from sampan.engine import open_engine

    for name in ("kept", "gone"):
        (builder.context / name).write_text(name)
        os.utime(builder.context / name, (1, 1))

    def known() -> set[str]:
        with open_engine(str(builder.sampan.root)) as engine:
            rows = engine.database.execute("SELECT path FROM file_digest").fetchall()
        return {Path(os.fsdecode(path)).name for (path,) in rows} & {"kept", "gone"}

    time.sleep(0.2)  # a file that changed a moment ago is not remembered
    builder.build("COPY kept gone /")
    assert known() == {"kept", "gone"}
    (builder.context / "gone").unlink()
    builder.sampan("cache", "prune", "-f")
    assert known() == {"kept"}
    builder.sampan("cache", "prune", "-af")
    assert known() == set()
