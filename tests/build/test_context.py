"""Build contexts: what COPY sees, and what is said when it does not see something."""

import os
from pathlib import Path

import pytest

from sampan.build import context
from sampan.build.context import Directory
from sampan.errors import Invalid, NotFound


def names(directory: Directory, path: bytes = b"") -> list[bytes]:
    return list(directory.children(path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("src/app.py", "src/deep/x.py", "docs/a.md", "docs/keep/b.md", "requirements.txt", "secret.env"):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path)
    return tmp_path


def test_children_are_sorted_and_have_their_status(root: Path) -> None:
    os.symlink("src", root / "link")
    (root / os.fsdecode(b"caf\xe9")).write_text("")
    found = context.open_context(str(root)).children(b"")
    assert list(found) == [b"caf\xe9", b"docs", b"link", b"requirements.txt", b"secret.env", b"src"]
    assert found[b"link"].st_ino == os.lstat(root / "link").st_ino
    assert names(context.open_context(str(root)), b"src/deep") == [b"x.py"]


def test_ignored_files_are_not_seen(root: Path) -> None:
    (root / ".dockerignore").write_text("*.env\ndocs\n!docs/keep\n.dockerignore\nsrc/deep\n")
    directory = context.open_context(str(root))
    assert names(directory) == [b"docs", b"requirements.txt", b"src"]
    assert names(directory, b"docs") == [b"keep"]
    assert names(directory, b"docs/keep") == [b"b.md"]
    assert names(directory, b"src") == [b"app.py"]
    assert directory.excludes(b"docs/a.md")
    assert not directory.excludes(b"docs/keep/b.md")


def test_excluded_directories_are_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".dockerignore").write_text("!src/deep/x.py\ndocs\nsrc\n!secret.env\n")
    opened: list[bytes] = []
    open_in = context.beneath.open_in

    def recorded(root_fd: int, path: bytes, flags: int, mode: int = 0, *, links: bool = True) -> int:
        opened.append(path)
        return open_in(root_fd, path, flags, mode, links=links)

    directory = context.open_context(str(root))
    monkeypatch.setattr(context.beneath, "open_in", recorded)
    assert names(directory) == [b".dockerignore", b"requirements.txt", b"secret.env"]
    assert opened == [b""]


def test_an_excluded_directory_in_which_nothing_is_left_is_not_seen(root: Path) -> None:
    (root / ".dockerignore").write_text("*\n!docs/*/none\n!src/deep\n")
    assert names(context.open_context(str(root))) == [b"src"]


def test_no_link_is_followed_on_the_way(root: Path) -> None:
    os.symlink("/etc", root / "outside")
    os.symlink("src", root / "inside")
    directory = context.open_context(str(root))
    for path in (b"outside", b"inside", b"inside/deep", b"requirements.txt"):
        with pytest.raises(OSError):
            directory.children(path)


def test_ignore_file_of_a_dockerfile_comes_first(root: Path) -> None:
    (root / ".dockerignore").write_text("src\n")
    (root / "dev.Dockerfile.dockerignore").write_text("docs\n")
    assert b"src" not in names(context.open_context(str(root)))
    assert b"src" in names(context.open_context(str(root), "dev.Dockerfile"))
    assert b"src" in names(context.open_context(str(root), str(root / "dev.Dockerfile")))
    assert b"docs" not in names(context.open_context(str(root), "dev.Dockerfile"))


def test_malformed_ignore_file(root: Path) -> None:
    (root / ".dockerignore").write_text("ok\n[\n")
    with pytest.raises(Invalid, match=r"^\.dockerignore:2: "):
        context.open_context(str(root))


