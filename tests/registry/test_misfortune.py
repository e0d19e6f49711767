"""Docker's registry behind a proxy that does everything wrong, in many orders.

Whatever happens, a pull or a push ends in success or in one clear sentence, no wrong byte is in the store or the
registry, and nobody but the registry has seen a credential.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import crafted
import faulty
import servers
from crafted import Recorder, Store, layer_tar, make_image
from faulty import Answer, Fault, FaultyRegistry, cut, instead
from sampan.errors import SampanError
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.registry.client import connect
from sampan.registry.credentials import Credentials
from sampan.registry.outages import Patience
from sampan.registry.pull import pull
from sampan.registry.push import push
from sampan.store.images import Image

pytestmark = pytest.mark.registry
HASTY = Patience(connect=2, silence=0.5, attempts=3, first_pause=0.01, longest_pause=1)
CALM = Patience()
RIGHT = Credentials(servers.USERNAME, servers.PASSWORD)
SEEDS = range(40)


class Scene(NamedTuple):
    """A registry that wants a password and holds an image; the proxy before it, and a host that is somebody else's."""

    source: Store
    image: Image
    registry: servers.Registry
    proxy: FaultyRegistry
    elsewhere: FaultyRegistry

    def reference(self, tag: str = "1") -> Reference:
        return Reference(self.proxy.address, "thing", tag)

    def push(self, address: str, image: Image, patience: Patience = CALM) -> None:
        with connect(address, lambda: RIGHT, push=True, patience=patience) as client:
            reference = Reference(address, "thing", "1")
            push(image.manifest, reference, client=client, blobs=self.source.blobs, report=self.source.events.append)

    def pull(self, target: Store, address: str, patience: Patience = CALM) -> Image:
        reference = Reference(address, "thing", "1")
        with connect(address, lambda: RIGHT, patience=patience) as client:
            return pull(
                reference,
                client=client,
                blobs=target.blobs,
                images=target.images,
                unpack=lambda manifest, config: Recorder(target, manifest, config),
                measure=lambda chain: 0,
                platform=self.image.platform,
                report=target.events.append,
            )

    def faults(self, randomly: random.Random) -> list[Fault]:
        """Some of everything that can go wrong, with a few successes in between."""
        there = f"http://{self.elsewhere.address}"
        every: list[Callable[[], Fault]] = [
            lambda: cut(after=randomly.randrange(2 << 20)),
            lambda: instead(randomly.choice([429, 500, 502, 503]), Retry_After="0"),
            lambda: instead(randomly.choice([301, 302, 307]), Location=f"{there}/v2/thing/{randomly.random()}"),
            lambda: instead(401, WWW_Authenticate='Basic realm="again"'),
            lambda: instead(206, b"x", Content_Range="bytes 7-7/8"),
            lambda: instead(200, b"", Content_Length="0"),
            lambda: instead(200, b"{}", Content_Type="application/json"),
            *(
                (lambda fault=fault: fault)
                for fault in (
                    *(faulty.hang_up, faulty.flip, faulty.longer, faulty.twice, faulty.truncated, faulty.mislabelled),
                    *(faulty.huge_header, faulty.many_headers, faulty.nonsense, faulty.stall, faulty.endless),
                    *(faulty.lost, faulty.send, faulty.send),
                )
            ),
        ]
        return [randomly.choice(every)() for _ in range(randomly.randrange(1, 6))]

    def assert_no_credential_went_astray(self) -> None:
        for seen in self.elsewhere.seen:
            assert "authorization" not in seen.headers
            assert servers.PASSWORD.encode() not in seen.body
            assert "sampan" not in seen.path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Registry]:
    with servers.registry(tmp_path_factory.mktemp("registry"), auth="basic") as running:
        yield running


@pytest.fixture
def scene(new_store: Callable[[str], Store], registry: servers.Registry) -> Iterator[Scene]:
    source = new_store("source")
    tars = [layer_tar(f"f{number}", random.Random(number).randbytes(1 << 20)) for number in range(3)]
    image = make_image(source, *tars)
    with faulty.registry(upstream=registry.address) as proxy, faulty.registry() as elsewhere:
        for challenge in ('Basic realm="x"', f'Bearer realm="http://{elsewhere.address}/token",scope="x:y:z"'):
            elsewhere.does(".", instead(401, WWW_Authenticate=challenge))
        yield Scene(source, image, registry, proxy, elsewhere)


