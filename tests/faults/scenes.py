"""One operator, its pods and its world behind proxies: where a scenario is played, with faults or without."""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.api.server import Refused, Server
from tests.control.objects import AGENT, job
from tests.control.standin import Play, Raw, Standin, task_of
from tests.faults.mutation_programs import Programs
from tests.faults.operators import Operator
from tests.faults.proxy import STORE_USER, Fault, Proxy
from tests.faults.tls import client_context

from checkrein.api.evidence import EVIDENCE, Evidence
from checkrein.api.meta import Model
from checkrein.api.names import OWNER_NAME
from checkrein.api.policy import Artifact
from checkrein.api.tasks import AgentReport, AgentTask, LoadedPolicy, StoreCredentials, StoreLocation
from checkrein.control.kinds import CHILDREN, KINDS, OWN
from checkrein.store import artifacts
from checkrein.store.client import Store
from checkrein.store.decisions.layout import stream_name
from checkrein.store.errors import StoreError

BUCKETS = {"policiesBucket": "policies", "runsBucket": "runs", "decisionsBucket": "decisions"}
FIRST = 216  # the second number of addresses here; lower ones are other stand-ins'
PERSON = "ops"
QUICK = {"resyncSeconds": 2, "progressSeconds": 0.2, "verifySeconds": 60}


@dataclass(frozen=True)
class Node:
    """What runs pods: the stand-in, or a real one.

    `gateway` is where pods reach this machine, `account` the operator's and `token` what replicas know it by. `job`
    and `agent` are fields of each TrainingJob and AgentDeployment.
    """

    images: Mapping[str, str]
    gateway: str = "127.0.0.1"
    account: str = ""
    token: str = "the operator's"
    job: Mapping[str, Any] = field(default_factory=dict)
    agent: Mapping[str, Any] = field(default_factory=dict)
    real: bool = True


PLAYED = Node(
    {"trainer": "registry.example/checkrein/trainer:1", "agent": "registry.example/checkrein/agent:1"}, real=False
)


@dataclass(frozen=True)
class World:
    """The services that all share."""

    kubeconfig: Path
    operator_kubeconfig: Path
    store: str  # host:port
    store_secret: str
    cluster: str
    folder: Path
    node: Node = PLAYED

    @property
    def credentials(self) -> StoreCredentials:
        """The operator's."""
        return StoreCredentials(access_key=STORE_USER, secret_key=self.store_secret)

    def policies(self) -> Store:
        """The policies bucket, without a proxy."""
        location = StoreLocation(endpoint=self.store, secure=False, bucket="policies")
        return Store(location, lambda: self.credentials)


