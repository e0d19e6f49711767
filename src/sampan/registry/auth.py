"""Who is asking: authentication as a conversation apart from I/O (after httpx's ``auth_flow``).

A flow yields requests and is sent the responses; whoever drives it does the I/O. Anonymous first; after a 401, what the
challenge wants: basic, or a token that the challenge's realm gives out (distribution's token.md and oauth.md).

Credentials go to the registry's own origin and to the realm that this origin names, and nowhere else: a request to any
other origin passes through a flow untouched, and a 401 from there is not answered.
"""

import base64
import json
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from sampan.errors import Denied, Invalid, Unavailable
from sampan.registry import challenge as challenges
from sampan.registry.challenge import Challenge
from sampan.registry.credentials import Credentials
from sampan.registry.http import Origin, Request, Response, is_loopback, origin

MAX_TOKEN_BYTES = 1 << 20
_CLIENT = "sampan"
_SHORTEST_LIFE = 60  # seconds: token.md's default, and its least ("never … less than 60 seconds to live")
_MARGIN = 5  # seconds before its end at which a token is no longer begun to be used

Flow = Generator[Request, Response, None]


class Refused(Denied):
    """Credentials were shown, and are wrong."""


class Token(NamedTuple):
    text: str
    expires: float


class Authenticator:
    """What is known about getting into one registry: its challenge, credentials, tokens by scope.

    ``find`` gives the credentials (None: there are none); it is asked at most once, and only after a challenge.
    ``offline`` asks the token server for an identity token too, which ``identity`` then holds.
    """

    def __init__(
        self,
        registry: str,
        home: Origin,
        find: Callable[[], Credentials | None],
        *,
        offline: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = ""
        self._registry = registry
        self._home = home
        self._find = find
        self._offline = offline
        self._now = now
        self._found: tuple[Credentials | None] | None = None
        self._basic = False
        self._tokens: dict[str, Token] = {}
        self._settled: set[str] = set()

    def flow(self, request: Request, scopes: Iterable[str] = ()) -> Flow:
        """The conversation for one request; the last response sent in is the one that counts (it may be a 401).

        Raises Denied when the credentials are refused, or would have to be sent where they must not go.
        """
        if origin(request.url) != self._home:
            yield request
            return
        scope = " ".join(sorted(scopes))
        known = self._known(scope)
        response = yield request.with_header("Authorization", known) if known else request
        if response.status != 401:
            self._settled.add(scope)
            return
        wanted = _preferred(challenges.parse(response.headers.get("www-authenticate", "")))
        if wanted is None or (wanted.scheme == "basic" and (known or not self._can_do_basic())):
            return
        response.excerpt()
        if wanted.scheme == "bearer":
            self._tokens[scope] = yield from self._fetch_token(wanted, scope)
        yield request.with_header("Authorization", self._known(scope) or "")
        self._settled.add(scope)

    def settled(self, scopes: Iterable[str]) -> bool:
        """Whether it is known what it takes to be let in for these scopes; until then let one request go first."""
        return " ".join(sorted(scopes)) in self._settled

    def _known(self, scope: str) -> str | None:
        token = self._tokens.get(scope)
        if token and token.expires - _MARGIN > self._now():
            return f"Bearer {token.text}"
        credentials = self._credentials() if self._basic else None
        return _basic(credentials) if credentials else None

    def _can_do_basic(self) -> bool:
        credentials = self._credentials()
        self._basic = bool(credentials and credentials.password)
        return self._basic

    def _credentials(self) -> Credentials | None:
        if self._found is None:
            self._found = (self._find(),)
        return self._found[0]

    def _fetch_token(self, wanted: Challenge, scope: str) -> Generator[Request, Response, Token]:
        realm = self._realm(wanted)
        credentials = self._credentials()
        ask = _post_for_token if credentials and credentials.identity_token else _get_for_token
        scopes = _merged(scope.split(), wanted.parameters.get("scope", "").split())
        response = yield ask(realm, wanted.parameters.get("service", ""), scopes, credentials, self._offline)
        if response.status in (400, 401, 403):
            response.excerpt()
            raise self.refused()
        if response.status != 200:
            response.excerpt()
            raise Unavailable(f"the token server {origin(realm)} answers with status {response.status}")
        answer = _decode(response.read(MAX_TOKEN_BYTES, "the token"), realm)
        if self._offline:
            self.identity = str(answer.get("refresh_token") or "")
        return Token(_token_text(answer, realm), self._now() + _lifetime(answer))

    def _realm(self, wanted: Challenge) -> str:
        realm = wanted.parameters.get("realm", "")
        where = origin(realm)
        # In the clear only for a registry that is itself reached in the clear, and only to its host or this machine.
        near = where.host == self._home.host or (is_loopback(where.host) and is_loopback(self._home.host))
        if where.scheme == "http" and not (self._home.scheme == "http" and near):
            raise Denied(f"the registry {self._registry} sends to {where} for a token, without encryption")
        return realm

    def refused(self) -> Denied:
        """The error for an answer of 401 to all that there is to show."""
        credentials, hint = self._credentials(), f"sampan login {self._registry}"
        if credentials is None:
            return Denied(f"the registry {self._registry} refuses access: nobody is logged in to it", hint=hint)
        who = f"the user name {credentials.username!r} or its password" if credentials.username else "the token"
        return Refused(f"the registry {self._registry} refuses the credentials: {who} is wrong", hint=hint)


def _preferred(offered: tuple[Challenge, ...]) -> Challenge | None:
    for scheme in ("bearer", "basic"):
        for each in offered:
            if each.scheme == scheme:
                return each
    return None


def _basic(credentials: Credentials) -> str | None:
    if not credentials.password:
        return None
    pair = f"{credentials.username}:{credentials.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _get_for_token(
    realm: str, service: str, scopes: list[str], credentials: Credentials | None, offline: bool
) -> Request:
    """token.md, "Requesting a Token"."""
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    header = _basic(credentials) if credentials else None
    if credentials and header:
        query += [("account", credentials.username), ("client_id", _CLIENT)]
        query += [("offline_token", "true")] if offline else []
    request = Request("GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}")
    return request.with_header("Authorization", header) if header else request


