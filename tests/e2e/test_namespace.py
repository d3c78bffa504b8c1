"""A namespace goes away with everything in it."""

from __future__ import annotations

from tests.e2e.world import World


def test_a_namespace_is_deleted_with_everything_in_it(world: World) -> None:
    world.cartpole()
    world.train("first")
    world.deploy(world.trained("first"))
    world.deciding("cartpole-1")
    world.train("second")
    world.until("trainingjob", "second", lambda o: o["status"].get("attempt") == 1, "started")
    world.cluster.kubectl("delete", "namespace", world.name, "--timeout=500s", seconds=520)
