from pathlib import Path

import pytest

from sampan.networks import dns


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "resolv.conf"


@pytest.fixture(autouse=True)
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "systemd.conf"
    monkeypatch.setattr(dns, "SYSTEMD_RESOLV_CONF", str(path))
    return path


def test_what_the_host_has(conf: Path) -> None:
    conf.write_text(
        "# mine\n; yours\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"
        "search one.example\nsearch two.example  three.example\noptions ndots:2 edns0\nsortlist 1.2.3.4\nnameserver\n"
    )
    assert dns.resolv_conf(path=str(conf)) == (
        "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch two.example three.example\noptions ndots:2 edns0\n"
    )


def test_a_loopback_server_gives_way_to_those_behind_it(conf: Path, systemd: Path) -> None:
    conf.write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n")
    systemd.write_text("nameserver 192.0.2.7\n")
    assert dns.resolv_conf(path=str(conf)) == "nameserver 192.0.2.7\noptions edns0 trust-ad\n"


@pytest.mark.parametrize("server", ["127.0.0.53", "127.1.2.3", "::1", "fe80::1%eth0"])
def test_public_servers_where_no_other_can_be_reached(conf: Path, server: str) -> None:
    conf.write_text(f"nameserver {server}\n")
    assert dns.resolv_conf(path=str(conf)) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_a_reachable_server_is_kept_beside_a_loopback_one(conf: Path, systemd: Path) -> None:
    conf.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.1\n")
    systemd.write_text("nameserver 192.0.2.7\n")
    assert dns.resolv_conf(path=str(conf)) == "nameserver 192.0.2.1\n"


def test_a_host_without_the_file(conf: Path) -> None:
    assert dns.resolv_conf(path=str(conf)) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_servers_on_loopback_are_asked_by_who_forwards(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\n")
    assert dns.resolv_conf(path=str(conf), forwarded=True) == f"nameserver {dns.FORWARDED}\n"
    assert dns.resolv_conf(path=str(conf), own_network=False, forwarded=False) == "nameserver 127.0.0.1\n"
    conf.write_text("nameserver 192.0.2.1\n")
    assert dns.resolv_conf(path=str(conf), forwarded=True) == "nameserver 192.0.2.1\n"


def test_what_is_given_counts(conf: Path) -> None:
    conf.write_text("nameserver 192.0.2.1\nsearch host.example\noptions ndots:2\n")
    text = dns.resolv_conf(["127.0.0.1"], ["given.example"], ["ndots:1"], path=str(conf))
    assert text == "nameserver 127.0.0.1\nsearch given.example\noptions ndots:1\n"


def test_hosts() -> None:
    lines = dns.hosts([("db", "192.0.2.9")], "10.1.2.3", ["0123456789ab", "web"]).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-2:] == ["192.0.2.9\tdb", "10.1.2.3\t0123456789ab web"]
    assert dns.hosts().splitlines() == lines[:-2]


def test_host_nameservers(conf: Path) -> None:
    conf.write_text("nameserver 192.0.2.1\nnameserver fe80::1%eth0\n")
    assert dns.host_nameservers(str(conf)) == ["192.0.2.1", "fe80::1"]
