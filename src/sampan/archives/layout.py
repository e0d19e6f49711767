"""OCI image layouts (image-spec, image-layout.md): the files that say what is in one, and layouts in directories."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from sampan.archives.places import Offer, check, closure
from sampan.errors import Conflict, Invalid, NotFound
from sampan.linux import beneath
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.descriptor import Descriptor
from sampan.oci.manifest import MAX_BYTES, Index
from sampan.oci.reference import Reference
from sampan.store.blobs import Blobs

VERSION = b'{"imageLayoutVersion":"1.0.0"}'
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
"""What containerd, docker and buildx write beside REF_NAME, whose place would hold the tag alone."""
_CHUNK = 1 << 20


def path(blob: Descriptor) -> str:
    """Where in a layout a blob is."""
    return f"blobs/{blob.digest.algorithm}/{blob.digest.encoded}"


def offers(index: bytes) -> tuple[Offer, ...]:
    """What an ``index.json`` lists: each manifest or index once, with all its names. Raises Invalid, Unsupported."""
    document = manifests.parse(index, media.OCI_INDEX)
    if not isinstance(document, Index):
        raise Invalid("index.json is not an index")
    targets: dict[str, Descriptor] = {}
    labels: dict[str, list[str]] = {}
    for entry in document.manifests:
        if entry.media_type in media.MANIFESTS + media.INDEXES:
            targets.setdefault(entry.digest, entry._replace(annotations={}))
            labels.setdefault(entry.digest, []).extend(_labels(entry))
    return tuple(Offer(target, tuple(dict.fromkeys(labels[digest]))) for digest, target in targets.items())


def _labels(entry: Descriptor) -> Iterator[str]:
    text = entry.annotations.get(IMAGE_NAME) or entry.annotations.get(REF_NAME)
    if text:
        yield text


def find(offered: Sequence[Offer], wanted: str) -> Offer:
    """The one that is called ``wanted``, be it a tag or a whole name; without either the only one there is.

    Raises NotFound, and Conflict if there are several.
    """
    found = [offer for offer in offered if not wanted or any(_is_called(label, wanted) for label in offer.labels)]
    if len(found) == 1:
        return found[0]
    labels = ", ".join(label for offer in offered for label in offer.labels) or "none of them has a name"
    if not found:
        raise NotFound(f"there is no image {wanted!r} in it" if wanted else "there is no image in it", hint=labels)
    raise Conflict("there are several images in it", hint=f"name one of them: {labels}")


def _is_called(label: str, wanted: str) -> bool:
    if label == wanted:
        return True
    if not _is_name(label):
        return False
    reference = references.parse(label)
    return wanted in (reference.tag, reference.familiar(), reference.canonical())


def _is_name(label: str) -> bool:
    """Whether a label is the name of an image, and not a tag alone."""
    return ":" in label or "/" in label


def names(offer: Offer) -> tuple[Reference, ...]:
    """The names of images among an offer's labels: a tag alone is none. Raises Invalid for what is no name."""
    found = (references.parse(label).tagged() for label in offer.labels if _is_name(label))
    return tuple(dict.fromkeys(found))


def index(offered: Iterable[Offer]) -> bytes:
    """An ``index.json``: an entry for each name, and one for what has none."""
    entries = [entry for offer in offered for entry in _entries(offer)]
    return Index(media.OCI_INDEX, tuple(entries)).encode()


def _entries(offer: Offer) -> Iterator[Descriptor]:
    if not offer.labels:
        yield offer.target
    for label in offer.labels:
        if _is_name(label):
            reference = references.parse(label)
            annotations = {IMAGE_NAME: reference.canonical(), REF_NAME: reference.tag or reference.canonical()}
        else:
            annotations = {REF_NAME: label}
        yield offer.target._replace(annotations={**offer.target.annotations, **annotations})


class Directory:
    """An image layout in a directory, to read from. ``fetch`` puts blobs into ``blobs``.

    Nothing in it is followed out of it: a blob that is a link, or no file, is refused.
    """

    def __init__(self, directory: str, blobs: Blobs) -> None:
        self._blobs = blobs
        self._root = open_directory(directory)
        try:
            if b"imageLayoutVersion" not in read_small(self._root, "oci-layout"):
                raise Invalid("oci-layout does not tell the layout's version")
            self.offers: Sequence[Offer] = offers(read_small(self._root, "index.json"))
        except BaseException:
            os.close(self._root)
            raise

    def __enter__(self) -> "Directory":
        return self

    def __exit__(self, *rest: object) -> None:
        os.close(self._root)

    def fetch(self, wanted: Sequence[Descriptor]) -> None:
        """See ``places.Place``."""
        for blob in wanted:
            copy_in(blob, self._root, path(blob), self._blobs)


