"""Git repositories as sources: real ones, by git daemon and by git-http-backend."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import trees
import websites
from sampan.build import git
from sampan.build.cancellation import Cancellation
from sampan.build.git import Access, Resolved
from sampan.build.mounts import Secret
from sampan.build.remote import Repository, parse
from sampan.build.remotes import Remotes, find_directory
from sampan.build.source import ContextFiles
from sampan.errors import Corrupt, Denied, Invalid, NotFound, SampanError, Unavailable
from sampan.store import database
from sampan.store.blobs import Blobs
from trees import PlainContext

pytestmark = pytest.mark.needs("git")
CANARY = "canary-token"


class Remote:
    """A repository with a history, on servers, and what a build sees of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = websites.Repository(root / "served" / "repo")
        self.repository.write(run="#!/bin/sh")
        (self.repository.path / "run").chmod(0o700)
        (self.repository.path / "out").symlink_to("/etc")
        self.first = self.repository.commit(docs__index="one")
        self.repository.git("tag", "-a", "-m", "t", "v1")
        self.second = self.repository.commit(docs__index="two")
        self.url = ""
        self.secrets: dict[str, Secret] = {}

    def access(self, agents: dict[str, str] | None = None) -> Access:
        return Access(self.secrets, agents or {}, Cancellation())

    def resolve(self, behind: str = "", url: str = "") -> Resolved:
        return git.resolve(self.parsed(behind, url), self.access())

    def checkout(self, behind: str = "", url: str = "", name: str = "checkout") -> Path:
        repository = self.parsed(behind, url)
        directory = self.root / name
        directory.mkdir(mode=0o755)
        git.checkout(repository, git.resolve(repository, self.access()), str(directory), self.access())
        return directory

    def parsed(self, behind: str, url: str = "") -> Repository:
        found = parse((url or self.url) + behind)
        assert isinstance(found, Repository)
        return found

    def secret(self, name: str, content: str) -> None:
        path = self.root / name
        path.write_text(content)
        self.secrets[name] = Secret(str(path))


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    found = Remote(tmp_path)
    with websites.git_server(tmp_path / "served") as url:
        found.url = f"{url}/repo"
        yield found


@pytest.fixture
def site(remote: Remote) -> Iterator[websites.Website]:
    with websites.website() as site:
        site.repositories = remote.root / "served"
        yield site


def test_a_ref_is_a_branch_a_tag_or_a_commit(remote: Remote) -> None:
    assert remote.resolve() == Resolved(remote.second, "refs/heads/main")
    assert remote.resolve("#main") == Resolved(remote.second, "refs/heads/main")
    assert remote.resolve("#refs/heads/main") == Resolved(remote.second, "refs/heads/main")
    assert remote.resolve("#v1") == Resolved(remote.first, "refs/tags/v1")
    assert remote.resolve("?tag=v1") == Resolved(remote.first, "refs/tags/v1")
    assert remote.resolve(f"#{remote.first}") == Resolved(remote.first, "")
    remote.repository.git("branch", "v1", "main")
    assert remote.resolve("#v1").commit == remote.second
    assert remote.resolve("#refs/tags/v1").commit == remote.first


@pytest.mark.parametrize("ref", ["nothing", "ain", "*", "?", "HEAD^{}"])
def test_a_ref_that_is_not_there(remote: Remote, ref: str) -> None:
    repository = Repository(remote.url, ref)
    with pytest.raises(NotFound, match="has no branch or tag"):
        git.resolve(repository, remote.access())


def test_a_commit_that_was_promised(remote: Remote) -> None:
    tag = remote.repository.git("rev-parse", "refs/tags/v1")
    for promised in (remote.first, remote.first[:7], tag, tag[:7]):
        assert remote.resolve(f"?commit={promised}#v1").commit == remote.first
    with pytest.raises(Corrupt, match=f"v1 of the git repository .* is {remote.first}, not {remote.second[:9]}"):
        remote.resolve(f"?commit={remote.second[:9]}#v1")
    with pytest.raises(Corrupt):
        remote.resolve(f"?commit={remote.second}#{remote.first}")


def test_a_checkout_has_the_modes_of_git_whatever_the_umask(remote: Remote) -> None:
    mask = os.umask(0o077)
    try:
        found = remote.checkout("#v1")
    finally:
        os.umask(mask)
    owner = (os.geteuid(), os.getegid())
    assert trees.describe(found) == {
        "docs": trees.Directory(0o755, owner),
        "docs/index": trees.File("one", 0o644, owner),
        "out": trees.Link("/etc"),
        "run": trees.File("#!/bin/sh", 0o755, owner),
    }


