"""What other builders were broken by, as far as no test of a part shows it: whole builds by someone hostile, and a
canary outside of everything that must stay as it is."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import builders
import websites
from builders import BASE, Builder

pytestmark = builders.system
CANARY = "canary-of-a-secret"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host's that nobody may put anything into."""
    found = tmp_path / "outside"
    found.mkdir()
    (found / "canary").write_text("untouched")
    yield found
    assert os.listdir(found) == ["canary"]
    assert (found / "canary").read_text() == "untouched"


def test_a_link_in_a_cache_leads_no_mount_point_out(builder: Builder, outside: Path) -> None:
    """CVE-2024-23651: what one step leaves in a shared cache is where another step's mount points lie."""
    cache = "--mount=type=cache,target=/c,id=shared"
    for kind in ("tmpfs", "cache", "bind,source=etc"):
        inner = f"--mount=type={kind},target=/c/link/made"
        builder.build(f"RUN {cache} ln -sfn {outside} /c/link\nRUN {cache} {inner} ! test -e {outside}/canary; true\n")
    assert builder.leftovers() == []


def test_a_link_that_comes_and_goes_in_a_shared_cache(builder: Builder, outside: Path) -> None:
    """The same as a race, between stages that are built side by side."""
    cache = "--mount=type=cache,target=/c,id=shared"
    swaps = f"for i in $(seq 400); do ln -sfn {outside} /c/s; rm -rf /c/s; mkdir -p /c/s; rmdir /c/s; done"
    uses = "".join(f"RUN {cache} --mount=type=tmpfs,target=/c/s/t{each} touch /c/s/t{each}/f\n" for each in range(6))
    stages = f"FROM base AS swapping\nRUN {cache} {swaps}\nFROM base AS using\n{uses}FROM base\n"
    both = "COPY --from=swapping /bin/sh /1\nCOPY --from=using /bin/sh /2\n"
    done = builder.build(stages + both, check=False)
    assert "Traceback" not in done.stderr
    assert builder.leftovers() == []


def test_links_of_an_image_lead_nothing_out(builder: Builder, outside: Path) -> None:
    """kaniko #828 and CVE-2026-55686: a base whose links lead to the builder's own files, and every instruction that
    writes."""
    (builder.context / "file").write_text("evil")
    subprocess.run(["tar", "-cf", builder.context / "a.tar", "-C", builder.context, "file"], check=True)
    lines = f"RUN ln -s {outside} /out && ln -s {outside}/canary /over\n"
    writing = (
        "COPY file /out/copied\nCOPY file /over\nADD a.tar /out/added/\nWORKDIR /out/worked\nCOPY <<X /out/here\nx\nX\n"
    )
    builder.build(f"{lines}{writing}RUN --mount=type=cache,target=/out/cached true\nRUN test -e {outside}/copied\n")


def test_no_frontend_is_fetched_or_run(builder: Builder) -> None:
    """CVE-2026-33747: a Dockerfile chooses the program that reads it."""
    with websites.website() as site:
        image = f"{site.url.removeprefix('http://')}/evil/frontend:1"
        (builder.context / "Dockerfile").write_text(f"# syntax={image}\nFROM scratch\nCOPY etc /\n")
        builder.sampan("build", "--build-arg", f"BUILDKIT_SYNTAX={image}", builder.context)
        assert site.requests == []