def _post_for_token(
    realm: str, service: str, scopes: list[str], credentials: Credentials | None, offline: bool
) -> Request:
    """oauth.md, "Getting a token", with the identity token as refresh token."""
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": _CLIENT,
        "scope": " ".join(scopes),
        "refresh_token": credentials.identity_token if credentials else "",
    }
    return Request("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode())


def _merged(wanted: list[str], offered: list[str]) -> list[str]:
    """Both lists of scopes, with the actions of each resource (``type:name``) put together."""
    actions: dict[str, dict[str, None]] = {}
    for scope in wanted + offered:
        resource, _, text = scope.rpartition(":")
        actions.setdefault(resource, {}).update(dict.fromkeys(text.split(",")))
    return [f"{resource}:{','.join(each)}" if resource else ",".join(each) for resource, each in actions.items()]


def _decode(data: bytes, realm: str) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Invalid(f"the token server {origin(realm)} does not answer in JSON")
    return answer


def _token_text(answer: dict[str, Any], realm: str) -> str:
    text = answer.get("token") or answer.get("access_token")
    # It becomes a header: what is not visible ASCII could end the line and begin another one.
    if not isinstance(text, str) or not (text.isascii() and text.isprintable()):
        raise Invalid(f"the token server {origin(realm)} answers without a token")
    return text


def _lifetime(answer: dict[str, Any]) -> float:
    seconds = answer.get("expires_in")
    return max(seconds, _SHORTEST_LIFE) if isinstance(seconds, int | float) else _SHORTEST_LIFE
