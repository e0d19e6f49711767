"""Names inside a container: the texts of its /etc/resolv.conf and /etc/hosts."""


def resolv_conf() -> str:
    with open("/etc/resolv.conf") as file:
        return file.read()


def hosts(extra: tuple[str, ...]) -> str:
    return "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" + "".join(f"{line}\n" for line in extra)
