"""What servers say in headers and small answers, damaged: understood or refused, and never a credential astray."""

import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import SampanError
from sampan.registry import challenge as challenges
from sampan.registry import http, refusals, upload
from sampan.registry.auth import Authenticator
from sampan.registry.credentials import Credentials
from sampan.registry.http import Request, Response, origin

HOME = "https://registry.example"
PIECES = st.sampled_from(
    [
        *("Bearer", "Basic", "Negotiate", " ", ", ", ",", "=", '"', "\\", "\t", "\r\n", "\0", "é"),
        *("realm=", 'realm="https://auth.example/token"', 'realm="http://evil.example/"', "service=", 'scope="a:b:c"'),
        *("abc123==", "https://registry.example@evil.example/", "//evil.example", "error=invalid_token"),
    ]
)
HEADERS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["token", "access_token", "expires_in", "refresh_token", "errors", "code", "message", "tags"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def response(status: int, body: bytes, **headers: str) -> Response:
    stream = io.BytesIO(body)
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, stream.read, stream.close)


@settings(max_examples=500, deadline=None)
@given(HEADERS)
def test_challenges(header: str) -> None:
    try:
        found = challenges.parse(header)
    except SampanError:
        return
    for each in found:
        assert each.scheme == each.scheme.lower()
        assert all(name == name.lower() for name in each.parameters)


@settings(max_examples=500, deadline=None)
@given(HEADERS, JSON, st.sampled_from([200, 401, 403, 500]), st.booleans())
def test_conversations(header: str, answer: Any, status: int, identity: bool) -> None:
    """Whatever is said, the credentials go to the registry, or to the realm that it named, and only encrypted."""
    me = Credentials("me", "", "token-canary") if identity else Credentials("me", "canary")
    flow = Authenticator("registry.example", origin(HOME), lambda: me, now=lambda: 0.0).flow(
        Request("GET", f"{HOME}/v2/x/manifests/1"), ("repository:x:pull",)
    )
    sent = [next(flow)]
    answers = [
        response(401, b"", www_authenticate=header),
        response(status, json.dumps(answer).encode()),
        response(200, b""),
    ]
    try:
        for each in answers:
            sent.append(flow.send(each))
    except (SampanError, StopIteration):
        pass
    for request in sent:
        secret = "Authorization" in request.headers or b"canary" in (
            request.body if isinstance(request.body, bytes) else b""
        )
        assert "canary" not in request.url
        if secret:
            assert request.url.startswith("https://")
            where = origin(request.url)
            assert where == origin(HOME) or any(
                each.parameters.get("realm") and origin(each.parameters["realm"]) == where
                for each in challenges.parse(header)
                if each.scheme == "bearer"
            )
        for text in request.headers.values():
            assert text.isprintable()
            assert text.isascii()


@given(st.integers(300, 599), st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_refusals(status: int, body: bytes) -> None:
    error = refusals.refusal(status, body, "registry.example", "it")
    assert error.message.isprintable()
    assert len(error.message) < 500


@given(st.text(max_size=30))
def test_small_headers(text: str) -> None:
    seconds = http._retry_after(text)
    assert seconds is None or seconds >= 0
    end = upload._end(text)
    assert end is None or end >= 0
    try:
        assert origin(f"https://{text}").scheme in ("http", "https")
    except SampanError:
        pass
