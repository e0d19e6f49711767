"""What a build is given to work on: its context and its Dockerfile, wherever they are."""

import os
import sys

from sampan.cli.context import Context
from sampan.cli.flags import Parsed
from sampan.errors import Invalid, NotFound, SampanError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from sampan.build.context import Directory
    from sampan.build.mounts import Secret
    from sampan.build.received import Received
    from sampan.build.remotes import Remotes
    from sampan.cli.source import Source
    from sampan.engine import Engine
    from sampan.oci.platform import Platform
    from sampan.store.images import Image

LAYOUT = "oci-layout://"


def is_remote(text: str) -> bool:
    """Whether a context or a Dockerfile is on standard input, or behind an address. Raises Invalid."""
    if "://" not in text and "@" not in text and not text.startswith("github.com/"):
        return text == "-"
    from sampan.build import remote

    return remote.parse_context(text) is not None and not os.path.exists(text)


class Input:
    """The contexts of one build; a context manager: what was fetched or unpacked is gone afterwards."""

    def __init__(
        self,
        arguments: Parsed,
        context: Context,
        build_args: "Mapping[str, str]",
        secrets: "Mapping[str, Secret]",
        agents: "Mapping[str, str]",
    ) -> None:
        from contextlib import ExitStack

        from sampan.build.dockerfile.arguments import KEEP_GIT_ARG

        self._path = arguments.positionals[0]
        self._file = arguments.text("file")
        self._context = context
        self._keeps_git = build_args.get(KEEP_GIT_ARG, "").lower() in ("1", "t", "true")
        self._access = (secrets, agents)
        self._opened = ExitStack()
        self._is_kept = False
        self._remotes: Remotes | None = None
        self._named: dict[str, Directory] = {}
        self.modified: int | None = None
        """When a context that was received last changed (seconds since 1970), if that can be told."""
        if self._path == "-" and self._file == "-":
            raise Invalid("standard input cannot be both the build context and the Dockerfile")

    def __enter__(self) -> "Input":
        return self

    def __exit__(self, *rest: object) -> None:
        self._opened.close()

    def source(self) -> "Source":
        """The Dockerfile and the context. Raises SampanError."""
        from sampan.build.context import Directory, open_context, read_dockerfile
        from sampan.build.ignore import Ignore
        from sampan.cli.source import Source

        file, is_apart = self._file or "", is_remote(self._file or "")
        if is_remote(self._path):
            received = self._received()
            self.modified = received.modified
            files = Directory(received.directory, Ignore(), self._origin(received))
            if received.dockerfile is not None and not self._file:
                return Source(received.dockerfile, "Dockerfile", files)
            if received.dockerfile is not None and not is_apart:
                hint = "sampan build - < FILE, or name a directory"
                raise Invalid("there is no build context for -f to be in", hint=hint)
        else:
            root = os.path.abspath(self._path)
            file = file if is_apart else beside(self._file, root)
            files = open_context(root, "Dockerfile" if is_apart else file)
        if is_apart:
            return Source(*self._fetched(file), files)
        try:
            file = file or _usual(files.root)
            return Source(read_dockerfile(files.root, file), file, files)
        except NotFound as error:
            if is_remote(self._path):
                error.message = error.message.replace(files.root, "the build context")
                error.hint = error.hint and error.hint.replace(f"{files.root}/", "")
            raise

    def _origin(self, received: "Received") -> str:
        """Where a context comes from that was received, in words."""
        from sampan.build.remote import redacted

        if received.dockerfile is not None:
            return "empty: there is only a Dockerfile"
        return "what came on standard input" if self._path == "-" else redacted(self._path)

    @property
    def place(self) -> str:
        """Where the context and the Dockerfile are, in a form that is the same for the next build, and has no secret
        in it."""
        from sampan.build.remote import redacted

        file, root = self._file or "", os.path.abspath(self._path)
        if not is_remote(file) and not is_remote(self._path):
            return f"{root} {beside(self._file, root)}"
        return redacted(f"{self._path if is_remote(self._path) else root} {file}".strip())

    def open_named(self, value: str) -> "Directory":
        """The files of a named context (--build-context), the same for all platforms."""
        if value not in self._named:
            self._named[value] = self._opened_named(value)
        return self._named[value]

    def _opened_named(self, value: str) -> "Directory":
        from sampan.build import received, remote
        from sampan.build.context import Directory, open_context
        from sampan.build.ignore import Ignore

        found = remote.parse(value)
        if found is None and "://" in value:
            scheme = value.partition("://")[0]
            raise Unsupported(f"a build context from {scheme} is not supported")
        if found is None:
            return open_context(value)
        directory = self._new_directory()
        return Directory(received.named(found, self._opened_remotes(), self._engine.blobs, directory), Ignore())

    @property
    def _engine(self) -> "Engine":
        return self._context.engine

    def _received(self) -> "Received":
        from sampan.build import received, remote

        directory = self._new_directory()
        if self._path == "-":
            return received.from_stream(_stdin(), directory, rootless=self._engine.rootless)
        found = remote.parse_context(self._path)
        assert found is not None
        if isinstance(found, remote.Repository) and self._keeps_git:
            found = found._replace(keep_git_dir=True)
        remotes, engine = self._opened_remotes(), self._engine
        return received.from_remote(found, remotes, engine.blobs, directory, rootless=engine.rootless)

    def _fetched(self, file: str) -> tuple[bytes, str]:
        """The text of a Dockerfile that is on standard input or behind a URL, and how it is called."""
        from sampan.build import received, remote

        if file == "-":
            return received.read_dockerfile(_stdin()), "Dockerfile"
        address = remote.parse(file)
        if not isinstance(address, remote.Url):
            raise Invalid("the Dockerfile cannot be a git repository", hint="name the repository as the build context")
        text = received.download_dockerfile(address, self._opened_remotes(), self._engine.blobs)
        return text, address.name or "Dockerfile"

    def _keep(self) -> None:
        """Lets the collector remove nothing of what is fetched."""
        if not self._is_kept:
            self._opened.enter_context(self._engine.storing())
            self._is_kept = True

    def _new_directory(self) -> str:
        from sampan.store.trees import remove_tree

        self._keep()
        temporary = self._engine.paths.temporary
        os.makedirs(temporary, mode=0o700, exist_ok=True)
        directory = f"{temporary}/context-{os.getpid()}-{os.urandom(8).hex()}"
        os.mkdir(directory, 0o755)
        self._opened.callback(remove_tree, directory)
        return directory

    def _opened_remotes(self) -> "Remotes":
        from sampan.build.cancellation import Cancellation
        from sampan.build.remotes import Remotes

        self._keep()
        if self._remotes is None:
            engine = self._engine
            secrets, agents = self._access
            made = Remotes(engine.database, engine.blobs, engine.paths.temporary, secrets, agents, Cancellation())
            self._remotes = self._opened.enter_context(made)
        return self._remotes


