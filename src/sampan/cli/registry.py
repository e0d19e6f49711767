"""``sampan registry``: a small registry of one's own."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid, Unavailable


def serve(arguments: Parsed, context: Context) -> int:
    import socket

    from sampan.depot import routes, server
    from sampan.depot.storage import Depot
    from sampan.depot.uploads import Uploads

    (directory,) = arguments.positionals
    host, port = _address(arguments.text("listen") or "")
    read_only = arguments.on("read-only")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        hint = "--listen 127.0.0.1:0 takes any free port"
        raise Unavailable(f"nobody can listen at {arguments.text('listen')}: {error.strerror}", hint=hint) from None
    with listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"{shown}:{listener.getsockname()[1]}"
        with Depot(directory, address, read_only=read_only) as depot, Uploads(depot.blobs) as uploads:
            context.print(f"Serving {directory} at {address}{', to be read only' if read_only else ''}")
            context.flush()
            if not _is_own(host) and not read_only:
                context.warn(f"whoever reaches {address} can push and delete: --read-only, or a proxy that asks who")
            try:
                server.serve(listener, lambda request: routes.answer(request, depot, uploads), context.note)
            except KeyboardInterrupt:
                return 0


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not port.isdecimal() or int(port) > 65535 or not host:
        raise Invalid(f"{text!r} is not an address to listen at", hint="write it as 127.0.0.1:5000")
    return host, int(port)


def _is_own(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


COMMANDS = {
    "serve": (
        Command(
            "[OPTIONS] DIR",
            (
                Flag("--listen string", "Address and port to listen at", default="127.0.0.1:5000"),
                Flag("-q, --quiet", "Print no line for each request"),
                Flag("--read-only", "Refuse whatever would change DIR"),
            ),
            least=1,
            most=1,
            details="DIR is an OCI image layout, as save, skopeo and buildx write it, or a new directory. It stays "
            "one: what is pushed can be loaded from it, or copied to another site. There are no accounts and there is "
            "no encryption: for a lab, an air-gapped site or tests, or behind a proxy that has both.",
            examples=(
                ("sampan registry serve images", "Then sampan push localhost:5000/app, from this machine"),
                ("sampan registry serve --read-only --listen 0.0.0.0:5000 images", "For all who reach this machine"),
            ),
        ),
        serve,
    ),
}
