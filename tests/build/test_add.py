"""ADD of what lies elsewhere, as a whole: ``sampan build`` with real servers, and what comes to lie in the layer."""

import io
import os
import signal
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import commands
import trees
import websites
from sampan.oci.digest import sha256

pytestmark = [pytest.mark.system, pytest.mark.root, pytest.mark.needs("git")]
MODIFIED = "Thu, 02 Jan 2020 03:04:05 GMT"
CANARY = "canary-password"


class Adding:
    """Builds from scratch, and a website to add from."""

    def __init__(self, sampan: commands.Sampan, site: websites.Website, root: Path) -> None:
        self.sampan = sampan
        self.site = site
        self.root = root
        self.context = root / "context"
        self.context.mkdir()

    def build(self, lines: str, *options: str, check: bool = True, **others: Any) -> commands.Done:
        text = lines.replace("SITE", self.site.url)
        path = self.context / "Dockerfile"
        if not path.exists() or path.read_text() != f"FROM scratch\n{text}\n":
            path.write_text(f"FROM scratch\n{text}\n")
        return self.sampan("build", "-t", "added", "--progress", "plain", *options, self.context, check=check, **others)

    def layer(self) -> Path:
        from sampan.engine import open_engine

        with open_engine(str(self.sampan.root)) as engine:
            return Path(engine.snapshots.stack(engine.images.find("added").chain)[0])

    def files(self) -> dict[str, trees.Node]:
        return trees.describe(self.layer())


@pytest.fixture
def adding(sampan: commands.Sampan, tmp_path: Path) -> Iterator[Adding]:
    with websites.website() as site:
        yield Adding(sampan, site, tmp_path)


