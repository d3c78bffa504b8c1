"""The operator as a process against a real API server and a real MinIO; pods are played by `standin.py`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.server import Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.pki import Authority
from tests.cluster.processes import State, free_port
from tests.control.audit import USER
from tests.control.objects import ENVIRONMENT, job
from tests.control.standin import Play, Standin

from checkrein.api.tasks import AUTHORITIES, StoreCredentials, StoreLocation
from checkrein.store.client import Store
from checkrein.store.install import install


class Operator:
    """checkrein-operator, to be stopped, killed and started again."""

    def __init__(self, state: State, kubeconfig: Path, minio: Minio, *, lease: str = "", **settings: object) -> None:
        self._state = state
        self.port = free_port()
        self.user = StoreCredentials(access_key=f"operator-{os.getpid()}", secret_key=minio.secret_key)
        buckets = {"policiesBucket": "policies", "runsBucket": "runs", "decisionsBucket": "decisions"}
        secured = minio.authorities is not None
        self.location = StoreLocation(endpoint=minio.endpoint, secure=secured, private_authority=secured, bucket="runs")
        self._authorities = minio.authorities
        self._administrator = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
        self._install(self.user)
        store = {"endpoint": minio.endpoint, "secure": secured, "privateAuthority": secured, **buckets}
        if minio.authorities:
            shutil.copy(minio.authorities, state.path / AUTHORITIES)
        images = {"trainer": "registry.example/checkrein/trainer:1", "agent": "registry.example/checkrein/agent:1"}
        (state.path / "settings.json").write_text(json.dumps({"store": store, "images": images, **settings}))
        self.has_keys(self.user)
        (state.path / "token").write_text("the operator's")
        self._env = {
            "KUBECONFIG": str(kubeconfig),
            "CHECKREIN_SETTINGS": str(state.path / "settings.json"),
            "CHECKREIN_CREDENTIALS": str(state.path / "credentials.json"),
            "CHECKREIN_TOKEN_FILE": str(state.path / "token"),
            "CHECKREIN_PORT": str(self.port),
            "CHECKREIN_LEASE": lease,
            "MALLOC_ARENA_MAX": "2",  # as in the chart, this one and the next
            "MALLOC_MMAP_THRESHOLD_": "131072",
        }
        self.start()

    def store(self, bucket: str) -> Store:
        """The operator's own view of one bucket."""
        location = self.location.model_copy(update={"bucket": bucket})
        return Store(location, lambda: self.user, self._authorities)

    def start(self, ready: int = 200) -> None:
        """Returns once /readyz says so; `ready` is the answer that is waited for."""
        self.launch()
        self.process.wait_ready(lambda: self.get("/readyz")[0] == ready)

    def launch(self) -> None:
        """Starts it, and does not wait."""
        command = [sys.executable, "-m", "checkrein.control.main"]
        python_path = str(Path(__file__).parents[2] / "operator")
        self.process = self._state.start("operator", command, env=self._env | {"PYTHONPATH": python_path})

    def another_user(self) -> StoreCredentials:
        """One more user of the store with the same rights."""
        user = StoreCredentials(access_key=f"another-{os.getpid()}", secret_key=self.user.secret_key)
        self._install(user)
        return user

    def _install(self, user: StoreCredentials) -> None:
        install(self.location, self._administrator, user, "policies", "decisions", authorities=self._authorities)

    def has_keys(self, keys: StoreCredentials) -> None:
        """The credentials of the store that it is given, in the file that it mounts."""
        (self._state.path / "credentials.json").write_text(keys.model_dump_json(by_alias=True, exclude_none=True))

    def kill(self) -> None:
        """SIGKILL, as a node's end would be."""
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM, as the kubelet would."""
        self.process.stop()

    @property
    def leads(self) -> bool:
        """Whether it says that it does."""
        return "checkrein_leader 1.0" in self.get("/metrics")[1]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of the operator's own pages; status 0 where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


def metric(operator: Operator, name: str) -> float:
    """A metric without labels."""
    return next(
        float(line.split()[1]) for line in operator.get("/metrics")[1].splitlines() if line.startswith(f"{name} ")
    )


def named_kubeconfig(controlplane: ControlPlane) -> Path:
    """The operator's, with a name of its own in the audit log; the CRDs are in place."""
    controlplane.kubectl.apply_crds()
    pki = Authority(controlplane.kubeconfig.parent)
    server = json.loads(controlplane.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return pki.kubeconfig(USER, f"/O=system:masters/CN={USER}", server)


@pytest.fixture(scope="module")
def operator(controlplane: ControlPlane, minio: Minio) -> Iterator[Operator]:
    """A running operator with short intervals and a name of its own in the audit log, and the CRDs in place."""
    kubeconfig = named_kubeconfig(controlplane)
    state = State.create(f"operator-{os.getpid()}", owned=True)
    try:
        yield Operator(state, kubeconfig, minio, resyncSeconds=2, progressSeconds=0.5, verifySeconds=60)
    finally:
        state.remove()


@pytest.fixture
def standin(controlplane: ControlPlane, operator: Operator) -> Iterator[Standin]:
    """Plays pods and their controllers; where nobody joined, it does nothing."""
    playing = Standin(Server(controlplane.kubeconfig))
    yield playing
    playing.close()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A name of the test's own."""
    return re.sub(r"[^a-z]+", "-", str(request.node.name))[-60:].strip("-")


@pytest.fixture
def play(standin: Standin, namespace: str) -> Play:
    """What happens in the test's namespace."""
    return standin.join(namespace)


def trains(standin: Standin, play: Play, namespace: str) -> None:
    """Returns once job `a` of the namespace has a pod in training, which stays until `play.hold` lets go."""
    play.hold = {"trainer"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Training")
    standin.until(lambda: "a-train-1-x" in standin.names("Pod", namespace), "its pod runs")  # the Job comes first
