"""Registries as the settings and the user's credentials have them, for the verbs that talk to one."""

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.cli.flags import Parsed
    from sampan.registry.client import Client
    from sampan.registry.credentials import Credentials
    from sampan.settings import Settings


def connect(
    registry: str,
    settings: "Settings",
    given: "Credentials | None" = None,
    *,
    push: bool = False,
    offline: bool = False,
    insecure: bool = False,
) -> "Client":
    """A client for ``registry`` with the credentials ``given``, else those that the user has for it."""
    from sampan.registry import client, credentials

    return client.connect(
        registry,
        lambda: given or credentials.lookup(registry),
        push=push,
        offline=offline,
        insecure=insecure or settings.registry(registry).insecure,
        connections=settings.jobs + 1,
    )


def sources(registry: str, settings: "Settings") -> "Iterator[Client]":
    """Clients for all that images of ``registry`` are to be had from: its mirrors, in their order, and itself.

    Each is connected to when it is asked for. Credentials are those for the mirror's own host.
    """
    for mirror in settings.registry(registry).mirrors:
        host, insecure = endpoint(mirror)
        yield connect(host, settings, insecure=insecure)
    yield connect(registry, settings)


def endpoint(mirror: str) -> tuple[str, bool]:
    """Host and port of a mirror, and whether it may do without encryption. Raises Invalid."""
    from sampan.oci import reference

    scheme, separator, rest = mirror.partition("://")
    host = (rest if separator else mirror).rstrip("/")
    try:
        known = reference.parse(f"{host}/name")
    except Invalid:
        known = None
    bare = known is not None and known.repository == "name" and known.registry == host
    if not bare or (separator and scheme not in ("http", "https")):
        hint = "write it as host:port, or http://host:port; a host name without dots needs its port"
        raise Invalid(f"{mirror!r} is not a mirror's address", hint=hint)
    return host, scheme == "http"


def jobs(arguments: "Parsed", settings: "Settings") -> int:
    """How many layers are moved at the same time. Raises Invalid."""
    from sampan.settings import MAX_JOBS

    wanted = arguments.number("jobs")
    if wanted is None:
        return settings.jobs
    if not 1 <= wanted <= MAX_JOBS:
        raise Invalid(f"--jobs takes a number from 1 to {MAX_JOBS}, not {wanted}")
    return wanted
