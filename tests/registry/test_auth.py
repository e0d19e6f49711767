"""The authentication flow without a network: responses are handed to it, requests looked at."""

import base64
import io
import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from sampan.errors import Denied, Invalid, SampanError, Unavailable
from sampan.registry.auth import Authenticator
from sampan.registry.credentials import Credentials
from sampan.registry.http import Request, Response, origin

HOME = "https://registry.example"
ASK = Request("GET", f"{HOME}/v2/a/b/manifests/latest")
PULL = ("repository:a/b:pull",)
BASIC = "Basic " + base64.b64encode(b"me:pass").decode()
CHALLENGE = 'Bearer realm="https://auth.example/token",service="it",scope="repository:a/b:pull"'


def answer(status: int, body: object = None, **headers: str) -> Response:
    stream = io.BytesIO(json.dumps(body).encode())
    return Response(status, {key.replace("_", "-"): text for key, text in headers.items()}, stream.read, stream.close)


def unauthorized(challenge: str) -> Response:
    return answer(401, www_authenticate=challenge)


def authenticator(
    credentials: Credentials | None = None,
    home: str = HOME,
    *,
    offline: bool = False,
    now: Callable[[], float] = lambda: 0.0,
) -> Authenticator:
    return Authenticator("registry.example", origin(home), lambda: credentials, offline=offline, now=now)


def converse(who: Authenticator, request: Request, *answers: Response, scopes: tuple[str, ...] = PULL) -> list[Request]:
    """All requests of a flow that gets these answers, each of which must be needed."""
    flow = who.flow(request, scopes)
    sent = [next(flow)]
    for number, each in enumerate(answers):
        try:
            sent.append(flow.send(each))
        except StopIteration:
            assert number == len(answers) - 1
            return sent
    pytest.fail(f"the flow wants more: {sent[-1]}")


def authorization(request: Request) -> str | None:
    return request.headers.get("Authorization")


def test_anonymous_first() -> None:
    (sent,) = converse(authenticator(Credentials("me", "pass")), ASK, answer(200))
    assert sent == ASK


def test_basic_after_a_challenge_and_at_once_from_then_on() -> None:
    who = authenticator(Credentials("me", "pass"))
    sent = converse(who, ASK, unauthorized('Basic realm="x"'), answer(200))
    assert [authorization(each) for each in sent] == [None, BASIC]
    assert [authorization(each) for each in converse(who, ASK, answer(200))] == [BASIC]


def test_basic_is_not_repeated_when_it_was_refused() -> None:
    who = authenticator(Credentials("me", "pass"))
    converse(who, ASK, unauthorized("Basic"), answer(200))
    assert len(converse(who, ASK, unauthorized("Basic"))) == 1


@pytest.mark.parametrize("header", ["", "Negotiate", "Digest nonce=x", 'Basic realm="x"'])
def test_nothing_to_answer_with(header: str) -> None:
    assert len(converse(authenticator(None), ASK, unauthorized(header))) == 1


def test_token_for_the_scope() -> None:
    who = authenticator(Credentials("me", "pass"))
    sent = converse(who, ASK, unauthorized(CHALLENGE), answer(200, {"token": "T"}), answer(200))
    assert [authorization(each) for each in sent] == [None, BASIC, "Bearer T"]
    asked = urlsplit(sent[1].url)
    assert (asked.netloc, asked.path) == ("auth.example", "/token")
    assert parse_qs(asked.query) == {
        "service": ["it"],
        "scope": ["repository:a/b:pull"],
        "account": ["me"],
        "client_id": ["sampan"],
    }


def test_anonymous_token() -> None:
    sent = converse(authenticator(None), ASK, unauthorized(CHALLENGE), answer(200, {"access_token": "T"}), answer(200))
    assert [authorization(each) for each in sent] == [None, None, "Bearer T"]


def test_tokens_are_kept_by_scope_until_they_expire() -> None:
    clock = [0.0]
    who = authenticator(None, now=lambda: clock[0])
    fetched = (unauthorized(CHALLENGE), answer(200, {"token": "T", "expires_in": 300}))
    converse(who, ASK, *fetched, answer(200))
    clock[0] = 290
    assert [authorization(each) for each in converse(who, ASK, answer(200))] == ["Bearer T"]
    assert [authorization(each) for each in converse(who, ASK, answer(200), scopes=("repository:c:pull",))] == [None]
    clock[0] = 296
    assert [authorization(each) for each in converse(who, ASK, answer(200))] == [None]