def _usual(directory: str) -> str:
    """``Dockerfile`` or, as with BuildKit, ``dockerfile`` where there is only that."""
    found = [name for name in ("Dockerfile", "dockerfile") if os.path.lexists(f"{directory}/{name}")]
    return found[0] if found else "Dockerfile"


def beside(name: str | None, directory: str) -> str:
    """The path of Dockerfile ``name`` (-f) for the context in ``directory``: relative to it if it is in there."""
    if name is None:
        return _usual(directory)
    # As with Docker, -f counts from where the user is, and only then from the context.
    path = os.path.abspath(name)
    if not os.path.lexists(path) and os.path.lexists(os.path.join(directory, name)):
        return name
    return os.path.relpath(path, directory) if path.startswith(f"{directory}/") else path


def image_of_layout(name: str, platform: "Platform", engine: "Engine") -> "Image":
    """The image that ``oci-layout://DIRECTORY[:TAG][@DIGEST]`` names, which is then unpacked in the store."""
    from sampan.archives import layout, places
    from sampan.cli.load import chosen
    from sampan.snapshots.admit import admit

    directory, _, digest = name.removeprefix(LAYOUT).partition("@")
    tag = ""
    if not os.path.isdir(directory):
        directory, _, tag = directory.rpartition(":")
    try:
        with layout.Directory(directory, engine.blobs) as place:
            offers = [offer for offer in place.offers if not digest or offer.target.digest == digest]
            if not offers:
                raise NotFound(f"there is no image {digest or 'at all'} in it")
            target = places.gather(layout.find(offers, tag).target, place, engine.blobs, platform)
            return admit(chosen(places.images(target, engine.blobs)), engine.blobs, engine.snapshots, _unreported)
    except SampanError as error:
        error.message = f"{name} cannot be read: {error.message}"
        raise


def _unreported(event: object) -> None:
    pass


def _stdin() -> "BinaryIO":
    return sys.stdin.buffer