def test_ignore_file_is_not_read_through_a_link_out_of_the_context(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "canary"
    outside.write_text("[canary")
    os.symlink(outside, root / ".dockerignore")
    assert b"src" in names(context.open_context(str(root)))


@pytest.mark.parametrize(("path", "message"), [("none", "does not exist"), ("requirements.txt", "is not a directory")])
def test_context_must_be_a_directory(root: Path, path: str, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        context.open_context(str(root / path))


class TestReadDockerfile:
    def test_reads(self, root: Path) -> None:
        (root / "Dockerfile").write_bytes(b"FROM a\n")
        (root / "docker").mkdir()
        (root / "docker/dev").write_bytes(b"FROM b\n")
        assert context.read_dockerfile(str(root)) == b"FROM a\n"
        assert context.read_dockerfile(str(root), "docker/dev") == b"FROM b\n"
        assert context.read_dockerfile("/nowhere-at-all", str(root / "docker/dev")) == b"FROM b\n"

    @pytest.mark.parametrize(
        "present", ["dockerfile", "Containerfile", "DOCKERFILE", "dev.Dockerfile", "Dockerfile.dev"]
    )
    def test_hint_at_what_is_there(self, root: Path, present: str) -> None:
        (root / present).write_text("FROM a\n")
        with pytest.raises(NotFound) as caught:
            context.read_dockerfile(str(root))
        assert caught.value.message == f"there is no Dockerfile in {root}"
        assert caught.value.hint == f"use -f {root / present}"

    def test_nothing_like_it(self, root: Path) -> None:
        with pytest.raises(NotFound) as caught:
            context.read_dockerfile(str(root))
        assert caught.value.hint == "write one, or name another with -f"
        with pytest.raises(NotFound) as caught:
            context.read_dockerfile(str(root), "sub/Dockerfile")
        assert caught.value.hint == f"there is no directory {root}/sub"

    def test_link_out_of_the_context_is_not_followed(self, root: Path) -> None:
        os.symlink("/etc/hostname", root / "Dockerfile")
        with pytest.raises(NotFound) as caught:
            context.read_dockerfile(str(root))
        assert "leads out" in (caught.value.hint or "")

    def test_fifo_does_not_block(self, root: Path) -> None:
        os.mkfifo(root / "Dockerfile")
        with pytest.raises(NotFound):
            context.read_dockerfile(str(root))

    def test_directory(self, root: Path) -> None:
        (root / "Dockerfile").mkdir()
        with pytest.raises((NotFound, Invalid)):
            context.read_dockerfile(str(root))

    def test_too_large(self, root: Path) -> None:
        with open(root / "Dockerfile", "wb") as file:
            file.truncate(5 << 20)
        with pytest.raises(Invalid, match="larger than 4 MiB"):
            context.read_dockerfile(str(root))


class TestMissing:
    def explain(self, root: Path, source: str) -> tuple[str, str | None]:
        error = context.missing(context.open_context(str(root)), source)
        return error.message, error.hint

    def test_near_name(self, root: Path) -> None:
        assert self.explain(root, "requirement.txt") == (
            "requirement.txt is not in the build context",
            "did you mean requirements.txt?",
        )
        assert self.explain(root, "/src/ap.py")[1] == "did you mean src/app.py?"

    def test_excluded(self, root: Path) -> None:
        (root / ".dockerignore").write_text("*.env\nsrc\n")
        for source in ("secret.env", "./src/app.py"):
            message, hint = self.explain(root, source)
            assert message == f"{source} is not in the build context: .dockerignore excludes it"
            assert hint == f"a line !{source.removeprefix('./')} in .dockerignore lets it through"

    def test_names_that_are_hidden_are_not_told(self, root: Path) -> None:
        (root / ".dockerignore").write_text("secret*\n")
        message, hint = self.explain(root, "secret.en")
        assert "secret.env" not in message + (hint or "")

    def test_link_that_leads_out(self, root: Path) -> None:
        os.symlink("/etc/shadow", root / "link")
        message, _ = self.explain(root, "link")
        assert message == "link is not in the build context: it is a link to /etc/shadow, which is not there"

    def test_no_such_directory(self, root: Path) -> None:
        assert self.explain(root, "none/x") == (
            "none/x is not in the build context",
            f"there is no directory none in {root}",
        )

    def test_parents_lead_nowhere(self, root: Path) -> None:
        assert self.explain(root, "../../etc/shadow")[1] == f"there is no directory etc in {root}"
