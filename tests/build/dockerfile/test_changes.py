"""--change: instructions applied to a config."""

import pytest

from sampan.build.dockerfile.changes import changed
from sampan.errors import Invalid
from sampan.oci.config import ContainerConfig

BASE = ContainerConfig(env=("PATH=/bin", "A=1"), cmd=("sh",), working_dir="/w", on_build=("RUN x",))


def test_each_kind() -> None:
    texts = [
        "CMD a b",
        'ENTRYPOINT ["e"]',
        "ENV A=2 B=$A",
        "EXPOSE 80",
        "HEALTHCHECK NONE",
        "LABEL k=v",
        "ONBUILD RUN y",
    ]
    texts += ["STOPSIGNAL SIGINT", "USER bob", "VOLUME /v", "WORKDIR sub", 'cmd ["last"]']
    done = changed(BASE, texts)
    assert done == ContainerConfig(
        user="bob",
        exposed_ports=("80/tcp",),
        env=("PATH=/bin", "A=2", "B=1"),
        entrypoint=("e",),
        cmd=("last",),
        volumes=("/v",),
        working_dir="/w/sub",
        labels={"k": "v"},
        stop_signal="SIGINT",
        healthcheck={"Test": ["NONE"]},
        on_build=("RUN x", "RUN y"),
    )


def test_nothing_changes_by_itself() -> None:
    assert changed(BASE, ()) == BASE
    assert changed(ContainerConfig(), ()) == ContainerConfig()
    assert changed(ContainerConfig(), ["ENV PATH=/x"]).env == ("PATH=/x",)


@pytest.mark.parametrize(
    "text", ["", "RUN x", "FROM x", "COPY a b", "ADD a b", "nonsense", "CMD a\nCMD b", 'SHELL ["a"]']
)
def test_others_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        changed(BASE, [text])