@pytest.mark.parametrize("debug", [False, True])
def test_a_secret_is_in_nothing_that_is_said_or_kept(builder: Builder, tmp_path: Path, debug: bool) -> None:
    """CVE-2019-13509 and CVE-2023-26054: in messages for debugging, and in addresses of repositories."""
    (tmp_path / "secret").write_text(CANARY)
    flags = ("--debug",) if debug else ()
    secrets = [f"--secret=id={name},src={tmp_path}/secret" for name in ("s", "GIT_AUTH_TOKEN.127.0.0.1:1")]
    url = f"http://user:{CANARY}@127.0.0.1:1/repo.git"
    said = ""
    for lines in (
        'RUN --mount=type=secret,id=s,env=S test -n "$S"; cat /run/secrets/s | wc -c; false\n',
        f"ADD {url} /x\n",
        f"ARG U={url}\nADD --checksum=zz ${{U}} /x\n",
        f"ADD {url.replace('repo.git', 'file')} /x\n",
        f"COPY {url} /x\n",
    ):
        (builder.context / "Dockerfile").write_text(BASE + lines)
        for context in (builder.context, url, url.replace("repo.git", "file")):
            done = builder.sampan(*flags, "build", *secrets, context, check=False)
            assert done.returncode
            said += done.stdout + done.stderr
    # What is written in the Dockerfile as an ARG's value is shown by who wrote it there, in its own line.
    assert CANARY not in said
    found = subprocess.run(["grep", "-rla", CANARY, builder.sampan.root], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_builds_in_one_process_share_nothing(builder: Builder) -> None:
    """CVE-2020-14370: the variables of one container are seen by the next that the same process makes."""
    first, second = builder.context / "first", builder.context / "second"
    first.write_text(f"{BASE}ARG GIVEN\nENV OF=first-{CANARY}\nRUN env\n")
    second.write_text(f"{BASE}RUN env | sort\n")
    script = (
        "import sys; from sampan.cli.main import main; root, context, *files = sys.argv[1:]\n"
        "for file in files: assert main(['--root', root, 'build', '-t', 'built', '--build-arg', f'GIVEN=x-{file}',"
        " '--progress=plain', '-f', file, context]) == 0"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, builder.sampan.root, builder.context, first, second],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    before, _, after = done.stderr.partition("naming to")
    assert f"OF=first-{CANARY}" in before
    assert f"GIVEN=x-{first}" in before
    assert CANARY not in after
    assert "GIVEN=" not in after
    assert CANARY not in json.dumps(builder.image())


def test_steps_side_by_side_share_no_tree_that_one_can_write(builder: Builder, outside: Path) -> None:
    """CVE-2024-11218: while one step swaps what it has mounted for a link, another mounts and copies the same path."""
    source = "FROM base AS shared\nRUN mkdir -p /d/in && echo original > /d/in/f\n"
    shared = "--mount=from=shared,source=/d,target=/m,rw"
    swap = f"rm -rf /m/in; ln -s {outside} /m/in; rm /m/in; mkdir /m/in; echo evil > /m/in/f"
    turns = "--mount=type=cache,id=turns,target=/turns"
    evil = f"FROM base AS evil\nRUN {turns} {shared} until test -e /turns/done; do {swap}; done; touch /evil\n"
    uses = "".join(
        f"RUN --mount=from=shared,source=/d/in,target=/m/{each},rw test $(cat /m/{each}/f) = original"
        f" && echo mine > /m/{each}/f && echo mine > /m/{each}/new\nCOPY --from=shared /d/in /copied{each}\n"
        for each in range(5)
    )
    using = f"FROM base AS using\n{uses}RUN {turns} cat /copied*/f > /seen && touch /turns/done\n"
    builder.build(f"{source}{evil}{using}FROM base\nCOPY --from=evil /evil /\nCOPY --from=using /seen /\n")
    assert builder.files() == ["seen"]
    assert (builder.layer() / "seen").read_text() == "original\n" * 5
    assert builder.leftovers() == []


@pytest.mark.parametrize("word", ["bind-propagation=shared", "bind-propagation=../x", "z", "U=true", "relabel=shared"])
def test_a_mount_has_no_options_but_the_references(builder: Builder, word: str) -> None:
    """CVE-2024-9407: what is no option of Docker's goes to mount(2) as it is."""
    done = builder.build(f"RUN --mount=type=bind,target=/m,source=etc,{word} true\n", check=False)
    assert done.returncode == 1
    assert word.partition("=")[0] in done.stderr
    assert "Dockerfile:7" in done.stderr
