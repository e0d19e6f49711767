"""Which images a ``--filter`` leaves, and which of their names (Engine API, ImageList)."""

from sampan.oci import reference as references
from sampan.store import filters, moments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.oci.digest import Digest
    from sampan.store.blobs import Blobs
    from sampan.store.filters import Filters
    from sampan.store.images import Image, Images, Name

KNOWN = ("before", "dangling", "label", "reference", "since", "until")
_GLOB = frozenset("*?[")


def parse(texts: "Sequence[str]", patterns: "Sequence[str]" = ()) -> "Filters":
    """The filters in ``texts``; ``patterns`` are of names, as an argument of ``images``. Raises Invalid."""
    chosen = filters.parse(texts, KNOWN)
    filters.boolean(chosen, "dangling")
    if patterns:
        chosen["argument"] = list(patterns)
    for key in ("argument", "reference"):
        if key in chosen:
            chosen[key] = [_pattern(text) for text in chosen[key]]
    return chosen


def select(
    images: "Images", blobs: "Blobs", chosen: "Filters", now: float | None = None
) -> "list[tuple[Image, list[Name]]]":
    """The images that the filters leave, the newest first, each with those of its names that they leave.

    An image for another platform in the index that a name means is part of what has that name, and not told apart.
    Raises NotFound when ``before`` or ``since`` name an image that there is not.
    """
    named: dict[str, list[Name]] = {}
    for name in images.names():
        named.setdefault(name.image_id, []).append(name)
    found = [(image, named.get(image.id, [])) for image in images.all()]
    if any(not names for _, names in found):
        parts = _parts(named, blobs)
        found = [(image, names) for image, names in found if names or image.manifest.digest not in parts]
    if not chosen:
        return found
    dangling = filters.boolean(chosen, "dangling")
    if dangling is not None:
        found = [(image, names) for image, names in found if dangling != bool(names)]
    for key in ("argument", "reference"):
        if key in chosen:
            found = [(image, _matching(names, chosen[key])) for image, names in found]
            found = [(image, names) for image, names in found if names]
    found = _within(found, images, chosen, now)
    if "label" in chosen or "label!" in chosen:
        found = [(image, names) for image, names in found if filters.labels_match(chosen, labels(image, blobs))]
    return found


def _parts(named: "dict[str, list[Name]]", blobs: "Blobs") -> "set[Digest]":
    """The manifests that the indexes list which names point at."""
    from sampan.errors import NotFound
    from sampan.oci import manifest as manifests
    from sampan.oci import media

    targets = {name.target.digest: name.target for names in named.values() for name in names}
    found: set[Digest] = set()
    for target in targets.values():
        if target.media_type in media.INDEXES:
            try:
                document = manifests.parse(blobs.read(target.digest), target.media_type)
            except NotFound:
                continue
            if isinstance(document, manifests.Index):
                found.update(entry.digest for entry in document.manifests)
    return found


def labels(image: "Image", blobs: "Blobs") -> dict[str, str]:
    """The labels of an image. Raises NotFound and Corrupt."""
    from sampan.oci import config

    return dict(config.parse(blobs.read(image.id)).config.labels)


def _within(
    found: "list[tuple[Image, list[Name]]]", images: "Images", chosen: "Filters", now: float | None
) -> "list[tuple[Image, list[Name]]]":
    """Those made in the time that ``before``, ``since`` and ``until`` leave."""
    upper = [moments.of_record(images.find(text).created) for text in chosen.get("before", ())]
    upper += [moments.parse(text, now) for text in chosen.get("until", ())]
    lower = [moments.of_record(images.find(text).created) for text in chosen.get("since", ())]
    if not (upper or lower):
        return found
    times = {image.id: moments.of_record(image.created) for image, _ in found}
    return [
        each
        for each in found
        if all(times[each[0].id] < limit for limit in upper) and all(times[each[0].id] > limit for limit in lower)
    ]


def _pattern(text: str) -> str:
    """``text`` in its familiar form, unless it is a pattern as for file names. Raises Invalid."""
    return text if _GLOB.intersection(text) else references.parse(text).familiar()


def _matching(names: "list[Name]", patterns: "list[str]") -> "list[Name]":
    return [name for name in names if any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: "Name", pattern: str) -> bool:
    """Whether ``pattern`` is or matches the whole name or its repository; ``*`` does not reach across ``/``."""
    familiar = (name.reference.familiar(), name.reference.familiar_name)
    if not _GLOB.intersection(pattern):
        return pattern in familiar
    from fnmatch import fnmatchcase

    return any(text.count("/") == pattern.count("/") and fnmatchcase(text, pattern) for text in familiar)
