"""kubectl against a cluster that is named, never against an ambient one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY
from tests.cluster.steps import ClusterError, wait_until

from checkrein.api.crds import RESOURCES
from checkrein.api.meta import GROUP

CRDS = REPOSITORY / "crds"


class KubectlError(ClusterError):
    """kubectl refused or failed; the text is what it said."""


class Kubectl:
    """Runs kubectl as the user of one kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.command = [str(binaries.kube()), "kubectl", "--kubeconfig", str(kubeconfig)]

    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """Its standard output. Raises KubectlError with what it said on standard error."""
        try:
            run = subprocess.run(
                [*self.command, *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise KubectlError(f"kubectl {' '.join(arguments)} took longer than {seconds:.0f} s.") from None
        if run.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {run.stderr.strip()}")
        return run.stdout

    def apply(self, *objects: Mapping[str, Any], namespace: str = "default") -> str:
        """Applies objects on the server's side, strictly: an unknown field is an error."""
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        options = ("--server-side", "--force-conflicts", "--validate=strict", "-n", namespace)
        return self("apply", *options, "-f", "-", stdin=items)

    def apply_crds(self) -> None:
        """Our kinds, strictly, and once this returns they are served."""
        self("apply", "--server-side", "--validate=strict", "-f", str(CRDS))
        self.established()

    def established(self) -> None:
        """Waits until our kinds are served, to kubectl's eyes too."""
        self.served(*(f"{resource.plural}.{GROUP}" for resource in RESOURCES))

    def served(self, *kinds: str) -> None:
        """Waits until PLURAL.GROUP are served: some seconds after their CRDs are said to be `Established`. kubectl asks
        what there is, of which the API server tells later still.
        """

        def listed() -> bool:
            try:
                for kind in kinds:
                    self("get", kind, "--all-namespaces", "-o", "name")
            except KubectlError:
                return False
            return True

        wait_until(listed, 180, otherwise=lambda: KubectlError(f"not served after 180 s: {', '.join(kinds)}"))

    def get(self, kind: str, name: str, *, namespace: str = "default") -> dict[str, Any]:
        """One object. Raises KubectlError where it does not exist."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "-n", namespace, "-o", "json"))
        return found
