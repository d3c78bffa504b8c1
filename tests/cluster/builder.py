"""Builds the images inside namespaces of its own; `tests.cluster.images.build` starts it.

Mounts are private and all processes end with this one. Base image first, then the others side by side.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster import binaries
from tests.cluster.cache import folder
from tests.cluster.images import BASE_COMMAND, BASE_PACKAGES, BASE_SUITE, NODE_REGISTRY, Recipe, recipes, registry
from tests.cluster.processes import LOG_TAIL, run
from tests.cluster.registry import configuration
from tests.cluster.steps import ClusterError, say, step, wait_until

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")
# Ten times as fast as gzip; buildah's --disable-compression does not reach registries.
COMPRESSION = ("--compression-format", "zstd", "--compression-level", "1")
# Where buildah remembers which layers a registry has, by the registry's address.
PUSHED_LAYERS = Path("/var/lib/containers/cache")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Builder:
    """buildah on storage in the cache. Its run-time state is a tmpfs of these namespaces, so none is ever stale."""

    def __init__(self, wanted: Mapping[str, Recipe]) -> None:
        self._wanted = wanted  # read once: sources may change while images are built
        state = folder("images", "run")
        run("mount", ["mount", "-t", "tmpfs", "tmpfs", state])
        PUSHED_LAYERS.mkdir(parents=True, exist_ok=True)
        run("mount", ["mount", "--bind", folder("images", "pushed"), PUSHED_LAYERS])
        storage = ["--root", folder("buildah"), "--runroot", state, "--storage-driver", "overlay"]
        self._buildah = ["buildah", *map(str, storage)]
        self._pip = state / "pip.conf"
        self._pip.write_text(pip_configuration())
        self._push_to = registry()
        if self._push_to == NODE_REGISTRY:
            self._push_to = serve(state)
        self._call("rm", "--all")  # containers of a build that was killed

    def ensure(self, recipe: Recipe) -> None:
        """Builds and pushes one image unless it is there."""
        if self._pushed(recipe):
            return
        if not self._call("images", "--quiet", "--filter", f"reference={local(recipe)}"):
            self._make(recipe)
        with step(f"storing image {recipe.name}"):
            options = ["--tls-verify=false"] if registry() == NODE_REGISTRY else []
            target = f"docker://{self._push_to}/{recipe.name}:{recipe.tag}"
            self._call("push", "--quiet", *COMPRESSION, *options, local(recipe), target)

    def _make(self, recipe: Recipe) -> None:
        with step(f"building image {recipe.name}"):
            if recipe.dockerfile is None:
                self._make_base(recipe)
            else:
                self._make_from(recipe, recipe.dockerfile)

    def _make_from(self, recipe: Recipe, dockerfile: Path) -> None:
        if recipe.name == "minio":
            (recipe.context / "minio").unlink(missing_ok=True)
            os.link(binaries.minio(), recipe.context / "minio")
        base = f"BASE_IMAGE={local(self._wanted[recipe.base])}"
        arguments = ["--build-arg", base, "--file", dockerfile, "--tag", local(recipe)]
        mounts = ["--volume", f"{certificates()}:{CERTIFICATES}:ro", "--volume", f"{self._pip}:/etc/pip.conf:ro"]
        command = [*self._buildah, "build", "--isolation", "chroot", "--layers", *mounts, *arguments, recipe.context]
        follow(recipe.name, [str(part) for part in command])

    def _make_base(self, recipe: Recipe) -> None:
        """Debian's Python and nothing else, from the mirror that this machine's apt uses."""
        with TemporaryDirectory(dir=folder("images")) as root:
            include = f"--include={','.join(BASE_PACKAGES)}"
            run("debootstrap", ["debootstrap", "--variant=minbase", include, BASE_SUITE, root, *mirror()])
            for archive in Path(root, "var/cache/apt/archives").glob("*.deb"):
                archive.unlink()
            container = self._call("from", "scratch")
            self._call("add", "--quiet", container, root, "/")
        self._call("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", "--cmd", BASE_COMMAND, container)
        self._call("commit", "--quiet", "--rm", container, local(recipe))

    def _pushed(self, recipe: Recipe) -> bool:
        if registry() != NODE_REGISTRY:
            return False  # a push sends only what that registry lacks
        address = f"http://{self._push_to}/v2/{recipe.name}/manifests/{recipe.tag}"
        request = urllib.request.Request(address, method="HEAD", headers={"Accept": MANIFEST})
        try:
            with urllib.request.urlopen(request, timeout=10):
                return True
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False

    def _call(self, *arguments: str) -> str:
        return run(f"buildah {arguments[0]}", [*self._buildah, *arguments]).strip()


def local(recipe: Recipe) -> str:
    """An image's name in buildah's storage."""
    return f"localhost/{recipe.name}:{recipe.tag}"


def serve(state: Path) -> str:
    """Starts a registry on the cache's folder and returns its host:port. It ends with these namespaces."""
    address = own_address()
    config = state / "registry.yaml"
    config.write_text(configuration(address))
    log = folder("images") / "registry.log"
    with log.open("wb") as output:
        subprocess.Popen(["docker-registry", "serve", str(config)], stdout=output, stderr=subprocess.STDOUT)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/v2/", timeout=2):
                return True
        except OSError:
            return False

    wait_until(answers, 60, otherwise=lambda: ClusterError(f"The image registry does not start:\n{log.read_text()}"))
    return address


def own_address() -> str:
    """An address of the loopback network that depends on the cache alone, so that buildah knows the registry again."""
    second, third, fourth = hashlib.sha256(str(folder()).encode()).digest()[:3]
    return f"127.{second}.{third}.{fourth % 254 + 1}:5000"


def follow(name: str, command: list[str]) -> None:
    """Runs a build, telling each step of its Dockerfile. Raises ClusterError with the end of its output."""
    log = folder("images") / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            output.flush()
            if ": RUN " in line:
                say(f"  {name}: {line.strip().partition(': ')[2][:100]}")
    if process.wait():
        raise ClusterError(f"Building image {name} failed. The end of {log}:\n{log.read_text()[-LOG_TAIL:]}")


def certificates() -> str:
    """This machine's trusted certificates: behind a proxy that signs anew, an image's own are not enough."""
    return os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or CERTIFICATES


def pip_configuration() -> str:
    """Where this machine's pip looks for packages, for the time of a build only."""
    values = {}
    for line in sorted(run("pip config", [sys.executable, "-m", "pip", "config", "list"]).splitlines(), reverse=True):
        key, _, value = line.partition("=")
        values[key.rpartition(".")[2]] = value.strip("'\"")
    chosen = {key: value for key, value in values.items() if key in PIP_OPTIONS} | {"cert": CERTIFICATES}
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in chosen.items()), ""])


def mirror() -> list[str]:
    """The Debian archive of this machine's apt; none leaves the choice to debootstrap."""
    query = ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = [line for line in run("apt-get indextargets", query).splitlines() if line.rstrip("/").endswith("/debian")]
    return found[:1]


def main() -> int:
    """Ensures all images. Prints what fails and returns 1."""
    try:
        wanted = recipes()
        builder = Builder(dict(wanted))
        builder.ensure(wanted.pop("base"))
        with ThreadPoolExecutor() as pool:
            list(pool.map(builder.ensure, [r for r in wanted.values() if r.base == "base"]))
        for recipe in wanted.values():
            builder.ensure(recipe)
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
