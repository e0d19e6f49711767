"""Images that the store holds, and their names."""

from __future__ import annotations

from sampan.errors import Conflict, Invalid, NotFound
from sampan.oci import reference as references
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.store import sqlite as sqlite3
from sampan.store.database import transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_COLUMNS = (
    "image.id, image.manifest_type, image.manifest, image.manifest_size, image.chain, image.os, image.architecture, "
    "image.variant, image.created, image.size"
)
_HEX = frozenset("0123456789abcdef")


class Image(NamedTuple):
    """One image for one platform.

    ``id`` is the digest of its config, ``chain`` the chain id of its top layer (the name of its snapshot; None without
    layers), ``created`` RFC 3339 or empty, ``size`` bytes uncompressed.
    """

    id: Digest
    manifest: Descriptor
    chain: Digest | None
    platform: Platform
    created: str
    size: int


class Name(NamedTuple):
    """A name and what it points at in a registry: a manifest, or an index of which the store holds one image."""

    reference: Reference
    image_id: Digest
    target: Descriptor


class Images:
    """The tables of images and names."""

    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, image: Image) -> None:
        """Adds an image; if its id is there already, it is left as it is but for the manifest."""
        manifest, platform = image.manifest, image.platform
        self._db.execute(
            "INSERT INTO image VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET manifest=excluded.manifest, "
            "manifest_type=excluded.manifest_type, manifest_size=excluded.manifest_size",
            (
                image.id,
                manifest.digest,
                manifest.media_type,
                manifest.size,
                image.chain,
                *platform,
                image.created,
                image.size,
            ),
        )

    def put(self, image: Image, references: Iterable[Reference], target: Descriptor | None = None) -> None:
        """Adds an image with these names, all at once. Not to be called within a transaction."""
        with transaction(self._db):
            self.add(image)
            for reference in references:
                self.name(reference, image, target)

    def put_aside(self, image_id: Digest) -> None:
        """Lets lists leave the image out as long as it has no name: a build made it, and nobody asked for it."""
        self._db.execute("INSERT OR IGNORE INTO aside VALUES (?)", (image_id,))

    def aside(self) -> set[str]:
        """The ids of the images that were put aside and have no name."""
        return {row[0] for row in self._db.execute("SELECT image_id FROM aside EXCEPT SELECT image_id FROM name")}

    def name(self, reference: Reference, image: Image, target: Descriptor | None = None) -> None:
        """Makes ``reference`` name ``image``, whatever it named before. Raises Invalid without tag and digest, NotFound
        if the image was removed meanwhile."""
        if not (reference.tag or reference.digest):
            raise Invalid(f"{reference} has neither tag nor digest")
        target = target or image.manifest
        try:
            self._db.execute(
                "INSERT OR REPLACE INTO name VALUES (?,?,?,?,?)",
                (reference.canonical(), image.id, target.media_type, target.digest, target.size),
            )
        except sqlite3.IntegrityError:
            raise NotFound(f"no such image: {image.id}", hint="it was removed just now") from None

    def unname(self, reference: Reference) -> None:
        """Removes a name; the image stays. Raises NotFound."""
        if not self._db.execute("DELETE FROM name WHERE reference=?", (reference.canonical(),)).rowcount:
            raise NotFound(f"no such image: {reference}")

    def lookup(self, reference: Reference) -> Name | None:
        """The name, if it is there exactly as given (a tag or digest is not implied)."""
        row = self._db.execute("SELECT * FROM name WHERE reference=?", (reference.canonical(),)).fetchone()
        return _name(row) if row else None

    def find(self, text: str) -> Image:
        """The image that ``text`` means: a name (":latest" implied), a digest of a name, an id or the beginning of one.

        Raises NotFound, Invalid for what is neither name nor id, and Conflict if several images' ids begin so.
        """
        bare = text.removeprefix("sha256:")
        found: Image | None = None
        if 1 <= len(bare) <= 64 and _HEX.issuperset(bare) and (len(bare) == 64 or bare is not text):
            found = self._by_prefix(bare)
            if not found:
                raise NotFound(f"no such image: {text}")
            return found
        reference = references.parse(text)
        found = self._by_name(reference.tagged())
        if not found and _HEX.issuperset(text):
            found = self._by_prefix(text)
        if not found:
            raise NotFound(
                f"no such image: {reference.tagged()}",
                hint=f"sampan pull {reference}, or sampan images to see what is here",
            )
        return found

    def get(self, image_id: Digest) -> Image:
        """The image with exactly this id. Raises NotFound."""
        row = self._db.execute(f"SELECT {_COLUMNS} FROM image WHERE id=?", (image_id,)).fetchone()
        if not row:
            raise NotFound(f"no such image: {image_id}")
        return _image(row)

    def names(self, image_id: Digest | None = None) -> list[Name]:
        """All names, or those of one image, in the order of their canonical forms."""
        where, values = ("WHERE image_id=?", (image_id,)) if image_id else ("", ())
        return [_name(row) for row in self._db.execute(f"SELECT * FROM name {where} ORDER BY reference", values)]

    def all(self) -> list[Image]:
        """All images, the newest first."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM image ORDER BY created DESC, id")
        return [_image(row) for row in rows]

    def remove(self, image_id: Digest) -> None:
        """Removes an image and its names. Its content goes when it is next collected. Raises NotFound."""
        with transaction(self._db):
            if not self._db.execute("DELETE FROM image WHERE id=?", (image_id,)).rowcount:
                raise NotFound(f"no such image: {image_id}")

    def _by_name(self, reference: Reference) -> Image | None:
        query = f"SELECT {_COLUMNS} FROM name JOIN image ON image.id=image_id WHERE "
        row = self._db.execute(query + "reference=?", (reference.canonical(),)).fetchone()
        if not row and reference.digest:
            pattern = reference.name.replace("[", "[[]") + ":*"
            row = self._db.execute(
                query + "(reference GLOB ? OR reference=?) AND (name.digest=? OR image.manifest=?)",
                (pattern, reference.name, reference.digest, reference.digest),
            ).fetchone()
        return _image(row) if row else None

    def _by_prefix(self, prefix: str) -> Image | None:
        low = f"sha256:{prefix}"
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM image WHERE id>=? AND id<? LIMIT 2", (low, low + "g")
        ).fetchall()
        if len(rows) > 1:
            raise Conflict(f"several images' ids begin with {prefix}", hint="give more digits")
        return _image(rows[0]) if rows else None


def _image(row: tuple[str, str, str, int, str | None, str, str, str, str, int]) -> Image:
    image_id, media_type, digest, manifest_size, chain, *platform, created, size = row
    return Image(
        Digest(image_id),
        Descriptor(media_type, Digest(digest), manifest_size),
        Digest(chain) if chain else None,
        Platform(*platform),
        created,
        size,
    )


def _name(row: tuple[str, str, str, str, int]) -> Name:
    reference, image_id, media_type, digest, size = row
    return Name(references.read_canonical(reference), Digest(image_id), Descriptor(media_type, Digest(digest), size))
