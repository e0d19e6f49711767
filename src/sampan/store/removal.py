"""What ``rmi`` may take away: names, and an image when its last name goes (Docker's rules, moby daemon/images)."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.errors import Conflict, Invalid
from sampan.oci import reference as references
from sampan.oci.digest import Digest
from sampan.store.images import Image, Images, Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


class User(NamedTuple):
    """A container that was made from an image: its name, and whether it runs."""

    name: str
    running: bool


class Removal(NamedTuple):
    """Names to take away, and the image to remove with them (None: it stays)."""

    names: tuple[Name, ...]
    image: Image | None


def plan(images: Images, text: str, image: Image, users: Sequence[User], *, force: bool) -> Removal:
    """What removing ``text``, which means ``image``, comes to.

    A name alone is taken away; with its last name goes the image. Raises Conflict when containers use it, or when it is
    meant by its id and has several names; ``force`` overrides all but a running container.
    """
    names = images.names(image.id)
    meant = _meant(text, names)
    if not meant:
        _check_id(image, names, users, force=force)
        return Removal(tuple(names), image)
    if len(meant) < len(names):
        return Removal(meant, None)
    if users and not force:
        raise Conflict(
            f'conflict: unable to remove repository reference "{text}" (must force) - '
            f"container {users[0].name} is using its referenced image {image.id.short}",
            hint=_way_out(users[0]),
        )
    in_use = any(user.running for user in users)
    return Removal(meant, None if in_use else image)


def perform(removal: Removal, images: Images) -> None:
    """Takes away the names and the image. Its content goes with the next collection."""
    if removal.image:
        images.remove(removal.image.id)
    else:
        for name in removal.names:
            images.unname(name.reference)


def _check_id(image: Image, names: list[Name], users: Sequence[User], *, force: bool) -> None:
    for user in users:
        if user.running:
            reason = f"image is being used by running container {user.name}"
            raise Conflict(
                f"conflict: unable to delete {image.id.short} (cannot be forced) - {reason}", hint=_way_out(user)
            )
    refusal = f"conflict: unable to delete {image.id.short} (must be forced)"
    if users and not force:
        raise Conflict(f"{refusal} - image is being used by stopped container {users[0].name}", hint=_way_out(users[0]))
    if len(names) > 1 and not force:
        listed = ", ".join(name.reference.familiar() for name in names)
        raise Conflict(f"{refusal} - image is referenced in multiple repositories", hint=f"its names are {listed}")


def _way_out(user: User) -> str:
    option = "-f " if user.running else ""
    return f"sampan rm {option}{user.name} removes that container"


def _meant(text: str, names: list[Name]) -> tuple[Name, ...]:
    """The names that ``text`` is one of; none if it is an id."""
    try:
        reference = references.parse(text).tagged()
    except Invalid:
        return ()
    exact = tuple(name for name in names if name.reference == reference)
    if exact or not reference.digest:
        return exact
    return tuple(name for name in names if name.reference.name == reference.name and reference.digest in _digests(name))


def _digests(name: Name) -> tuple[Digest | None, ...]:
    return name.target.digest, name.reference.digest