def assert_told(error: SampanError) -> None:
    """One sentence, and nothing in it that only its writer understands."""
    assert error.message.isprintable()
    assert error.message[0].islower() or error.message.split()[0].isalnum()
    assert "Traceback" not in error.message
    assert "object at 0x" not in error.message
    assert servers.PASSWORD not in f"{error.message} {error.hint}"


@pytest.mark.parametrize("seed", SEEDS)
def test_pull(scene: Scene, new_store: Callable[[str], Store], seed: int) -> None:
    scene.push(scene.registry.address, scene.image)
    randomly = random.Random(seed)
    target = new_store("target")
    for pattern in randomly.sample(["manifests/", "blobs/", "/v2/$", "."], 2):
        scene.proxy.does(f"^(GET|HEAD) .*{pattern}", *scene.faults(randomly))
    try:
        assert scene.pull(target, scene.proxy.address, HASTY).id == scene.image.id
    except SampanError as error:
        assert_told(error)
        assert target.images.all() == []
    # Nothing wrong is there; and what was kept of it does not spoil the next attempt.
    assert target.all <= scene.source.all
    assert target.leftovers == []
    assert scene.pull(target, scene.registry.address).id == scene.image.id
    assert target.all == scene.source.all
    scene.assert_no_credential_went_astray()


@pytest.mark.parametrize("seed", SEEDS)
def test_push(scene: Scene, new_store: Callable[[str], Store], seed: int) -> None:
    randomly = random.Random(seed)
    new = make_image(scene.source, layer_tar(f"new{seed}", randomly.randbytes(1 << 20)), layer_tar("x", b"x"))
    for pattern in randomly.sample(["POST .*", "PUT .*blobs", "PUT .*manifests", "HEAD .*", "(PUT|POST) .*"], 2):
        scene.proxy.does(f"^{pattern}", *scene.faults(randomly))
    try:
        scene.push(scene.proxy.address, new, HASTY)
        pushed = True
    except SampanError as error:
        assert_told(error)
        pushed = False
    scene.assert_no_credential_went_astray()
    if pushed:
        target = new_store("target")
        assert scene.pull(target, scene.registry.address).id == new.id


def test_compressed_in_transit(scene: Scene, new_store: Callable[[str], Store]) -> None:
    """JSON that would inflate to a gigabyte is not inflated."""
    scene.push(scene.registry.address, scene.image)
    target = new_store("target")
    for pattern in (f"blobs/{scene.image.id}", "manifests/"):
        scene.proxy.does(pattern, faulty.bomb, always=True)
        with pytest.raises(SampanError) as caught:
            scene.pull(target, scene.proxy.address)
        assert_told(caught.value)
    assert target.images.all() == []


def test_a_token_that_ends_in_the_middle(new_store: Callable[[str], Store], tmp_path: Path) -> None:
    """Tokens are refused now and then: a new one is fetched, and the pull goes on."""
    with (
        servers.registry(tmp_path / "tokens", auth="token") as running,
        faulty.registry(upstream=running.address) as proxy,
    ):
        server = running.token_server
        assert server
        server.allowed["thing"] = {"pull", "push"}
        source, target = new_store("source"), new_store("target")
        image = make_image(source, layer_tar("a", b"a"), layer_tar("b", b"b"))
        scene = Scene(source, image, running, proxy, proxy)
        scene.push(running.address, image)
        before = len(server.requests)
        challenge = f'Bearer realm="{server.realm}",service="test registry",scope="repository:thing:pull"'
        proxy.does("GET .*/blobs/", *[instead(401, WWW_Authenticate=challenge), faulty.send] * 2)
        assert scene.pull(target, proxy.address).id == image.id
        assert len(server.requests) - before == 3


def test_what_comes_of_answers_without_faults(scene: Scene, new_store: Callable[[str], Store]) -> None:
    """The proxy itself does nothing wrong: without this the other tests would prove nothing."""
    scene.push(scene.proxy.address, scene.image)
    target = new_store("target")
    assert scene.pull(target, scene.proxy.address).id == scene.image.id
    assert {Digest(str(digest)) for digest in target.all} == crafted_all(scene)
    assert isinstance(scene.proxy.answer(scene.proxy.seen[0]), Answer)


def crafted_all(scene: Scene) -> set[Digest]:
    document = crafted.manifest_of(scene.source, scene.image)
    parts = [document["config"], *document["layers"]]
    return {scene.image.manifest.digest, *(Digest(part["digest"]) for part in parts)}
