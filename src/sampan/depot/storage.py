"""An OCI image layout (image-spec, image-layout.md) that is read and added to while a registry serves it.

Laws. Bytes are in ``blobs`` before ``index.json`` names them; that is replaced in one rename, by one writer at a time
(flock(2) on the directory: other processes, too). Entries of others stay as they are. A blob that is a link, or no
regular file, is not there: whoever gave you the layout does not choose what of this machine you serve.

Blobs belong to no repository: whoever may read one of them may read all. A repository is a name in ``index.json``; an
entry that has a tag and no name belongs to the repository that is called as the directory is.
"""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from sampan.archives import layout
from sampan.errors import Conflict, Invalid, NotFound, SampanError
from sampan.linux import beneath
from sampan.oci import digest as digests
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.digest import Digest
from sampan.oci.manifest import MAX_BYTES, Manifest
from sampan.store.blobs import Blobs

_ABSENT = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
_KNOWN = 10_000
"""Manifests whose subject is remembered, to tell referrers without reading all each time."""


class Document(NamedTuple):
    """A manifest or an index: its bytes, and what they are."""

    media_type: str
    digest: Digest
    data: bytes


class Depot:
    """The layout in ``directory``, which is made unless ``read_only``. ``host`` is what names of images begin with.

    A context manager; may be used from several threads. Raises Invalid for a directory with something else in it,
    NotFound, and Conflict if another process serves it already.
    """

    def __init__(self, directory: str, host: str, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._host = host
        self._repository = _repository_of(directory)
        self._subjects: dict[str, dict[str, Any] | None] = {}
        self._directory = directory
        self.blobs = Blobs(f"{directory}/blobs")
        if not read_only:
            os.makedirs(directory, exist_ok=True)
        self._root = layout.open_directory(directory)
        self._lock = -1
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Depot":
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the directory."""
        if self._lock >= 0:
            with suppress(OSError):  # a client is sending yet
                os.rmdir(self.blobs.aside)
        for fd in (self._root, self._lock):
            if fd >= 0:
                os.close(fd)
        self._root = self._lock = -1

    def _open(self) -> None:
        if not self.read_only and not os.listdir(self._directory):
            layout.write_small(self._root, "oci-layout", layout.VERSION)
            layout.write_small(self._root, "index.json", manifests.Index(media.OCI_INDEX, ()).encode())
        try:
            version = layout.read_small(self._root, "oci-layout")
        except NotFound:
            raise Invalid(f"{self._directory} is not an image layout", hint="name a new directory") from None
        if b"imageLayoutVersion" not in version:
            raise Invalid("oci-layout does not tell the layout's version")
        self._entries()
        if not self.read_only:
            self._own()

    def _own(self) -> None:
        """Makes ready to write, alone; what a registry left that was killed goes."""
        for name in (b"blobs", b"blobs/sha256", b"blobs/aside"):
            os.close(beneath.make_directories(self._root, name))
            os.close(beneath.open_in(self._root, name, os.O_RDONLY | os.O_DIRECTORY, links=False))
        self._lock = beneath.open_in(self._root, b"blobs", os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another registry serves {self._directory}") from None
        for left in os.listdir(self.blobs.aside):
            os.unlink(f"{self.blobs.aside}/{left}")

    # -- blobs ----------------------------------------------------------------------------------------------------

    def open(self, digest: Digest) -> tuple[int, int]:
        """An open descriptor of a blob, and its size. Raises NotFound."""
        name = f"blobs/{digest.algorithm}/{digest.encoded}".encode()
        try:
            fd = beneath.open_in(self._root, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, links=False)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            raise NotFound(f"there is no blob {digest}") from None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise NotFound(f"there is no blob {digest}")
        return fd, status.st_size

    def has(self, digest: Digest) -> bool:
        try:
            os.close(self.open(digest)[0])
        except NotFound:
            return False
        return True

    def remove_blob(self, digest: Digest) -> None:
        """Raises NotFound."""
        if not self.has(digest):
            raise NotFound(f"there is no blob {digest}")
        self.blobs.remove(digest)

    # -- manifests ------------------------------------------------------------------------------------------------

    def manifest(self, repository: str, selector: str) -> Document:
        """The manifest or index that a tag or a digest means, verified. Raises NotFound, Corrupt, Invalid."""
        if ":" in selector:
            return self._document(Digest(selector))
        for entry in self._entries():
            if self._name(entry) == (_plain(repository), selector):
                return self._document(Digest(entry.get("digest") or ""), entry.get("mediaType"))
        raise NotFound(f"there is no {repository}:{selector}")

    def put_manifest(self, repository: str, selector: str, media_type: str, data: bytes) -> tuple[Digest, str]:
        """Stores a manifest or an index, and gives its digest and the subject's (empty without one).

        Raises Invalid for what is none, has another digest than ``selector`` or another media type than announced, and
        NotFound if something that it names is not there.
        """
        document = manifests.parse(data, media_type or None)
        if media_type and document.media_type != media_type:
            raise Invalid(f"the manifest is announced as {media_type}, and is {document.media_type}")
        digest = Digest(selector) if ":" in selector else digests.sha256(data)
        named = (document.config, *document.layers) if isinstance(document, Manifest) else document.manifests
        for each in named:
            if each.media_type != media.DOCKER_FOREIGN and not self.has(each.digest):
                raise NotFound(f"the manifest names {each.digest}, which is not here")
        with self.blobs.writer(digest, len(data)) as writer:
            writer.write(data)
            writer.commit()
        subject = self._about(digest)
        entry: dict[str, Any] = {"mediaType": document.media_type, "digest": digest, "size": len(data)}
        if ":" not in selector:
            self._name_entry(entry, repository, selector)
        elif subject:
            self._add(entry)
        return digest, str(subject["subject"]) if subject else ""

    def remove_manifest(self, repository: str, selector: str) -> None:
        """Removes a tag, or by its digest a manifest with all its tags. Raises NotFound."""
        with self._changing() as entries:
            if ":" in selector:
                digest = self._document(Digest(selector)).digest
                entries[:] = [entry for entry in entries if entry.get("digest") != digest]
            else:
                left = [entry for entry in entries if self._name(entry) != (_plain(repository), selector)]
                if len(left) == len(entries):
                    raise NotFound(f"there is no {repository}:{selector}")
                entries[:] = left
        if ":" in selector:
            self.blobs.remove(Digest(selector))

    def tags(self, repository: str) -> list[str]:
        """In the order of their bytes. Raises NotFound for a repository without any."""
        names = {self._name(entry) for entry in self._entries()}
        found = sorted(name[1] for name in names if name and name[0] == _plain(repository))
        if not found:
            raise NotFound(f"there is no repository {repository}")
        return found

    def repositories(self) -> list[str]:
        """Those that have a tag."""
        return sorted({name[0] for entry in self._entries() if (name := self._name(entry))})

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> list[dict[str, Any]]:
        """Descriptors of the manifests that are about ``subject``, as the distribution-spec has them."""
        found: dict[str, dict[str, Any]] = {}
        for entry in self._entries():
            with suppress(SampanError):  # an entry of others that leads nowhere is about nothing
                about = self._about(Digest(entry.get("digest") or ""))
                if about and about["subject"] == subject:
                    found[about["descriptor"]["digest"]] = about["descriptor"]
        return [each for each in found.values() if artifact_type in (None, each.get("artifactType"))]

    def _document(self, digest: Digest, media_type: str | None = None) -> Document:
        fd, size = self.open(digest)
        with open(fd, "rb", buffering=0) as file:
            if size > MAX_BYTES:
                raise NotFound(f"{digest} is no manifest")
            data = digests.verify(file.read(), digest, f"blob {digest}")
        return Document(manifests.parse(data, media_type).media_type, digest, data)

    def _about(self, digest: Digest) -> dict[str, Any] | None:
        """What a manifest is about, and the descriptor that says so; None for one that is about nothing."""
        if digest not in self._subjects:
            if len(self._subjects) >= _KNOWN:
                self._subjects.clear()
            self._subjects[digest] = self._read_about(digest)
        return self._subjects[digest]

    def _read_about(self, digest: Digest) -> dict[str, Any] | None:
        document = self._document(digest)
        value = json.loads(document.data)
        subject = value.get("subject")
        if not isinstance(subject, dict):
            return None
        kind = value.get("artifactType") or (value.get("config") or {}).get("mediaType")
        descriptor = {"mediaType": document.media_type, "digest": digest, "size": len(document.data)}
        if kind:
            descriptor["artifactType"] = kind
        if isinstance(value.get("annotations"), dict):
            descriptor["annotations"] = value["annotations"]
        return {"subject": Digest(subject.get("digest") or ""), "descriptor": descriptor}

    # -- index.json -----------------------------------------------------------------------------------------------

    def _entries(self) -> list[dict[str, Any]]:
        """What the layout lists, as it stands there."""
        entries = manifests.decode(layout.read_small(self._root, "index.json"), "index.json").get("manifests")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Invalid("index.json has no list of manifests")
        return entries

    @contextmanager
    def _changing(self) -> Iterator[list[dict[str, Any]]]:
        """The entries, to be changed in place; nobody else changes them meanwhile."""
        fd = beneath.reopen(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            entries = self._entries()
            yield entries
            value = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries}
            layout.write_small(self._root, "index.json", manifests.encode(value))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _name_entry(self, entry: dict[str, Any], repository: str, tag: str) -> None:
        with self._changing() as entries:
            name = f"{self._host}/{repository}:{tag}"
            entry["annotations"] = {layout.IMAGE_NAME: name, layout.REF_NAME: tag}
            entries[:] = [each for each in entries if self._name(each) != (_plain(repository), tag)]
            entries.append(entry)

    def _add(self, entry: dict[str, Any]) -> None:
        with self._changing() as entries:
            if all(each.get("digest") != entry["digest"] for each in entries):
                entries.append(entry)

    def _name(self, entry: dict[str, Any]) -> tuple[str, str] | None:
        """The repository and the tag of an entry; None if it has none."""
        annotations = entry.get("annotations")
        annotations = annotations if isinstance(annotations, dict) else {}
        text = annotations.get(layout.IMAGE_NAME) or annotations.get(layout.REF_NAME)
        if not isinstance(text, str) or not text:
            return None
        if ":" not in text and "/" not in text:
            return self._repository, text
        try:
            reference = references.parse(text).tagged()
        except Invalid:
            return None
        return (_plain(reference.repository), reference.tag) if reference.tag else None


def _plain(repository: str) -> str:
    """The familiar name of one of Docker Hub's official images, which clients ask for either way."""
    return repository.removeprefix("library/")


def _repository_of(directory: str) -> str:
    """The repository of what has a tag alone."""
    name = os.path.basename(os.path.abspath(directory)).lower()
    try:
        return references.parse(f"localhost/{name}").repository
    except Invalid:
        return "image"