@pytest.mark.parametrize("behind", ["", "#v1", "#FIRST", "#SECOND"])
@pytest.mark.parametrize("by", ["git", "http"])
def test_every_ref_by_every_protocol(remote: Remote, site: websites.Website, behind: str, by: str) -> None:
    ref = behind.replace("FIRST", remote.first).replace("SECOND", remote.second)
    found = remote.checkout(ref, f"{site.url}/git/repo/.git" if by == "http" else "")
    assert (found / "docs/index").read_text() == ("one" if "v1" in behind or "FIRST" in behind else "two")


def test_a_server_that_gives_no_commits_by_their_id(remote: Remote, site: websites.Website) -> None:
    """The dumb protocol knows no depth and no commits that no ref leads to."""
    bare = remote.root / "bare.git"
    remote.repository.git("clone", "-q", "--bare", str(remote.repository.path), str(bare))
    websites.Repository.git(remote.repository, f"--git-dir={bare}", "update-server-info")
    for path in bare.rglob("*"):
        if path.is_file():
            site.put(f"dumb.git/{path.relative_to(bare)}", path.read_bytes())
    found = remote.checkout(f"#{remote.first}", f"{site.url}/dumb.git")
    assert (found / "docs/index").read_text() == "one"
    with pytest.raises(NotFound, match=f"has no commit {'0' * 40}"):
        remote.checkout(f"#{'0' * 40}", f"{site.url}/dumb.git", "other")