def open_directory(directory: str) -> int:
    """A descriptor of a directory that the user named. Raises NotFound, Invalid."""
    try:
        return beneath.open_root(directory)
    except FileNotFoundError:
        raise NotFound(f"there is no directory {directory}") from None
    except NotADirectoryError:
        raise Invalid(f"{directory} is not a directory") from None


def read_small(root: int, name: str) -> bytes:
    """The content of a file that says what else is there. Raises NotFound, Invalid."""
    with _open(root, name) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Invalid(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    return data


def copy_in(blob: Descriptor, root: int, name: str, blobs: Blobs) -> None:
    """Puts file ``name`` below ``root`` into the store as ``blob``, verified, unless that is there."""
    if blobs.has(blob.digest):
        check(blob, blobs)
        return
    with _open(root, name) as file, blobs.writer(blob.digest, blob.size) as writer:
        while data := file.read(_CHUNK):
            writer.write(data)
        writer.commit()


def _open(root: int, name: str) -> IO[bytes]:
    try:
        fd = beneath.open_in(root, os.fsencode(name), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, links=False)
    except FileNotFoundError:
        raise NotFound(f"there is no {name}") from None
    except OSError as error:
        raise Invalid(f"{name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Invalid(f"{name} is not a regular file")
    return os.fdopen(fd, "rb", buffering=0)


def write_directory(root: int, offered: Sequence[Offer], blobs: Blobs) -> None:
    """Adds images to the image layout in the directory behind ``root``, which may be empty yet.

    A name that it had moves to the new image. ``index.json`` is replaced last, in one rename: whoever reads meanwhile
    sees the old layout or the new one. Raises Invalid if it is another kind of directory, NotFound, OSError.
    """
    kept = _kept(root, offered)
    for offer in offered:
        for blob in closure(offer.target, blobs):
            copy_out(blob, root, path(blob), blobs)
    write_small(root, "oci-layout", VERSION)
    write_small(root, "index.json", index([*kept, *offered]))


def _kept(root: int, offered: Sequence[Offer]) -> list[Offer]:
    """What the layout has already and keeps beside what is ``offered``."""
    fd = beneath.reopen(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not os.listdir(fd):
            return []
        existing = offers(read_small(root, "index.json"))
    except NotFound:
        raise Invalid("the directory is neither empty nor an image layout", hint="name a new one") from None
    finally:
        os.close(fd)
    new = {offer.target.digest for offer in offered}
    taken = {label for offer in offered for label in _spellings(offer)}
    kept = []
    for offer in existing:
        labels = tuple(label for label in offer.labels if label not in taken)
        if labels or not (offer.labels or offer.target.digest in new):
            kept.append(offer._replace(labels=labels))
    return kept


def check_empty(root: int) -> None:
    """Raises Invalid if there is anything in the directory behind ``root``."""
    fd = beneath.reopen(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.listdir(fd):
            raise Invalid("the directory is not empty", hint="name a new one")
    finally:
        os.close(fd)


def _spellings(offer: Offer) -> Iterator[str]:
    for entry in _entries(offer):
        yield from _labels(entry)


def copy_out(blob: Descriptor, root: int, name: str, blobs: Blobs) -> None:
    """Writes a blob of the store to file ``name`` below ``root``, unless it is there in that size."""
    parent, _, base = name.rpartition("/")
    above = beneath.make_directories(root, os.fsencode(parent))
    try:
        try:
            found = os.stat(base, dir_fd=above, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_size == blob.size:
                return
        except FileNotFoundError:
            pass
        with blobs.open(blob.digest) as source, _Aside(above, base) as file:
            while os.sendfile(file.fileno(), source.fileno(), None, 1 << 30):
                continue
    finally:
        os.close(above)


def write_small(root: int, name: str, data: bytes) -> None:
    """Writes file ``name`` directly in ``root``, in place of what is there; a crash leaves the one or the other."""
    with _Aside(root, name) as file:
        file.write(data)
        os.fsync(file.fileno())


class _Aside:
    """A file written under another name and renamed at the end of a ``with`` block that ends well."""

    def __init__(self, directory: int, name: str) -> None:
        self._directory, self._name = directory, name
        self._aside = f".{name}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._aside, flags, 0o644, dir_fd=directory), "wb", buffering=0)

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, kind: object, *rest: object) -> None:
        self._file.close()
        if kind:
            os.unlink(self._aside, dir_fd=self._directory)
        else:
            os.rename(self._aside, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
