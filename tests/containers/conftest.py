from collections.abc import Iterator

import pytest

from commands import Sampan
from machines import Beside, Machine
from residents import anyone, await_, ordinary, root, template

__all__ = ["anyone", "ordinary", "root", "template"]


@pytest.fixture
def harbour(root: Sampan) -> Iterator[Beside]:
    """Root on a machine of the test's own without a way out, on which nothing of its networks stays."""
    beside = Beside(root.root)
    beside.machine = Machine("harbour")
    try:
        yield beside
        root.remove_containers()
        assert await_(lambda: beside.machine.run("ip -o link").count("veth") == 0), beside.machine.run("ip -o link")
    finally:
        root.remove_containers()
        beside("network", "prune", "-f")
        beside.machine.close()
