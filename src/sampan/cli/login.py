"""``sampan login``: checks credentials against a registry and keeps them where Docker keeps them."""

import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed, UsageError
from sampan.errors import Denied, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.registry.credentials import Credentials

COMMAND = Command(
    "[OPTIONS] [SERVER]",
    (
        Flag("-p, --password string", "Password"),
        Flag("--password-stdin", "Take the password from standard input"),
        Flag("-u, --username string", "Username"),
    ),
    most=1,
    details="Without SERVER it is Docker Hub.",
    examples=(("sampan login -u me --password-stdin localhost:5000 < password.txt", "Without a terminal"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.registry import credentials

    registry = server(arguments.positionals[0] if arguments.positionals else "")
    asked = arguments.text("username") is not None or arguments.text("password") is not None
    kept = None if asked or arguments.on("password-stdin") else credentials.lookup(registry)
    if kept:
        context.print("Authenticating with existing credentials...")
        try:
            return _log_in(registry, kept, context)
        except Denied as error:
            context.warn(error.message)
    return _log_in(registry, _given(arguments, context), context)


def server(text: str) -> str:
    """The registry that an argument of login or logout means: a host and port, or a URL with them. Raises Invalid."""
    from sampan.oci import reference as references

    host = text.removeprefix("https://").removeprefix("http://").partition("/")[0] or references.DEFAULT_REGISTRY
    registry = references.parse(f"{host}/name").registry
    if registry == references.DEFAULT_REGISTRY and host not in (registry, "index.docker.io"):
        raise Invalid(f"{text!r} is not a registry's host name", hint=f"write {host}:443 if it is one all the same")
    return registry


def _log_in(registry: str, given: "Credentials", context: Context) -> int:
    from sampan import settings
    from sampan.cli import registries
    from sampan.registry import credentials

    with registries.connect(registry, settings.read(), given, offline=True) as client:
        client.ping()
        identity = client.identity or given.identity_token
    where = credentials.save(registry, given._replace(identity_token=identity))
    if where == credentials.config_path() and not identity:
        context.warn(f"the password is stored unencrypted in {where}; a credential helper would keep it safer")
    context.print("Login Succeeded")
    return 0


def _given(arguments: Parsed, context: Context) -> "Credentials":
    from sampan.registry.credentials import Credentials

    user, password = arguments.text("username"), arguments.text("password")
    if password is not None:
        if arguments.on("password-stdin"):
            raise UsageError("--password and --password-stdin are mutually exclusive", exit_code=1)
        context.warn("using --password via the CLI is insecure. Use --password-stdin.")
    if arguments.on("password-stdin"):
        if not user:
            raise UsageError("Must provide --username with --password-stdin", exit_code=1)
        password = sys.stdin.read().rstrip("\r\n")
    user = user or _ask("Username: ")
    password = password or _ask_secretly("Password: ")
    if not user or not password:
        raise Invalid("a user name and a password are required")
    return Credentials(user, password)


def _ask(prompt: str) -> str:
    _need_terminal()
    return input(prompt).strip()


def _ask_secretly(prompt: str) -> str:
    _need_terminal()
    from getpass import getpass

    return getpass(prompt)


def _need_terminal() -> None:
    if not sys.stdin.isatty():
        hint = "echo PASSWORD | sampan login --username NAME --password-stdin SERVER"
        raise Invalid("there is no terminal to ask for the user name and the password on", hint=hint)