def test_a_token_that_is_refused_is_replaced_once() -> None:
    who = authenticator(None)
    converse(who, ASK, unauthorized(CHALLENGE), answer(200, {"token": "old"}), answer(200))
    sent = converse(who, ASK, unauthorized(CHALLENGE), answer(200, {"token": "new"}), unauthorized(CHALLENGE))
    assert [authorization(each) for each in sent] == ["Bearer old", None, "Bearer new"]


def test_wanted_and_offered_scopes_are_put_together() -> None:
    sent = converse(
        authenticator(None),
        ASK,
        unauthorized('Bearer realm="https://auth.example/t?x=y",scope="repository:a/b:pull registry:catalog:*"'),
        answer(200, {"token": "T"}),
        answer(200),
        scopes=("repository:a/b:pull,push", "repository:c:pull"),
    )
    query = parse_qs(urlsplit(sent[1].url).query)
    assert query == {"x": ["y"], "scope": ["repository:a/b:pull,push", "repository:c:pull", "registry:catalog:*"]}


def test_identity_token_is_exchanged_by_post() -> None:
    who = authenticator(Credentials("", "", "refresh me"))
    sent = converse(who, ASK, unauthorized(CHALLENGE), answer(200, {"access_token": "T"}), answer(200))
    assert (sent[1].method, sent[1].url) == ("POST", "https://auth.example/token")
    assert isinstance(sent[1].body, bytes)
    assert parse_qs(sent[1].body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["it"],
        "client_id": ["sampan"],
        "scope": ["repository:a/b:pull"],
        "refresh_token": ["refresh me"],
    }
    assert authorization(sent[1]) is None
    assert authorization(sent[2]) == "Bearer T"


def test_login_asks_for_an_identity_token() -> None:
    who = authenticator(Credentials("me", "pass"), offline=True)
    sent = converse(
        who,
        ASK,
        unauthorized('Bearer realm="https://auth.example/token"'),
        answer(200, {"token": "T", "refresh_token": "R"}),
        answer(200),
        scopes=(),
    )
    assert "offline_token=true" in sent[1].url
    assert who.identity == "R"


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/v2/",
        "https://registry.example:444/v2/",
        "http://registry.example/v2/",
        "https://registry.example.evil.example/v2/",
        "https://evilregistry.example/v2/",
        "https://registry.example@evil.example/v2/",
    ],
)
def test_nothing_is_shown_to_any_other_origin(url: str) -> None:
    who = authenticator(Credentials("me", "pass"))
    converse(who, ASK, unauthorized("Basic"), answer(200))
    request = Request("GET", url)
    for challenge in ("Basic", CHALLENGE):
        assert converse(who, request, unauthorized(challenge)) == [request]


@pytest.mark.parametrize(
    ("home", "realm", "allowed"),
    [
        ("https://registry.example", "http://auth.example/token", False),
        ("https://registry.example", "http://localhost/token", False),
        ("http://localhost:5000", "http://auth.example/token", False),
        ("http://localhost:5000", "http://127.0.0.1:5001/token", True),
        ("http://localhost:5000", "https://auth.example/token", True),
    ],
)
def test_a_realm_without_encryption(home: str, realm: str, allowed: bool) -> None:
    who = authenticator(Credentials("me", "pass"), home)
    flow = who.flow(Request("GET", f"{home}/v2/"))
    next(flow)
    if allowed:
        assert flow.send(unauthorized(f'Bearer realm="{realm}"')).url.startswith(realm)
    else:
        with pytest.raises(Denied, match="without encryption"):
            flow.send(unauthorized(f'Bearer realm="{realm}"'))


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(401), Denied),
        (answer(403), Denied),
        (answer(404), Unavailable),
        (answer(302, location="https://evil.example"), Unavailable),
        (answer(200, []), Invalid),
        (answer(200, {}), Invalid),
        (answer(200, {"token": 3}), Invalid),
        (answer(200, {"token": "T\r\nX-Injected: yes"}), Invalid),
    ],
)
def test_what_token_servers_get_wrong(reply: Response, kind: type[SampanError]) -> None:
    flow = authenticator(Credentials("me", "pass-canary")).flow(ASK, PULL)
    next(flow)
    flow.send(unauthorized(CHALLENGE))
    with pytest.raises(kind) as caught:
        flow.send(reply)
    assert "canary" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("realm", ["", "token", "file:///etc/passwd", "https://"])
def test_a_realm_that_is_no_address(realm: str) -> None:
    flow = authenticator(None).flow(ASK, PULL)
    next(flow)
    with pytest.raises(Invalid):
        flow.send(unauthorized(f'Bearer realm="{realm}"'))