def test_the_git_directory_is_kept_where_it_is_wanted(remote: Remote) -> None:
    assert not (remote.checkout() / ".git").exists()
    kept = remote.checkout("?keep-git-dir=1#main", name="kept")
    shown = subprocess.run(
        ["git", "-c", "safe.directory=*", "log", "--format=%H %D"], cwd=kept, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == f"{remote.second} grafted, HEAD, main" or remote.second in shown.stdout
    assert not list((kept / ".git").glob("*hook*"))
    assert not (kept / ".git/FETCH_HEAD").exists()
    assert remote.url in (kept / ".git/config").read_text()


def test_submodules(remote: Remote) -> None:
    inner = websites.Repository(remote.root / "served" / "inner")
    inner.commit(file="inner")
    remote.repository.git("submodule", "add", "-q", "../inner", "sub")
    remote.repository.commit()
    found = remote.checkout()
    assert (found / "sub/file").read_text() == "inner"
    assert not list(found.rglob(".git"))
    assert not list(remote.checkout("?submodules=0", name="without").glob("sub/*"))


def test_files_may_have_the_time_of_the_commit(remote: Remote) -> None:
    found = remote.checkout("?mtime=commit&fetch-by-commit=true")
    assert {path.lstat().st_mtime for path in (found, *found.rglob("*"))} == {1577934245.0}
    assert (remote.checkout("?mtime=checkout", name="now") / "docs/index").lstat().st_mtime > 1_700_000_000


@pytest.mark.parametrize("url", ["file://{}", "{}", "ext::sh -c touch% {}.canary", "ssh://root@127.0.0.1:1{}"])
def test_a_submodule_reaches_no_file_and_runs_no_command(remote: Remote, url: str) -> None:
    secret = websites.Repository(remote.root / "secret")
    secret.commit(file="of the host")
    remote.repository.git("submodule", "add", "-q", str(secret.path), "sub")
    address = url.format(secret.path)
    remote.repository.git("config", "--file", ".gitmodules", "submodule.sub.url", address)
    remote.repository.commit()
    with pytest.raises(Unavailable, match=r"transport '(file|ext|ssh)' not allowed"):
        remote.checkout()
    assert not list(remote.root.glob("*canary*"))


def test_no_hook_and_no_filter_of_anybody_runs(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = tmp_path / "canary"
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    for hook in ("post-checkout", "reference-transaction"):
        (home / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {canary}\n")
        (home / "hooks" / hook).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\nhooksPath = {home}/hooks\n[init]\ntemplateDir = {home}\n"
        f'[filter "evil"]\nsmudge = "touch {canary}; cat"\n'
    )
    for name in ("HOME", "GIT_TEMPLATE_DIR", "GIT_DIR", "GIT_EXEC_PATH"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", f"{home}/.gitconfig")
    (remote.repository.path / ".gitattributes").write_text("* filter=evil\n")
    remote.repository.commit()
    assert (remote.checkout() / "docs/index").read_text() == "two"
    assert not canary.exists()


def test_a_token_is_for_its_host_and_on_no_command_line(remote: Remote, site: websites.Website) -> None:
    url = f"{site.url}/git/repo/.git"
    host = site.url.removeprefix("http://")
    site.authorization = "Basic eC1hY2Nlc3MtdG9rZW46Y2FuYXJ5LXRva2Vu"  # x-access-token:canary-token
    with pytest.raises(Denied) as caught:
        remote.resolve(url=url)
    assert caught.value.hint == f"give it a token: --secret id=GIT_AUTH_TOKEN.{host},env=NAME"
    remote.secret("GIT_AUTH_TOKEN.127.0.0.1:1", CANARY)
    remote.secret("GIT_AUTH_TOKEN", CANARY)  # for any host, which http is not safe enough for
    with pytest.raises(Denied):
        remote.resolve(url=url)
    remote.secret(f"GIT_AUTH_TOKEN.{host}", CANARY)
    site.requests.clear()
    assert (remote.checkout(url=url) / "docs/index").read_text() == "two"
    assert {each.headers.get("Authorization") for each in site.requests} == {site.authorization}
    site.authorization = "Scheme x"
    remote.secret(f"GIT_AUTH_HEADER.{host}", "Scheme x\n")
    assert remote.resolve(url=url).commit == remote.second
    remote.secrets.clear()
    site.authorization = "Basic dTpjYW5hcnk="
    assert remote.resolve(url=url.replace("//", "//u:canary@")).commit == remote.second


def test_credentials_follow_no_redirect(remote: Remote, site: websites.Website) -> None:
    remote.secret(f"GIT_AUTH_TOKEN.{site.url.removeprefix('http://')}", CANARY)
    with websites.website() as other:
        target = f"{other.url}/git/repo/.git/info/refs?service=git-upload-pack"
        other.repositories = site.repositories
        site.put("moved.git/info/refs?service=git-upload-pack", b"", 302, Location=target)
        with pytest.raises(SampanError) as caught:
            remote.resolve(url=f"{site.url}/moved.git")
        assert CANARY not in caught.value.message
        assert other.requests == []
        remote.secrets.clear()
        assert remote.resolve(url=f"{site.url}/moved.git").commit == remote.second


def test_what_git_says_is_told(remote: Remote) -> None:
    with pytest.raises(Unavailable, match=r"cannot be fetched: .*repository not exported: /nothing"):
        remote.resolve(url=remote.url.replace("/repo", "/nothing"))
    with pytest.raises(Unavailable, match=r"unable to connect.*refused"):
        remote.resolve(url="git://127.0.0.1:1/x")


def test_without_git(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match="git is not installed") as caught:
        remote.resolve()
    assert caught.value.hint


def test_ssh_needs_an_agent_that_was_given_to_the_build(remote: Remote) -> None:
    with pytest.raises(Denied, match="no ssh agent") as caught:
        remote.resolve(url="git@127.0.0.1:a/b")
    assert caught.value.hint == "give it the agent that has the key: --ssh default"


def test_a_build_that_is_given_up_ends_git(remote: Remote) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(SampanError, match="cancelled"):
        git.resolve(remote.parsed(""), Access({}, {}, cancellation))


@pytest.mark.parametrize("subdir", ["out", "out/ssl", "docs/up/..", "..", "docs/../../..", "docs/etc", "run"])
def test_a_directory_in_a_repository_is_reached_through_no_link(remote: Remote, subdir: str) -> None:
    """CVE-2026-33748."""
    (remote.repository.path / "docs/etc").symlink_to("../../../../../../../../etc")
    remote.repository.commit()
    with ContextFiles(PlainContext(remote.checkout())) as files, pytest.raises((NotFound, Invalid)):
        find_directory(files, Repository(remote.url, subdir=subdir))


def test_directories_in_a_repository(remote: Remote) -> None:
    with ContextFiles(PlainContext(remote.checkout())) as files:
        for subdir, expected in (("", b""), ("docs", b"docs"), ("/docs/.", b"docs")):
            found = find_directory(files, Repository(remote.url, subdir=subdir))
            assert found.path == expected
            assert stat.S_ISDIR(found.status.st_mode)


def test_a_build_asks_once_what_a_ref_is(remote: Remote, tmp_path: Path) -> None:
    """Or somebody who pushes during a build would get other files remembered under the key of these."""
    database_, blobs = database.connect(str(tmp_path / "db")), Blobs(str(tmp_path / "blobs"))
    whole, part = remote.parsed("#main"), remote.parsed("?keep-git-dir=1#main:docs")
    with Remotes(database_, blobs, str(tmp_path / "tmp"), {}, {}, Cancellation()) as remotes:
        before = remotes.identity(part)
        remote.repository.commit(docs__index="three")
        view, match = remotes.fetch(part)
        with open(view.open(match.path + b"/index")) as file:
            assert file.read() == "two"
        assert remote.second in (before or ())
        assert remote.second in (remotes.identity(whole) or ())
    assert os.listdir(tmp_path / "tmp") == []
