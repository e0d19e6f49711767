"""Docker's ``config.json``: where a user's credentials for registries are kept, and the helpers that keep them safer.

Looked up by exact host and port. Keys with a path (other than Docker's own /v1/ and /v2/) are for a namespace in other
tools; they never match here, so that a sibling namespace is not offered somebody else's credentials.
"""

import base64
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from sampan.errors import Invalid, Unavailable

HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io"))
_TOKEN_USER = "<token>"  # the helper protocol's mark that the secret is an identity token
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_SECONDS = 30


class Credentials(NamedTuple):
    """User name and password, or an identity token that a token server gave out in their place."""

    username: str
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


def config_path() -> str:
    """``$DOCKER_CONFIG/config.json``, else ``~/.docker/config.json``."""
    return os.path.join(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"), "config.json")


def server_key(registry: str) -> str:
    """The key under which Docker keeps a registry's credentials: its host and port, and a URL for Docker Hub."""
    return HUB_KEY if registry in _HUB_NAMES else registry


def lookup(registry: str, path: str | None = None) -> Credentials | None:
    """The credentials for ``registry`` (``host`` or ``host:port``), or None.

    Raises Invalid for a file that cannot be read, Unavailable for a helper that fails.
    """
    config = _load(path or config_path())
    if helper := _helper_for(config, registry):
        return _ask_helper(helper, registry)
    for key, entry in _mapping(config, "auths").items():
        if _hostname(key) == _hostname(registry) and isinstance(entry, dict) and (found := _from_entry(key, entry)):
            return found
    return None


def save(registry: str, credentials: Credentials, path: str | None = None) -> str:
    """Keeps credentials as ``docker login`` does; returns the helper's name or the file's path. Raises as lookup."""
    path = path or config_path()
    with _alone(path):
        return _save(registry, credentials, path)


def _save(registry: str, credentials: Credentials, path: str) -> str:
    config = _load(path)
    key, helper = server_key(registry), _helper_for(config, registry)
    auths = config.setdefault("auths", {})
    if helper:
        user = _TOKEN_USER if credentials.identity_token else credentials.username
        secret = credentials.identity_token or credentials.password
        _run_helper(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}))
        auths[key] = {}
    else:
        pair = f"{credentials.username}:{'' if credentials.identity_token else credentials.password}"
        auths[key] = {"auth": base64.b64encode(pair.encode()).decode()}
        if credentials.identity_token:
            auths[key]["identitytoken"] = credentials.identity_token
    _write(path, config)
    return helper or path


def forget(registry: str, path: str | None = None) -> bool:
    """Removes the credentials for ``registry``, also from its helper; whether there were any. Raises as lookup."""
    path = path or config_path()
    if not os.path.exists(path):
        return False
    with _alone(path):
        return _forget(registry, path)


def _forget(registry: str, path: str) -> bool:
    config = _load(path)
    auths = _mapping(config, "auths")
    keys = [key for key in auths if _hostname(key) == _hostname(registry)]
    helper = _helper_for(config, registry)
    if helper and (keys or _ask_helper(helper, registry)):
        _run_helper(helper, "erase", server_key(registry))
        keys = keys or [server_key(registry)]
    for key in keys:
        auths.pop(key, None)
    if keys:
        _write(path, config)
    return bool(keys)


def _hostname(key: str) -> str:
    """Host and port of a key of ``auths``, or the whole key if it has a path of its own."""
    text = re.sub(r"/(v[12]/?)?$", "", re.sub(r"^https?://", "", key))
    return HUB if text in _HUB_NAMES else text


def _from_entry(key: str, entry: dict[str, Any]) -> Credentials | None:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            pair = base64.b64decode(entry["auth"], validate=True).decode()
        except (ValueError, TypeError):
            raise Invalid(f"the credentials for {key} in Docker's config.json are damaged") from None
        user, _, password = pair.partition(":")
        # Docker pads short ones with NUL.
        password = password.strip("\0")
    token = str(entry.get("identitytoken") or "")
    return Credentials(user, password, token) if user or token else None


def _helper_for(config: dict[str, Any], registry: str) -> str | None:
    for key, helper in _mapping(config, "credHelpers").items():
        if _hostname(key) == _hostname(registry):
            return _checked_helper(helper)
    store = config.get("credsStore")
    return _checked_helper(store) if store else None


def _checked_helper(name: object) -> str:
    # It becomes part of a program's name: without a separator it can only be found on PATH.
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        raise Invalid(f"{name!r} in Docker's config.json is not a credential helper's name")
    return name


def _ask_helper(helper: str, registry: str) -> Credentials | None:
    output = _run_helper(helper, "get", server_key(registry))
    if output is None:
        return None
    try:
        value = json.loads(output)
        user, secret = str(value["Username"]), str(value["Secret"])
    except (ValueError, LookupError, TypeError):
        raise Unavailable(f"docker-credential-{helper} does not answer as its protocol wants") from None
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)


def _run_helper(helper: str, verb: str, text: str) -> str | None:
    """What the helper prints; None when it has no such credentials. Its output is never part of an error: it may hold
    a secret."""
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=text, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
    except FileNotFoundError:
        hint = f"install it, or remove {helper!r} from {config_path()}"
        raise Unavailable(f"the credential helper {program} is not on PATH", hint=hint) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the credential helper {program} failed: {type(error).__name__}") from None
    if done.returncode == 0:
        return done.stdout
    if "not found" in done.stdout.lower():
        return None
    raise Unavailable(f"the credential helper {program} failed to {verb} with exit code {done.returncode}")


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read() or b"{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise Invalid(f"{path} cannot be read: {why}") from None
    if not isinstance(config, dict) or not isinstance(config.get("auths", {}), dict):
        raise Invalid(f"{path} is not a Docker configuration")
    return config


def _mapping(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Between reading the file and writing it nobody else does, of those who ask: a login must not undo another.

    The directory is what is locked, as the file is replaced, and another one beside it would stay there for ever.
    """
    directory = os.path.dirname(os.path.realpath(path))
    os.makedirs(directory, mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that cannot lock directories (NFS)
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(path: str, config: dict[str, Any]) -> None:
    path = os.path.realpath(path)  # a link into a directory of dot files stays one
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    aside = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w") as file:
            json.dump(config, file, indent="\t")
            file.write("\n")
            file.flush()
            os.fsync(fd)
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
