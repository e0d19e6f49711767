"""Whom to trust, and how to show who we are, when speaking TLS (Docker's certs.d)."""

import os
import ssl

from sampan.errors import Invalid

_CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def tls_context(host: str, *, verify: bool = True) -> ssl.SSLContext:
    """The system's authorities (OpenSSL heeds SSL_CERT_FILE and SSL_CERT_DIR), and those of certs.d for ``host``.

    ``host`` is as in image names, with the port if that is not 443. Raises Invalid for a file that cannot be used.
    Without ``verify`` whoever answers is believed; what certs.d has to show to him is shown all the same.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if not os.environ.get("SSL_CERT_FILE") and not os.path.exists(ssl.get_default_verify_paths().openssl_cafile):
        for bundle in filter(os.path.exists, _CA_BUNDLES):
            context.load_verify_locations(bundle)
            break
    for directory in directories():
        _add_certificates(context, f"{directory}/{host}")
    return context


def directories() -> tuple[str, ...]:
    """The directories certs.d: Docker's (as root, of the client, and rootless) and our own ones."""
    home = os.path.expanduser("~")
    ours = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return (
        "/etc/docker/certs.d",
        f"{home}/.docker/certs.d",
        f"{home}/.config/docker/certs.d",
        "/etc/sampan/certs.d",
        f"{ours}/sampan/certs.d",
    )


def _add_certificates(context: ssl.SSLContext, directory: str) -> None:
    """``*.crt`` are authorities, ``NAME.cert`` with ``NAME.key`` a client's certificate, as Docker has it."""
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Invalid(f"the certificates in {directory} cannot be read: {error.strerror}") from None
    for name in names:
        path = f"{directory}/{name}"
        try:
            if name.endswith(".crt"):
                context.load_verify_locations(path)
            elif name.endswith(".cert"):
                context.load_cert_chain(path, path.removesuffix(".cert") + ".key")
            elif name.endswith(".key") and f"{name.removesuffix('.key')}.cert" not in names:
                raise Invalid(f"the key {path} has no certificate beside it: {name.removesuffix('.key')}.cert")
        except (OSError, ssl.SSLError) as error:
            raise Invalid(f"the certificate {path} cannot be used: {error}") from None
