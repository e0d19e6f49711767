"""Build contexts that come from elsewhere: from standard input, a URL or a git repository, into a directory of ours.

As with BuildKit no .dockerignore applies to them: who sent them has chosen already. What an archive holds never leaves
the directory that it is unpacked in.
"""

import os
import time
from typing import NamedTuple

from sampan.build.context import MAX_DOCKERFILE
from sampan.build.destination import Destination
from sampan.build.remote import Remote, Repository, Url
from sampan.build.remotes import Remotes
from sampan.build.unpack import begins_archive, unpack_stream
from sampan.errors import Invalid
from sampan.layers.compression import Prefixed
from sampan.layers.window import Source
from sampan.store.blobs import Blobs

_BLOCK = 512
_NAME = "context"
"""What BuildKit calls a file that is a whole context."""


class Received(NamedTuple):
    """A context that is here: its directory, and the Dockerfile if that came in place of files."""

    directory: str
    dockerfile: bytes | None = None
    modified: int | None = None
    """When it last changed (seconds since 1970), if that can be told."""


def from_stream(stream: Source, directory: str, *, rootless: bool) -> Received:
    """What ``stream`` holds: a tar archive, compressed or not, is unpacked into the empty ``directory``; anything else
    is a Dockerfile. Raises Invalid."""
    head = _begin(stream)
    stream = Prefixed(head, stream)
    if not begins_archive(head):
        return Received(directory, read_dockerfile(stream))
    return Received(directory, modified=_unpack(stream, directory, rootless))


def from_remote(remote: Remote, remotes: Remotes, blobs: Blobs, directory: str, *, rootless: bool) -> Received:
    """What is behind an address: as ``from_stream`` does it, or the files of a repository, in a directory of their
    own. Raises SampanError."""
    if isinstance(remote, Repository):
        return Received(checkout(remote, remotes), modified=remotes.checkout(remote).committed)
    found = remotes.download(remote)
    with blobs.open(found.digest) as file:
        received = from_stream(file, directory, rootless=rootless)
    if received.dockerfile is not None:
        _place(received.dockerfile, directory)
    return received._replace(modified=found.mtime or received.modified)


def named(remote: Remote, remotes: Remotes, blobs: Blobs, directory: str) -> str:
    """The directory of a context that --build-context names: a file is not unpacked there, as with BuildKit."""
    if isinstance(remote, Repository):
        return checkout(remote, remotes)
    from shutil import copyfileobj

    with blobs.open(remotes.download(remote).digest) as file, open(f"{directory}/{_NAME}", "xb") as copy:
        copyfileobj(file, copy, 1 << 20)
        os.fchmod(copy.fileno(), 0o600)
    return directory


def checkout(repository: Repository, remotes: Remotes) -> str:
    """The directory of a repository's files, or of those that its address names."""
    found = remotes.fetch(repository).match
    return os.path.join(remotes.checkout(repository).directory, os.fsdecode(found.path)).rstrip("/")


def download_dockerfile(url: Url, remotes: Remotes, blobs: Blobs) -> bytes:
    """The text of a Dockerfile behind a URL."""
    with blobs.open(remotes.download(url).digest) as file:
        return read_dockerfile(file)


def read_dockerfile(stream: Source) -> bytes:
    """The text of a Dockerfile. Raises Invalid if it is too large to be one."""
    text = b""
    while data := stream.read(1 << 16):
        text += data
        if len(text) > MAX_DOCKERFILE:
            raise Invalid(f"what should be a Dockerfile is larger than {MAX_DOCKERFILE >> 20} MiB, and no archive")
    return text


def _begin(stream: Source) -> bytes:
    head = b""
    while len(head) < _BLOCK and (data := stream.read(_BLOCK - len(head))):
        head += data
    return head


def _unpack(stream: Source, directory: str, rootless: bool) -> int:
    with Destination(directory, (), rootless=rootless, now=time.time()) as to:
        return unpack_stream(stream, "the build context", b"", to)


def _place(text: bytes, directory: str) -> None:
    with open(f"{directory}/{_NAME}", "xb") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o600)
