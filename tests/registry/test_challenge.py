import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Invalid
from sampan.registry.challenge import Challenge, parse

CASES = {
    'Basic realm="Registry"': [("basic", {"realm": "Registry"})],
    "": [],
    "Negotiate": [("negotiate", {})],
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"': [
        (
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:a/b:pull,push",
            },
        )
    ],
    'BEARER Realm = "x" , SERVICE="y"': [("bearer", {"realm": "x", "service": "y"})],
    'Bearer realm="a", Basic realm="b"': [("bearer", {"realm": "a"}), ("basic", {"realm": "b"})],
    'Basic, Bearer realm="a"': [("basic", {}), ("bearer", {"realm": "a"})],
    r'Basic realm="a \"quoted\" \\ word, and=more"': [("basic", {"realm": r'a "quoted" \ word, and=more'})],
    "Bearer realm=https://r.example/token?a=b,service=s": [
        ("bearer", {"realm": "https://r.example/token?a=b", "service": "s"})
    ],
    'Negotiate YWJj==, Basic realm="x"': [("negotiate", {}), ("basic", {"realm": "x"})],
    'Digest qop="auth, auth-int", nonce="n", Basic realm=""': [
        ("digest", {"qop": "auth, auth-int", "nonce": "n"}),
        ("basic", {"realm": ""}),
    ],
    ' , ,Basic realm="x",, ': [("basic", {"realm": "x"})],
    'Bearer realm="first",realm="second"': [("bearer", {"realm": "first"})],
}


@pytest.mark.parametrize("header", CASES)
def test_reads_challenges(header: str) -> None:
    assert parse(header) == tuple(Challenge(*each) for each in CASES[header])


@pytest.mark.parametrize(
    "header",
    ['realm="x"', 'Basic realm="x', "Basic realm= ,@", '"Basic"', "Bearer \x00", "Basic @@", "=", "Basic a=b c@"],
)
def test_refuses_what_is_no_challenge(header: str) -> None:
    with pytest.raises(Invalid):
        parse(header)


def test_refuses_what_is_too_long() -> None:
    with pytest.raises(Invalid, match="longer than"):
        parse("Basic realm=" + "x" * (16 << 10))


@given(st.text(alphabet='aB=," \\\t@/:.'))
def test_reads_or_refuses_anything(header: str) -> None:
    try:
        parse(header)
    except Invalid:
        pass
