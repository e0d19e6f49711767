"""The store's own images, to be given away: by name or id, whole or for one platform."""

from collections.abc import Iterable, Sequence

from sampan.archives import places
from sampan.archives.places import Offer
from sampan.errors import Invalid, NotFound
from sampan.oci import manifest as manifests
from sampan.oci import reference as references
from sampan.oci.descriptor import Descriptor
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.store.blobs import Blobs
from sampan.store.images import Image, Images, Name


def offers(texts: Iterable[str], images: Images, blobs: Blobs, platform: Platform | None = None) -> tuple[Offer, ...]:
    """What ``texts`` mean: names, repositories (all that they have), ids. Each image once, with the names asked for.

    A name of an index means all of it, if all is here, else the image that is. Raises NotFound, Invalid, Conflict.
    """
    found: dict[str, Offer] = {}
    for text in texts:
        for target, labels in _meant(text, images, blobs, platform):
            known = found.get(target.digest, Offer(target))
            found[target.digest] = Offer(target, tuple(dict.fromkeys((*known.labels, *labels))))
    return tuple(found.values())


def offer(text: str, images: Images, blobs: Blobs, platform: Platform | None = None) -> Offer:
    """What ``text`` means as one image: a name, ``latest`` where it has no tag, or an id. Raises as ``offers``."""
    image = images.find(text)
    try:
        exact = images.lookup(references.parse(text).tagged())
    except Invalid:
        exact = None
    if exact is None or exact.image_id != image.id:
        return Offer(target(image, image.manifest, blobs, platform))
    return Offer(target(image, exact.target, blobs, platform), (exact.reference.canonical(),))


def _meant(
    text: str, images: Images, blobs: Blobs, platform: Platform | None
) -> list[tuple[Descriptor, tuple[str, ...]]]:
    names = _names(text, images)
    if not names:
        image = images.find(text)
        return [(target(image, image.manifest, blobs, platform), ())]
    return [
        (target(images.get(name.image_id), name.target, blobs, platform), (name.reference.canonical(),))
        for name in names
    ]


def _names(text: str, images: Images) -> Sequence[Name]:
    """The names that ``text`` stands for; none if it is an id."""
    try:
        reference = references.parse(text)
    except Invalid:
        return ()  # find() tells ids from nonsense
    exact = images.lookup(reference.tagged())
    if reference.tag or reference.digest:
        return (exact,) if exact else ()
    return [name for name in images.names() if name.reference.name == reference.name and name.reference.tag]


def target(image: Image, named: Descriptor, blobs: Blobs, platform: Platform | None = None) -> Descriptor:
    """What to give away of an image whose name points at ``named``. Raises NotFound if it is not for ``platform``."""
    own = image.manifest._replace(platform=image.platform)
    if platform is None:
        whole = named.digest != image.manifest.digest and places.is_complete(named, blobs)
        return named if whole else own
    if blobs.has(named.digest) and named.digest != image.manifest.digest:
        entries = [entry for entry in places.images(named, blobs) if _is_whole(entry, blobs)]
        return manifests.choose(entries, platform)
    if not image.platform.satisfies(platform):
        raise NotFound(f"the image is for {image.platform}, not for {platform}")
    return own


def _is_whole(entry: Descriptor, blobs: Blobs) -> bool:
    try:
        places.closure(entry, blobs)
    except NotFound:
        return False
    return True


def parse_tagged(text: str) -> Reference:
    """A name for something that is about to be stored. Raises Invalid if it has a digest, which nobody chooses."""
    reference = references.parse(text)
    if reference.digest:
        raise Invalid(f"{text} has a digest, and an image cannot be given one", hint="leave out @ and what follows")
    return reference.tagged()
