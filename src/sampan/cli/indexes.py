"""What the verbs that put indexes together share: registries to talk to, and images looked up in them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sampan.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.registry.assemble import Connect
    from sampan.registry.client import Client


@contextmanager
def clients(*, push: bool = False, insecure: bool = False) -> "Iterator[Connect]":
    """Gives what connects to a registry, once to each; all are left when the block ends."""
    from sampan import settings as settled
    from sampan.cli import registries

    settings = settled.read()
    with ExitStack() as opened:
        known: dict[str, Client] = {}

        def connect(registry: str) -> "Client":
            if registry not in known:
                client = registries.connect(registry, settings, push=push, insecure=insecure)
                known[registry] = opened.enter_context(client)
            return known[registry]

        yield connect


def parse_target(text: str) -> Reference:
    """A name for an index; ":latest" is implied. Raises Invalid if it has a digest."""
    from sampan.archives.stored import parse_tagged

    return parse_tagged(text)
