"""The OCI distribution-spec 1.1 as a function: from a request to an answer. No socket is seen here.

What is asked for comes from strangers: names are checked before anything is looked up, and a refusal says in the
specification's words ("Error Codes") what was wrong.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

from sampan.depot.storage import Depot
from sampan.depot.uploads import Upload, Uploads
from sampan.errors import Conflict, Corrupt, Denied, Invalid, NotFound, SampanError, Unsupported
from sampan.oci import manifest as manifests
from sampan.oci import media
from sampan.oci import reference as references
from sampan.oci.digest import Digest
from sampan.oci.manifest import MAX_BYTES

_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|referrers|tags)/(?P<what>[^/]*)")
_OCTETS = "application/octet-stream"


class Request(NamedTuple):
    """``target`` is path and query as sent, ``headers`` have lower-case names; ``body`` may be read once."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Iterator[bytes]


class Content(NamedTuple):
    """A part of an open file, to be sent and then closed."""

    fd: int
    start: int
    length: int


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes | Content = b""


class _Refused(Exception):
    """What is not done, in the specification's words."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] = {}) -> None:
        super().__init__(message)
        self.answer = Answer(
            status,
            {"Content-Type": "application/json", **headers},
            manifests.encode({"errors": [{"code": code, "message": message}]}),
        )


def answer(request: Request, depot: Depot, uploads: Uploads) -> Answer:
    """Does what a request asks for. Raises OSError when the disk or the client fails."""
    try:
        return _answer(request, depot, uploads)
    except _Refused as refused:
        return refused.answer
    except SampanError as error:
        return _Refused(error.http_status, _code(error), error.message).answer


def _code(error: SampanError) -> str:
    if isinstance(error, Denied):
        return "DENIED"
    return "UNSUPPORTED" if isinstance(error, Unsupported) else "UNKNOWN"


def _answer(request: Request, depot: Depot, uploads: Uploads) -> Answer:
    split = urlsplit(request.target)
    path, query = unquote(split.path), {key: values[-1] for key, values in parse_qs(split.query).items()}
    if path in ("/v2/", "/v2"):
        return _get(request, _json(200, {}))
    if path == "/v2/_catalog":
        return _get(request, _listed(depot.repositories(), "repositories", path, query, {}))
    found = _PATH.fullmatch(path)
    if not found:
        raise _Refused(404, "NAME_UNKNOWN", "there is nothing of that name")
    name = _checked(found["name"])
    if depot.read_only and request.method not in ("GET", "HEAD"):
        raise _Refused(405, "DENIED", "this registry is read-only")
    call = _Call(request, depot, uploads, name, found["what"], query)
    return _KINDS[found["kind"]](call)


class _Call(NamedTuple):
    request: Request
    depot: Depot
    uploads: Uploads
    name: str
    what: str
    query: Mapping[str, str]


# -- blobs -----------------------------------------------------------------------------------------------------------


def _blobs(call: _Call) -> Answer:
    request, depot = call.request, call.depot
    digest = _digest(call.what)
    if request.method == "DELETE":
        try:
            depot.remove_blob(digest)
        except NotFound as error:
            raise _Refused(404, "BLOB_UNKNOWN", error.message) from None
        return Answer(202, {})
    _only(request, "GET", "HEAD", "DELETE")
    try:
        fd, size = depot.open(digest)
    except NotFound as error:
        raise _Refused(404, "BLOB_UNKNOWN", error.message) from None
    headers = {"Content-Type": _OCTETS, "Docker-Content-Digest": str(digest), "Accept-Ranges": "bytes"}
    try:
        wanted = _range(request.headers.get("range", ""), size)
    except _Refused:
        os.close(fd)
        raise
    if wanted is None:
        return Answer(200, headers, Content(fd, 0, size))
    start, length = wanted
    headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return Answer(206, headers, Content(fd, start, length))


def _range(text: str, size: int) -> tuple[int, int] | None:
    """Start and length of the one range that is asked for (RFC 9110, section 14); None for all."""
    found = re.fullmatch(r"bytes=(\d{0,19})-(\d{0,19})", text)
    if not found or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if first:
        start, end = int(first), min(int(last) if last else size, size - 1)
        if last and int(last) < start:
            return None
    else:
        start, end = max(0, size - int(last)), size - 1
    if start > end:
        refused = {"Content-Range": f"bytes */{size}"}
        raise _Refused(416, "BLOB_UNKNOWN", f"the blob has {size} bytes", refused)
    return start, end - start + 1


# -- uploads ---------------------------------------------------------------------------------------------------------


def _uploads(call: _Call) -> Answer:
    if not call.what:
        _only(call.request, "POST")
        return _begin(call)
    try:
        upload = call.uploads.find(call.what)
    except NotFound as error:
        raise _Refused(404, "BLOB_UPLOAD_UNKNOWN", error.message) from None
    try:
        with upload:
            return _proceed(call, upload)
    except Conflict as error:
        raise _Refused(416, "BLOB_UPLOAD_INVALID", error.message) from None


def _begin(call: _Call) -> Answer:
    mount, digest = call.query.get("mount"), call.query.get("digest")
    if mount and call.depot.has(_digest(mount)):
        return _stored(call, _digest(mount))
    with call.uploads.begin() as upload:
        if digest:
            return _end(call, upload, _digest(digest))
        return _so_far(call, upload, 202)


def _proceed(call: _Call, upload: Upload) -> Answer:
    method = call.request.method
    if method == "GET":
        return _so_far(call, upload, 204)
    if method == "DELETE":
        call.uploads.drop(upload)
        return Answer(204, {})
    if method == "PATCH":
        _check_order(call, upload)
        upload.add(call.request.body)
        return _so_far(call, upload, 202)
    _only(call.request, "PUT")
    _check_order(call, upload)
    return _end(call, upload, _digest(call.query.get("digest", "")))


def _check_order(call: _Call, upload: Upload) -> None:
    """A chunk follows on the one before it."""
    text = call.request.headers.get("content-range")
    if text is None:
        return
    found = re.fullmatch(r"(?:bytes )?(\d{1,19})-(\d{1,19})(?:/\S+)?", text)
    if not found or int(found[1]) != upload.size:
        where = _so_far(call, upload, 202).headers
        raise _Refused(416, "BLOB_UPLOAD_INVALID", f"the next byte is number {upload.size}", where)


def _end(call: _Call, upload: Upload, digest: Digest) -> Answer:
    upload.add(call.request.body)
    try:
        call.uploads.finish(upload, digest)
    except (Corrupt, Invalid) as error:
        raise _Refused(400, "DIGEST_INVALID", error.message) from None
    return _stored(call, digest)


def _so_far(call: _Call, upload: Upload, status: int) -> Answer:
    where = f"/v2/{call.name}/blobs/uploads/{upload.identifier}"
    range_ = f"0-{max(0, upload.size - 1)}"
    return Answer(status, {"Location": where, "Range": range_, "Docker-Upload-UUID": upload.identifier})


def _stored(call: _Call, digest: Digest) -> Answer:
    return Answer(201, {"Location": f"/v2/{call.name}/blobs/{digest}", "Docker-Content-Digest": str(digest)})


# -- manifests -------------------------------------------------------------------------------------------------------


def _manifests(call: _Call) -> Answer:
    request, depot, name, selector = call.request, call.depot, call.name, call.what
    if ":" in selector:
        _digest(selector)
    else:
        _check_tag(selector)
    if request.method == "PUT":
        return _put_manifest(call)
    _only(request, "GET", "HEAD", "PUT", "DELETE")
    try:
        if request.method == "DELETE":
            depot.remove_manifest(name, selector)
            return Answer(202, {})
        document = depot.manifest(name, selector)
    except (NotFound, Invalid) as error:
        raise _Refused(404, "MANIFEST_UNKNOWN", error.message) from None
    headers = {"Content-Type": document.media_type, "Docker-Content-Digest": str(document.digest)}
    return Answer(200, headers, document.data)


def _put_manifest(call: _Call) -> Answer:
    request = call.request
    data = _small(request.body)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    try:
        digest, subject = call.depot.put_manifest(call.name, call.what, media_type, data)
    except NotFound as error:
        raise _Refused(404, "MANIFEST_BLOB_UNKNOWN", error.message) from None
    except Corrupt as error:
        raise _Refused(400, "DIGEST_INVALID", error.message) from None
    except (Invalid, Unsupported) as error:
        raise _Refused(400, "MANIFEST_INVALID", error.message) from None
    where = {"Location": f"/v2/{call.name}/manifests/{digest}", "Docker-Content-Digest": str(digest)}
    return Answer(201, where | ({"OCI-Subject": subject} if subject else {}))


def _small(body: Iterator[bytes]) -> bytes:
    data = bytearray()
    for chunk in body:
        data += chunk
        if len(data) > MAX_BYTES:
            raise _Refused(413, "SIZE_INVALID", f"a manifest has at most {MAX_BYTES >> 20} MiB")
    return bytes(data)


def _tags(call: _Call) -> Answer:
    if call.what != "list":
        raise _Refused(404, "NAME_UNKNOWN", "there is nothing of that name")
    try:
        tags = call.depot.tags(call.name)
    except NotFound as error:
        raise _Refused(404, "NAME_UNKNOWN", error.message) from None
    return _get(call.request, _listed(tags, "tags", f"/v2/{call.name}/tags/list", call.query, {"name": call.name}))


def _referrers(call: _Call) -> Answer:
    wanted = call.query.get("artifactType")
    found = call.depot.referrers(_digest(call.what), wanted)
    value = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": found}
    filtered = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    return _get(call.request, Answer(200, {"Content-Type": media.OCI_INDEX, **filtered}, manifests.encode(value)))


_KINDS: dict[str, Callable[[_Call], Answer]] = {
    "blobs": _blobs,
    "blobs/uploads": _uploads,
    "manifests": _manifests,
    "referrers": _referrers,
    "tags": _tags,
}


# -- what they share -------------------------------------------------------------------------------------------------


def _listed(names: list[str], key: str, path: str, query: Mapping[str, str], head: Mapping[str, str]) -> Answer:
    """A page of names: at most ``n``, those after ``last``; a Link says where the next one is."""
    last, count = query.get("last", ""), query.get("n", "")
    left = [name for name in names if name > last]
    if count and not count.isdecimal():
        raise _Refused(400, "PAGINATION_NUMBER_INVALID", f"{count!r} is not a number")
    page = left[: int(count)] if count else left
    answer = _json(200, {**head, key: page})
    if not page or len(page) == len(left):
        return answer
    link = f'<{path}?n={count}&last={quote(page[-1])}>; rel="next"'
    return answer._replace(headers={**answer.headers, "Link": link})


def _json(status: int, value: object) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, manifests.encode(value))


def _get(request: Request, answer: Answer) -> Answer:
    _only(request, "GET", "HEAD")
    return answer


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise _Refused(405, "UNSUPPORTED", f"{request.method} is not done here", {"Allow": ", ".join(methods)})


def _checked(name: str) -> str:
    try:
        reference = references.parse(f"localhost/{name}")
    except Invalid as error:
        raise _Refused(400, "NAME_INVALID", error.message) from None
    if reference.repository != name:
        raise _Refused(400, "NAME_INVALID", f"{name!r} is not a repository")
    return name


def _check_tag(tag: str) -> None:
    try:
        if references.parse(f"localhost/name:{tag}").tag == tag:
            return
    except Invalid:
        pass
    raise _Refused(400, "MANIFEST_INVALID", f"{tag!r} is neither a tag nor a digest")


def _digest(text: str) -> Digest:
    try:
        return Digest(text)
    except Invalid as error:
        raise _Refused(400, "DIGEST_INVALID", error.message) from None