class Pods(Standin):
    """The stand-in, where the store may fail: a program tries again, as the real ones do. It collects garbage, too."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.programs = Programs()
        self.collects = False

    def close(self) -> None:
        self.programs.close()

    def step(self) -> None:
        """What cannot be done now is tried again in the next step."""
        try:
            super().step()
            for namespace in self.plays if self.collects else ():
                self._collect(namespace)
        except StoreError:
            return
        except Refused as refused:
            if refused.status not in (404, 409):
                raise

    def _serve(self, port: int, answer: Callable[[], Model], path: str) -> str:
        while True:
            third, fourth = secrets.randbelow(256), 1 + secrets.randbelow(254)
            address = f"127.{FIRST + secrets.randbelow(255 - FIRST)}.{third}.{fourth}"
            try:
                self.programs.serve(address, port, partial(_page, address, path, answer))
                return address
            except OSError as error:  # another one's, of those that play at once
                if error.errno != errno.EADDRINUSE:
                    raise

    def _agent_report(self, replicas: Raw) -> AgentReport:
        """As a replica does, it keeps what it has loaded, and says what it cannot load."""
        namespace, name = replicas["metadata"]["namespace"], replicas["metadata"]["labels"][OWNER_NAME]
        status = (self.get("AgentDeployment", namespace, name) or {}).get("status", {})
        pointers = [status[key] for key in ("stable", "candidate") if key in status]
        return AgentReport(epoch=status.get("epoch", 0), policies=[self._load(replicas, p) for p in pointers])

    def _load(self, replicas: Raw, pointer: Raw) -> LoadedPolicy:
        artifact = Artifact.model_validate(pointer["artifact"])
        said = {"name": pointer["name"], "digest": artifact.digest}
        if artifact.digest not in self._loaded:
            try:
                artifacts.load(self._store(replicas, task_of(AgentTask, replicas).store), artifact)
            except StoreError as error:
                return LoadedPolicy(**said, ready=False, reason=error.reason, message=str(error))
            self._loaded.add(artifact.digest)
        return LoadedPolicy(**said, ready=True)

    def _collect(self, namespace: str) -> None:
        """As the garbage collector does: what has an owner ends with it."""
        kinds = [*(kind.kind for kind in (*OWN, *CHILDREN)), "Secret"]
        there = [(kind, obj["metadata"]) for kind in kinds for obj in self.all(kind, namespace)]
        living = {meta["uid"] for _, meta in there}
        for kind, meta in there:
            owners = {owner["uid"] for owner in meta.get("ownerReferences", ())}
            if owners and not owners & living:
                self.delete(kind, namespace, meta["name"])


def _page(address: str, path: str, answer: Callable[[], Model], asked: str) -> Model | None:
    """What the program at this address says: its own page, and that nobody has played."""
    if asked.startswith(EVIDENCE):
        return Evidence(stream=stream_name("played", address, 1, "0"), upto=0, now=time.time())
    return answer() if asked == path else None


class Scene:
    """A namespace with an operator of its own behind proxies. Close it."""

    def __init__(
        self,
        world: World,
        namespace: str,
        faults: Sequence[Fault],
        patience: float,
        broken: Callable[[], None] | None = None,
    ) -> None:
        self.namespace = namespace
        self.world = world
        self._patience = patience
        self.pods = Pods(Server(world.kubeconfig, PERSON, "system:masters"))
        node = world.node
        self.play = Play()
        if node.real:
            self.pods.server.send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        else:
            self.play = self.pods.join(namespace)
        server, tls, token = client_context(world.operator_kubeconfig)
        self.api = Proxy("api", server, faults, self._signal, tls)
        self.store = Proxy("store", f"http://{world.store}", faults, self._signal, host=node.gateway)
        store = {"endpoint": self.store.address, "secure": False, **BUCKETS}
        settings = {"store": store, "images": node.images, "account": node.account, "watchNamespaces": [namespace]}
        folder = world.folder / namespace
        folder.mkdir(parents=True)
        user = {"token": token} if token else {}
        credentials = world.credentials.model_dump_json(by_alias=True, exclude_none=True)
        api = f"http://{self.api.address}"
        self.operator = Operator(folder, api, user, {**settings, **QUICK}, credentials, node.token, broken)
        self.operator.start()

    def close(self) -> None:
        """Ends all that it began; on a real node, its namespace: the next ones need the room."""
        if self.world.node.real:
            self.pods.server.send("DELETE", f"/api/v1/namespaces/{self.namespace}")
        self.operator.kill()
        self.api.close()
        self.store.close()
        self.pods.close()

    def calm(self) -> None:
        """No faults from now on."""
        self.api.faults = self.store.faults = ()

    def _signal(self, number: int) -> None:
        self.operator.signal(number)

    # What people do, and wait for.

    def create(self, kind: str, obj: Raw) -> None:
        """Creates it."""
        self.pods.create(kind, self.namespace, obj)

    def train(self, name: str = "a", **spec: Any) -> None:
        """Creates a TrainingJob."""
        self.create("TrainingJob", job(name, **self.world.node.job, **spec))

    def deploy(self, **spec: Any) -> None:
        """Creates an AgentDeployment."""
        self.create("AgentDeployment", {**AGENT, "spec": {**AGENT["spec"], **self.world.node.agent, **spec}})

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        """Changes fields of its spec."""
        self.pods.patch(kind, self.namespace, name, {"spec": spec})

    def delete(self, kind: str, name: str) -> None:
        """Deletes it, with what it owns."""
        if self.world.node.real:
            self.pods.server.send("DELETE", KINDS[kind].path(self.namespace, name))
            return
        self.pods.collects = True
        self.pods.delete(kind, self.namespace, name)

    def until(self, condition: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        """Goes on until it holds; an operator that has ended is started again. Raises ClusterError."""

        def holds() -> bool:
            if not self.operator.alive:
                self.operator.start()
            return condition()

        self.pods.until(holds, what, self._patience if seconds is None else seconds)

    def until_said(self, kind: str, name: str, type_: str, reason: str) -> None:
        """Goes on until the condition has this reason."""
        said = self.pods.said
        self.until(lambda: said(kind, self.namespace, name, type_)[0] == reason, f"{name}: {type_}={reason}")

    def get(self, kind: str, name: str) -> Raw:
        """The object as it is; empty where there is none."""
        return self.pods.get(kind, self.namespace, name) or {}
