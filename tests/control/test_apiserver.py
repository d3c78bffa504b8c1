"""Who the operator is to the API server, and where that is."""

from __future__ import annotations

from pathlib import Path

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from checkrein.control import apiserver


async def test_a_service_accounts_token_may_be_renewed_while_the_operator_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    monkeypatch.setattr(apiserver, "TOKEN", token)
    told = list[str]()

    async def answer(request: web.Request) -> web.Response:
        told.append(request.headers["Authorization"])
        return web.Response(text="{}")

    served = web.Application()
    served.router.add_get("/version", answer)
    async with TestServer(served) as server:
        info = kopf.ConnectionInfo(server=str(server.make_url("/")), token="first")
        async with apiserver.connected(info) as api:
            for renewed in ("first", "second"):
                token.write_text(f"{renewed}\n")
                assert await api.send("GET", "/version", {}, {}, None, 60) == (200, b"{}")
    assert told == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        pytest.param("10.96.0.1", "https://10.96.0.1:443", id="IPv4"),
        pytest.param("fd00::1", "https://[fd00::1]:443", id="IPv6"),
        pytest.param("", "", id="outside of a pod"),
    ],
)
def test_the_address_in_a_pod(host: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert apiserver.address_in_pod() == wanted


def test_without_an_account_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(kopf.LoginError, match="KUBECONFIG"):
        apiserver.login()