def tar(**files: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return made.getvalue()


def test_a_file_has_the_servers_time_and_is_for_root_alone(adding: Adding) -> None:
    adding.site.put("dir/a%20b", b"one", Last_Modified=MODIFIED)
    adding.site.put("plain", b"two")
    adding.build("ADD SITE/dir/a%20b SITE/plain?x=y /d/")
    assert adding.files() == {
        "d": trees.Directory(0o755),
        "d/a b": trees.File("one", 0o600),
        "d/plain": trees.File("two", 0o600),
    }
    assert os.stat(adding.layer() / "d/a b").st_mtime == 1577934245
    assert os.stat(adding.layer() / "d/plain").st_mtime == 0


@pytest.mark.parametrize(
    ("flags", "dest", "expected"),
    [
        ("", "/f", {"f": trees.File("one", 0o600)}),
        ("--chmod=640 --chown=1:2", "/f", {"f": trees.File("one", 0o640, (1, 2))}),
        ("--chmod=u+x", "/f", {"f": trees.File("one", 0o700)}),
        ("--unpack", "/f", {"f": trees.File("one", 0o600)}),
        ("--link", "/l/f", {"l": trees.Directory(0o755), "l/f": trees.File("one", 0o600)}),
        ("--exclude=one", "/e/", {}),
    ],
)
def test_flags(adding: Adding, flags: str, dest: str, expected: dict[str, trees.Node]) -> None:
    adding.site.put("one", b"one")
    adding.build(f"ADD {flags} SITE/one {dest}")
    assert adding.files() == expected


def test_an_archive_is_unpacked_only_on_demand(adding: Adding) -> None:
    adding.site.put("a.tar.gz", tar(x="x"))
    adding.build("ADD SITE/a.tar.gz /a/")
    assert os.listdir(adding.layer() / "a") == ["a.tar.gz"]
    adding.build("ADD --unpack SITE/a.tar.gz /a/")
    assert os.listdir(adding.layer() / "a") == ["x"]
    adding.build("ADD --unpack=false SITE/a.tar.gz /a")
    assert (adding.layer() / "a").read_bytes() == adding.site.pages["/a.tar.gz"].content


def test_a_url_without_a_name(adding: Adding) -> None:
    adding.site.put("", b"index")
    adding.build("ADD SITE/ /index")
    failed = adding.build("ADD SITE/ /dir/", check=False)
    assert failed.returncode == 1
    assert "Dockerfile:2: the source has no name that it could have in the directory /dir/" in failed.stderr


def test_an_unchanged_url_costs_one_question(adding: Adding) -> None:
    adding.site.put("f", b"one", ETag='"1"', Last_Modified=MODIFIED)
    first = adding.build("ADD SITE/f /f")
    assert "CACHED" not in first.stderr.partition("ADD")[2]
    adding.site.asked()
    for _ in range(3):
        assert "CACHED" in adding.build("ADD SITE/f /f").stderr.partition("ADD")[2]
        assert adding.site.asked() == ["HEAD /f"]
    adding.site.put("f", b"one", ETag='"2"', Last_Modified=MODIFIED.replace("2020", "2021"))
    adding.build("ADD SITE/f /f")
    assert os.stat(adding.layer() / "f").st_mtime == 1577934245  # a time alone changes nothing
    adding.site.put("f", b"two", ETag='"3"')
    adding.build("ADD SITE/f /f")
    assert (adding.layer() / "f").read_text() == "two"


def test_what_was_fetched_serves_a_step_that_has_to_be_done_again(adding: Adding) -> None:
    adding.site.put("f", b"one", ETag='"1"')
    adding.build("ADD SITE/f /f")
    adding.sampan("rmi", "added")
    adding.site.asked()
    adding.build("ADD --chmod=644 SITE/f /f")
    assert adding.site.asked() == ["HEAD /f"]
    assert adding.files() == {"f": trees.File("one", 0o644)}


def test_checksums_fail_closed(adding: Adding) -> None:
    adding.site.put("f", b"evil", ETag='"1"')
    adding.build("ADD SITE/f /f")
    failed = adding.build(f"ADD --checksum={sha256(b'good')} SITE/f /f", check=False)
    assert failed.returncode == 1
    assert f"Dockerfile:2: the digest of {adding.site.url}/f is {sha256(b'evil')}" in failed.stderr
    adding.build(f"ARG SUM={sha256(b'evil')}\nADD --checksum=$SUM SITE/f /f")
    adding.site.asked()
    adding.build(f"ARG SUM={sha256(b'evil')}\nADD --checksum=$SUM SITE/f /f")
    assert adding.site.asked() == []


def test_sources_of_every_kind_keep_their_order(adding: Adding) -> None:
    (adding.context / "f").write_text("local")
    adding.site.put("f", b"remote")
    for sources, content in (("f SITE/f", "remote"), ("SITE/f f", "local")):
        adding.build(f"ADD {sources} /")
        assert (adding.layer() / "f").read_text() == content


def test_secrets_open_and_are_not_told(adding: Adding) -> None:
    adding.site.authorization = f"Bearer {CANARY}"
    adding.site.put("f", b"one")
    failed = adding.build("ADD SITE/f /f", check=False)
    assert "hint: give it a token with --secret id=HTTP_AUTH_TOKEN_127.0.0.1,env=NAME" in failed.stderr
    (adding.root / "token").write_text(f"{CANARY}\n")
    done = adding.build("ADD SITE/f /f", "--secret", f"id=HTTP_AUTH_TOKEN_127.0.0.1,src={adding.root}/token")
    assert (adding.layer() / "f").read_text() == "one"
    adding.site.authorization = "Basic dTpjYW5hcnktcGFzc3dvcmQ="
    login = adding.site.url.replace("//", f"//u:{CANARY}@")
    more = adding.build(f"ADD {login}/f /g")
    inspected = adding.sampan("inspect", "added").stdout + adding.sampan("history", "--no-trunc", "added").stdout
    assert CANARY not in done.stderr + more.stderr + inspected
    for path in adding.sampan.root.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_a_repository(adding: Adding) -> None:
    served = websites.Repository(adding.root / "served" / "repo")
    first = served.commit(docs__index="one", top="top")
    with websites.git_server(adding.root / "served") as url:
        adding.build(f"ADD --chown=1:2 {url}/repo#main:docs /docs")
        expected = {"docs": trees.Directory(0o755, (1, 2)), "docs/index": trees.File("one", 0o644, (1, 2))}
        assert adding.files() == expected
        again = adding.build(f"ADD --chown=1:2 {url}/repo#main:docs /docs")
        assert "CACHED" in again.stderr.partition("ADD")[2]
        served.commit(docs__index="two")
        adding.build(f"ADD {url}/repo#main:docs /docs")
        assert (adding.layer() / "docs/index").read_text() == "two"
        adding.build(f"ADD --checksum={first[:10]} {url}/repo#{first} /all")
        assert sorted(os.listdir(adding.layer() / "all")) == ["docs", "top"]
        adding.build(f"ADD {url}/repo#main:docs /one\nADD {url}/repo /two\nADD {url}/repo#{first}:docs /three")
        assert (adding.layer() / "three/index").read_text() == "one"
        failed = adding.build(f"ADD --checksum={first[:10]} {url}/repo /all", check=False)
        assert "HEAD of the git repository" in failed.stderr
        adding.build(f"ADD --keep-git-dir {url}/repo /all")
        assert sorted(os.listdir(adding.layer() / "all")) == [".git", "docs", "top"]
    assert not os.listdir(adding.sampan.root / "tmp")


@pytest.mark.needs("sshd", "ssh-agent")
def test_a_repository_by_ssh(adding: Adding) -> None:
    """With the keys of the agent that was given to the build, and to a host whose key is known."""
    served = websites.Repository(adding.root / "served")
    served.commit(file="x")
    home = adding.root / "home"
    (home / ".ssh").mkdir(parents=True)
    line = f"ADD SSH{served.path} /x"
    with websites.ssh_server(adding.root) as shell:
        line = line.replace("SSH", shell.url)
        without = adding.build(line, check=False)
        assert "hint: give it the agent that has the key: --ssh default" in without.stderr
        agent = f"--ssh=default={shell.agent}"
        unknown = adding.build(line, agent, check=False, environment={"HOME": str(home)})
        assert "is on a host whose key is not known" in unknown.stderr
        assert f"(ssh-keyscan -p {shell.url.rpartition(':')[2]} 127.0.0.1)" in unknown.stderr
        (home / ".ssh/known_hosts").write_text(shell.known_hosts)
        adding.build(line, agent, environment={"HOME": str(home)})
        assert os.listdir(adding.layer() / "x") == ["file"]
        # The user's own keys are not tried, the agent has to have one.
        (home / ".ssh/id_ed25519").write_bytes((adding.root / "user").read_bytes())
        (home / ".ssh/id_ed25519").chmod(0o600)
        (adding.root / "authorized").write_text("")
        refused = adding.build(f"{line}more", agent, check=False, environment={"HOME": str(home)})
        assert "hint: has the agent (--ssh default) a key for it?" in refused.stderr


@pytest.mark.parametrize("address", ["http://{}/file", "git://{}/repo", "http://{}/repo.git"])
@pytest.mark.parametrize("how", ["add", "context"])
def test_an_interrupt_ends_what_is_on_its_way(adding: Adding, address: str, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = address.format(f"127.0.0.1:{silent.getsockname()[1]}")
        (adding.context / "Dockerfile").write_text(f"FROM scratch\nADD {url} /x\n")
        command = adding.sampan.command("build", url if how == "context" else str(adding.context))
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                connection.settimeout(60)
                assert connection.recv(1)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=60)
                while connection.recv(1 << 16):
                    pass  # until whoever asked is gone
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not os.path.isdir(adding.sampan.root / "tmp") or not os.listdir(adding.sampan.root / "tmp")


def test_a_download_that_stalls_is_interrupted_too(adding: Adding) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow:
        url = f"http://127.0.0.1:{slow.getsockname()[1]}/f"
        (adding.context / "Dockerfile").write_text(f"FROM scratch\nADD {url} /x\n")
        process = subprocess.Popen(adding.sampan.command("build", adding.context), stderr=subprocess.DEVNULL)
        try:
            slow.settimeout(60)
            connection, _ = slow.accept()
            with connection:
                connection.settimeout(60)
                assert connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert not os.listdir(adding.sampan.root / "blobs" / "aside")


def test_what_was_fetched_is_pruned_with_the_cache(adding: Adding) -> None:
    adding.site.put("file", bytes(100_000), ETag='"1"')
    adding.build("ADD SITE/file /\n")
    listed = adding.sampan("cache", "ls", "--format", "{{.Type}} {{.Size}}").stdout
    assert "source.http 100kB" in listed
    adding.sampan("cache", "prune", "-f", "--filter", "type=source.http")
    assert "source.http" not in adding.sampan("cache", "ls").stdout
    sizes = [path.stat().st_size for path in (Path(adding.sampan.root) / "blobs").rglob("*")]
    assert 100_000 not in sizes
    adding.site.asked()
    adding.build("ADD SITE/file /again\n")
    assert adding.site.asked() == ["GET /file"]
