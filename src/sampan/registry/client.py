"""One registry: the calls of the OCI distribution-spec 1.1, each a method.

A client belongs to one operation (a pull, a push, a login) and may be used from several threads.
"""

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin

from sampan.errors import Corrupt, Denied, Invalid, NotFound, Unavailable, Unsupported
from sampan.oci import descriptor as descriptors
from sampan.oci import digest as digests
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.manifest import MAX_BYTES
from sampan.oci.reference import DEFAULT_REGISTRY
from sampan.registry.auth import Authenticator
from sampan.registry.credentials import Credentials
from sampan.registry.http import CHUNK, Busy, Origin, Request, Response, Transport, is_loopback, origin
from sampan.registry.outages import Cut, Patience
from sampan.registry.refusals import refusal
from sampan.registry.upload import Body, Upload

HUB_HOST = "registry-1.docker.io"
MAX_REDIRECTS = 5

_ACCEPT = ", ".join((media.OCI_INDEX, media.DOCKER_LIST, media.OCI_MANIFEST, media.DOCKER_MANIFEST))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))

_MAX_PAGES = 1000


class Referrer(NamedTuple):
    """A manifest that is about another one, and of what kind it is."""

    descriptor: Descriptor
    artifact_type: str


class Received(NamedTuple):
    """A manifest or index as it came: keep ``data``, which is what ``digest`` is of."""

    media_type: str
    digest: Digest
    data: bytes


def connect(
    registry: str,
    find: Callable[[], Credentials | None] = lambda: None,
    *,
    push: bool = False,
    offline: bool = False,
    insecure: bool = False,
    connections: int = 8,
    patience: Patience = Patience(),  # noqa: B008
) -> "Client":
    """A client for ``registry`` (``host[:port]``, as in a reference), which asks ``find`` for credentials if need be.

    HTTPS, always, but for registries on this machine, which may do without: what they speak is found out by asking. So
    may ``insecure`` ones, and those may show any certificate; as Docker does, they are asked for TLS first.
    ``push``: for writing too. ``offline``: ask for an identity token (login). Raises Invalid.
    """
    host = HUB_HOST if registry == DEFAULT_REGISTRY else registry
    transport = Transport(str(origin(f"https://{host}")), connections=connections, patience=patience, insecure=insecure)
    base = f"{_scheme(transport, host, insecure)}://{host}"
    authenticator = Authenticator(registry, origin(base), find, offline=offline)
    return Client(registry, base, transport, authenticator, "pull,push" if push else "pull")


def _scheme(transport: Transport, host: str, insecure: bool) -> str:
    if is_loopback(origin(f"https://{host}").host):
        # Docker tries TLS first here too. This way round costs no certificate store to be loaded, and gives away no
        # more: the question is anonymous, and a server that speaks TLS answers it with status 400, or not at all.
        return "http" if _answer(transport, f"http://{host}/v2/") not in (None, 400) else "https"
    if insecure:
        return "https" if _answer(transport, f"https://{host}/v2/") is not None else "http"
    return "https"


def _answer(transport: Transport, url: str) -> int | None:
    """The status that an anonymous question gets; None if there is no answer."""
    try:
        with transport.send(Request("GET", url, repeatable=False)) as response:
            return response.status
    except Busy:
        return 503
    except Unavailable:
        return None


