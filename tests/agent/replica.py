"""A replica as a real process on the loopback address, with the files that its pod would have mounted."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.agent.installation import ACCOUNT, NAME, Deployment, Library
from tests.cluster.processes import Process, State, free_port, tail
from tests.cluster.steps import ClusterError, wait_until

from checkrein.api.tasks import AgentReport, AgentTask

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator"
OBSERVATION = [0.01, -0.02, 0.03, 0.04]
LONG_DRAIN = {"CHECKREIN_DRAIN_SECONDS": "5"}
"""For who asks of a replica that has been told to stop: a slow machine may take a second or two to ask."""


class Replica:
    """One running agent. `token_key` may be shared with another one, `keys` are more of them by the time of their
    making; `log` is the folder of its decision log, `operator` the account that may ask for evidence,
    `env` more of its environment, `program` the module that it runs.
    """

    def __init__(
        self,
        state: State,
        library: Library,
        deployment: Deployment,
        *,
        token_key: bytes = b"",
        keys: Mapping[str, bytes] | None = None,
        api_server: str = "",
        log: Path | None = None,
        operator: str = "",
        env: Mapping[str, str] | None = None,
        program: str = "checkrein.agent.main",
    ) -> None:
        self.operator = operator
        self.token_key = token_key or secrets.token_bytes(32)
        self.log = log
        self.namespace = deployment.namespace
        self.port, self.management_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.management = f"http://127.0.0.1:{self.management_port}"
        self._http = httpx.Client(timeout=30, trust_env=False)
        files = state.path / f"replica-{self.port}"
        self.keys = files / "keys"
        self._mount(files, library, deployment)
        for made, secret in (keys or {}).items():
            (self.keys / made).write_bytes(secret)
        environment = self._environment(files, library, deployment, api_server) | dict(env or {})
        command = [sys.executable, "-m", program]
        self.process: Process = state.start(f"replica-{self.port}", command, env=environment)

    def _mount(self, files: Path, library: Library, deployment: Deployment) -> None:
        files.mkdir()
        (files / "token").write_text(deployment.token(ACCOUNT, audience=""))
        (files / "ca.crt").write_bytes((deployment.controlplane.state.path / "pki" / "ca.crt").read_bytes())
        self.keys.mkdir()
        (self.keys / "key").write_bytes(self.token_key)
        (files / "credentials.json").write_text(library.credentials.model_dump_json(by_alias=True))

    def _environment(self, files: Path, library: Library, deployment: Deployment, api_server: str) -> dict[str, str]:
        config = json.loads(deployment.controlplane.kubeconfig.read_text())
        address = urlsplit(api_server or config["clusters"][0]["cluster"]["server"])
        self.log = self.log or files / "log"
        decisions = library.decisions(deployment.namespace)
        task = AgentTask(
            cluster="c",
            namespace=deployment.namespace,
            name=NAME,
            uid="u",
            store=library.location,
            decisions=decisions,
            operator=self.operator,
        )
        return {
            "PYTHONPATH": f"{OPERATOR}:{ROOT}",
            "CHECKREIN_TASK": task.model_dump_json(by_alias=True),
            "CHECKREIN_SERVICE_ACCOUNT": str(files),
            "CHECKREIN_CREDENTIALS": str(files / "credentials.json"),
            "CHECKREIN_TOKEN_KEYS": str(files / "keys"),
            "CHECKREIN_LOG": str(self.log),
            "POD_NAME": f"{ACCOUNT}-{self.port}",
            "POD_UID": secrets.token_hex(16),
            "CHECKREIN_HOST": "127.0.0.1",
            "CHECKREIN_PORT": str(self.port),
            "CHECKREIN_MANAGEMENT_PORT": str(self.management_port),
            "CHECKREIN_DRAIN_SECONDS": "0.5",
            "KUBERNETES_SERVICE_HOST": str(address.hostname),
            "KUBERNETES_SERVICE_PORT": str(address.port),
        }

    def post(
        self,
        body: Any = None,
        *,
        content: bytes | Iterator[bytes] | None = None,
        token: str = "",
        path: str = "/v1/act",
    ) -> httpx.Response:
        """By default `POST /v1/act`."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        data = json.dumps(body).encode() if content is None else content
        return self._http.post(self.url + path, content=data, headers=headers)

    def request(self, method: str, path: str) -> httpx.Response:
        """Anything else on the public port."""
        return self._http.request(method, self.url + path)

    def infer(self, model: str, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """`POST /v2/models/MODEL/infer`."""
        return self._http.post(f"{self.url}/v2/models/{model}/infer", content=content, headers=headers)

    def act(self, episode: str | None = None, **fields: Any) -> dict[str, Any]:
        """A decision. Fails where there is none."""
        known = {"observation": OBSERVATION} | ({"episode": episode} if episode else {})
        answer = self.post(known | fields)
        assert answer.status_code == 200, answer.text
        decoded: dict[str, Any] = answer.json()
        return decoded

    def get(self, path: str, token: str = "") -> httpx.Response:
        """From the management port."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self._http.get(self.management + path, headers=headers)

    def report(self) -> AgentReport:
        return AgentReport.model_validate_json(self.get("/status").content)

    def wait(self, condition: Callable[[AgentReport], bool]) -> AgentReport:
        """The first report for which `condition` holds."""
        last = AgentReport()

        def holds() -> bool:
            nonlocal last
            try:
                last = self.report()
            except httpx.TransportError:
                assert self.process.alive(), tail(self.process.log)
                return False
            return condition(last)

        wait_until(holds, 180, otherwise=lambda: ClusterError(f"last report {last}\n{tail(self.process.log)}"))
        return last

    def wait_acting(self, name: str) -> AgentReport:
        """Until this policy acts."""
        return self.wait(lambda report: report.acting == name)

    def wait_refused(self, name: str) -> str:
        """Until this policy is refused for good; the reason."""

        def refused(report: AgentReport) -> bool:
            return any(p.name == name and p.permanent for p in report.policies)

        return next(p.reason for p in self.wait(refused).policies if p.name == name)
