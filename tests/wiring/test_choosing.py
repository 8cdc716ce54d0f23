"""Refusals before anything starts: the runtime that is chosen, the certificate that is given."""

from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper.config import Settings
from innkeeper.core.errors import Invalid
from innkeeper.wiring import runtimes
from innkeeper.wiring.last_run import LastRun
from innkeeper.wiring.listening import check_certificate
from innkeeper.wiring.runtimes import choose_runtime


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """On a machine where no engine answers."""

    async def nowhere(data_dir: Path, engine_socket: Path | None = None) -> bool:
        return False

    monkeypatch.setattr(runtimes, "engine_exists", nowhere)
    return replace(Settings(), data_dir=tmp_path)


async def test_auto_takes_host_processes_without_an_engine_and_warns(settings: Settings) -> None:
    said: list[str] = []
    assert await choose_runtime(settings, said.append) == "process"
    assert said[0].startswith("WARNING")


async def test_an_engine_that_was_told_is_never_replaced(settings: Settings) -> None:
    told = replace(settings, engine_socket=Path("/run/none.sock"))
    assert await choose_runtime(told, lambda line: None) == "container"


async def test_an_engine_that_was_used_before_is_waited_for(settings: Settings) -> None:
    LastRun("container", "sqlite:///x", None).keep(settings.data_dir)
    assert await choose_runtime(settings, lambda line: None) == "container"
    LastRun("process", "sqlite:///x", None).keep(settings.data_dir)
    assert await choose_runtime(settings, lambda line: None) == "process"


@pytest.mark.parametrize("text", [None, "", "not PEM"])
def test_a_certificate_that_is_none_is_refused(settings: Settings, text: str | None) -> None:
    path = settings.data_dir / "cert.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Invalid, match="both must be PEM"):
        check_certificate(replace(settings, tls_cert=path, tls_key=path))
    check_certificate(settings)