class Client:
    """See ``connect``. ``registry`` is its name in references, ``identity`` the identity token that a login got."""

    def __init__(
        self, registry: str, base: str, transport: Transport, authenticator: Authenticator, actions: str
    ) -> None:
        self.registry = registry
        self._base = base
        self._home: Origin = origin(base)
        self._transport = transport
        self._authenticator = authenticator
        self._actions = actions
        self._first = threading.Lock()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *rest: object) -> None:
        self._transport.close()

    @property
    def identity(self) -> str:
        return self._authenticator.identity

    def stop(self) -> None:
        """Ends every call that is under way in any thread, with Unavailable; the client is of no use afterwards."""
        self._transport.stop()

    def ping(self) -> None:
        """Checks that a registry is there and lets us in. Raises Denied, Unavailable."""
        response = self._send(Request("GET", f"{self._base}/v2/"), ())
        if response.status == 401:
            response.excerpt()
            raise self._authenticator.refused()
        self._expect(response, (200,), "access").close()

    def manifest(self, repository: str, selector: str) -> Received:
        """The manifest or index with this tag or digest, verified. Raises NotFound, Denied, Corrupt."""
        request = Request("GET", self._url(repository, "manifests", selector), {"Accept": _ACCEPT})
        response = self._send(request, self._scopes(repository))
        name = f"{self.registry}/{repository}"
        if response.status == 404:
            raise self._no_such_image(response, name, selector)
        self._expect(response, (200,), f"to give out {name}")
        data = response.read(MAX_BYTES, f"the manifest of {name}")
        digest = _verified(data, selector, response.headers.get("docker-content-digest"), name)
        return Received(response.headers.get("content-type", "").partition(";")[0].strip(), digest, data)

    def search(self, term: str, limit: int) -> list[dict[str, Any]]:
        """Repositories that ``term`` finds, as Docker's own registry tells of them (``GET /v1/search``).

        From a registry that only lists all of its own, those whose name has ``term`` in it. Raises Unsupported where
        neither is offered.
        """
        url = f"{self._base}/v1/search?{urlencode({'q': term, 'n': limit})}"
        response = self._send(Request("GET", url), ())
        if response.status == 200:
            found = manifests.decode(response.read(MAX_BYTES, "an answer"), "the answer").get("results")
            return [each for each in found or () if isinstance(each, dict)][:limit]
        response.close()
        response = self._send(Request("GET", f"{self._base}/v2/_catalog?n=1000"), ("registry:catalog:*",))
        if response.status != 200:
            response.close()
            raise Unsupported(f"the registry {self.registry} offers no search", hint="its web pages may have one")
        names = manifests.decode(response.read(MAX_BYTES, "a list"), "the list").get("repositories")
        return [{"name": name} for name in names or () if isinstance(name, str) and term in name][:limit]

    def tags(self, repository: str) -> list[str]:
        """All tags of the repository. Raises NotFound, Denied, Invalid."""
        found: dict[str, None] = {}
        for page in self._pages(repository, f"{self._base}/v2/{repository}/tags/list"):
            tags = page.get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise Invalid(f"the registry {self.registry} gives no list of tags for {repository}")
            found.update(dict.fromkeys(tags))
        return list(found)

    def referrers(self, repository: str, subject: Digest, artifact_type: str | None = None) -> list[Referrer]:
        """The manifests that say they are about ``subject`` (signatures, SBOMs), or those of one kind.

        A registry without the call is asked for the tag that stands for it (distribution-spec, "Referrers Tag Schema").
        """
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        try:
            pages = list(self._pages(repository, self._url(repository, "referrers", subject) + query))
        except NotFound:
            pages = self._referrers_by_tag(repository, subject)
        entries = [entry for page in pages for entry in page.get("manifests") or ()]
        found = [
            Referrer(descriptors.from_json(entry), str(entry.get("artifactType") or ""))
            for entry in entries
            if isinstance(entry, dict)
        ]
        return [each for each in found if artifact_type in (None, each.artifact_type)]

    def _referrers_by_tag(self, repository: str, subject: Digest) -> list[dict[str, Any]]:
        try:
            received = self.manifest(repository, f"{subject.algorithm}-{subject.encoded}"[:128])
        except NotFound:
            return []
        return [manifests.decode(received.data, "the list of referrers")]

    def _pages(self, repository: str, url: str) -> Iterator[dict[str, Any]]:
        """The answers to a question that is answered in pages (RFC 8288 links)."""
        for _ in range(_MAX_PAGES):
            request = Request("GET", url)
            response = self._send(request, self._scopes(repository))
            data = self._expect(response, (200,), f"to list {repository}").read(MAX_BYTES, "a list")
            yield manifests.decode(data, f"the answer of the registry {self.registry}")
            following = re.match(r'\s*<([^>]*)>\s*;\s*rel="?next"?', response.headers.get("link", ""))
            if not following:
                return
            url = self._checked(urljoin(url, following[1]))
        raise Invalid(f"the registry {self.registry} has more than {_MAX_PAGES} pages about {repository}")

    def put_manifest(self, repository: str, selector: str, media_type: str, data: bytes) -> None:
        """Publishes a manifest whose blobs are there. Raises Denied, Invalid."""
        url = self._url(repository, "manifests", selector)
        response = self._send(Request("PUT", url, {"Content-Type": media_type}, data), self._scopes(repository))
        self._expect(response, (200, 201, 202), f"the manifest of {repository}:{selector}").close()

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Whether the repository holds the blob; False also if it would not say: this is asked only to save work."""
        url = self._url(repository, "blobs", digest)
        # Some registries answer 403 where they mean 404.
        with self._send(Request("HEAD", url), self._scopes(repository)) as response:
            return response.status == 200

    def blob(self, repository: str, wanted: Descriptor, write: Callable[[bytes], object], start: int = 0) -> None:
        """Hands the blob's bytes from ``start`` on to ``write``, in order, and continues where a connection was cut.

        Whoever takes the bytes verifies digest and size, and refuses what is too much: it need not end by itself.
        Raises NotFound, Denied, Unavailable, and Corrupt if the registry announces another size.
        """
        done = start

        def proceed() -> None:
            nonlocal done
            if done == wanted.size:
                return
            for chunk in self._blob_from(repository, wanted, done):
                write(chunk)
                done += len(chunk)
            if done < wanted.size:
                raise Cut(f"the registry {self.registry} sent {done} of the {wanted.size} bytes of {wanted.digest}")

        # Attempts count anew with every MiB, so that a large blob survives many cuts, and a trickle ends some time.
        self._transport.persist(proceed, lambda: done // CHUNK)

    def upload(self, repository: str, digest: Digest, size: int, body: Body, source: str | None = None) -> bool:
        """Sends a blob of ``size`` bytes.

        With ``source`` the registry is asked to take it over from that repository of its own; whether it did so, and
        nothing was sent, is the result. Raises Denied, Unavailable, and Corrupt if what arrived has another digest.
        """
        mounted, location = self._mount(repository, digest, source) if source else (False, None)
        if mounted:
            return True
        upload = Upload(
            digest,
            size,
            body,
            send=lambda request: self._send(request, self._scopes(repository)),
            begin=lambda: self._begin_upload(repository),
            located=self._location,
            check=lambda response, status: self._expect(response, (status,), f"blob {digest}"),
            location=location,
        )
        self._transport.persist(upload.attempt, lambda: upload.sent)
        return False

    def _mount(self, repository: str, digest: Digest, source: str) -> tuple[bool, str | None]:
        """Whether the blob was taken over, and if not, where the registry began an upload instead, if it did."""
        query = urlencode({"mount": digest, "from": source})
        request = Request("POST", f"{self._url(repository, 'blobs', 'uploads')}/?{query}")
        try:
            response = self._send(request, (*self._scopes(repository), f"repository:{source}:pull"))
        except Denied:
            return False, None  # no access to the source: that is no reason not to push
        with response:
            return response.status == 201, self._location(request, response) if response.status == 202 else None

    def _begin_upload(self, repository: str) -> tuple[str, int]:
        """Where to send a blob, and how many bytes each chunk must have at least."""
        request = Request("POST", f"{self._url(repository, 'blobs', 'uploads')}/", repeatable=False)
        response = self._send(request, self._scopes(repository))
        with self._expect(response, (202,), f"to take blobs for {repository}"):
            least = response.headers.get("oci-chunk-min-length", "")
            return self._location(request, response), int(least) if least.isascii() and least.isdigit() else 0

    def _location(self, request: Request, response: Response) -> str:
        return self._checked(urljoin(request.url, response.headers.get("location", "")))

    def _blob_from(self, repository: str, wanted: Descriptor, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        # Not repeatable here: persist() in blob() counts the attempts.
        request = Request("GET", self._url(repository, "blobs", wanted.digest), headers, repeatable=False)
        response = self._send(request, self._scopes(repository))
        if response.status == 416:
            response.close()
            raise Corrupt(f"the registry {self.registry} has fewer than {wanted.size} bytes of blob {wanted.digest}")
        with self._expect(response, (200, 206), f"blob {wanted.digest}"):
            skip = start if response.status == 200 else 0
            _check_announced(response, wanted, start - skip)
            for chunk in response.chunks():
                chunk, skip = chunk[skip:], max(0, skip - len(chunk))
                if chunk:
                    yield chunk

    def _url(self, repository: str, kind: str, name: str) -> str:
        return f"{self._base}/v2/{repository}/{kind}/{name}"

    def _scopes(self, repository: str) -> tuple[str, ...]:
        return (f"repository:{repository}:{self._actions}",)

    def _send(self, request: Request, scopes: tuple[str, ...]) -> Response:
        """Authenticates, and follows redirects of what is only read. Each hop decides anew what it is shown."""
        response = self._converse(request, scopes)
        for _ in range(MAX_REDIRECTS):
            if response.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
                return response
            response.close()
            request = request._replace(url=self._location(request, response))
            response = self._converse(request, scopes)
        response.close()
        raise Unavailable(f"the registry {self.registry} redirects more than {MAX_REDIRECTS} times")

    def _converse(self, request: Request, scopes: tuple[str, ...]) -> Response:
        if self._authenticator.settled(scopes):
            return self._perform(request, scopes)
        with self._first:
            return self._perform(request, scopes)

    def _perform(self, request: Request, scopes: tuple[str, ...]) -> Response:
        flow = self._authenticator.flow(request, scopes)
        step = next(flow)
        while True:
            response = self._transport.send(step)
            try:
                step = flow.send(response)
            except StopIteration:
                return response

    def _checked(self, url: str) -> str:
        if self._home.scheme == "https" and origin(url).scheme != "https":
            raise Unavailable(f"the registry {self.registry} points at {origin(url)} without encryption")
        return url

    def _expect(self, response: Response, statuses: tuple[int, ...], what: str) -> Response:
        if response.status not in statuses:
            raise refusal(response.status, response.excerpt(), self.registry, what)
        return response

    def _no_such_image(self, response: Response, name: str, selector: str) -> NotFound:
        response.close()
        separator = "@" if ":" in selector else ":"
        hint = f"check the name and the tag; if it is private: sampan login {self.registry}"
        return NotFound(f"no such image: {name}{separator}{selector}", hint=hint)


def _check_announced(response: Response, wanted: Descriptor, start: int) -> None:
    """Compares what the answer says about itself with what is wanted, before anything of it is used."""
    length, covered = response.headers.get("content-length"), response.headers.get("content-range")
    if length is not None and length.isdigit() and int(length) != wanted.size - start:
        raise Corrupt(f"the registry announces {length} bytes of blob {wanted.digest}, not {wanted.size - start}")
    if response.status == 206 and not (covered or "").startswith(f"bytes {start}-"):
        raise Corrupt(f"the registry sends another range of blob {wanted.digest} than was asked for")


def _verified(data: bytes, selector: str, announced: str | None, name: str) -> Digest:
    """The manifest's digest: the one that was asked for, or sha256. Raises Corrupt."""
    if ":" in selector:
        digests.verify(data, Digest(selector), f"the manifest of {name}")
        return Digest(selector)
    found = digests.sha256(data)
    if announced and announced.startswith("sha256:") and announced != found:
        raise Corrupt(f"the manifest of {name} is corrupt: its digest is {found}, not {announced}")
    return found
