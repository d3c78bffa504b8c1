"""`checkrein-play`: plays episodes of a gymnasium environment against an agent, from a pod or from a laptop.

Exit status: 0 where every episode was played to its end, 1 where one failed, 2 where nothing could be played.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from checkrein.api.environment import EnvironmentSource, GymnasiumSource, RLEnvironmentSpec
from checkrein.api.wrappers import Wrapper
from checkrein.client import vector
from checkrein.client.aio import AsyncAgentClient
from checkrein.client.gymnasium_driver import EpisodeResult, Signals
from checkrein.wrappers.environments import EnvironmentFault, make_environment


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser("checkrein-play", description="Play episodes whose actions an agent decides.")
    parser.add_argument("--url", required=True, help="address of the agent, for example http://cartpole-agent")
    parser.add_argument("--environment", required=True, help="gymnasium id, for example CartPole-v1")
    parser.add_argument("--arguments", type=_object, default={}, help="JSON object of the environment's arguments")
    parser.add_argument("--module", default="", help="Python module to import first, so that it registers its ids")
    parser.add_argument(
        "--wrappers",
        type=_wrappers,
        default=[],
        help="spec.wrappers of the RLEnvironment as JSON: those at Client are run here, and the agent must expect them",
    )
    parser.add_argument("--episodes", type=_count, default=1, help="how many episodes (default: %(default)s)")
    parser.add_argument(
        "--copies", type=_count, default=1, help="how many are played side by side, over a connection each"
    )
    parser.add_argument("--stream", action="store_true", help="ask over WebSockets instead of HTTP requests")
    parser.add_argument("--cost", metavar="KEY", help="entry of the step's info that is told as cost")
    parser.add_argument("--objective", metavar="KEY", help="entry of the step's info that is told as true objective")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode; later ones count on")
    parser.add_argument("--token-file", type=Path, help="file with a service account token for audience checkrein.dev")
    parser.add_argument("--wait", type=float, default=30, help="seconds to wait for an agent that is not ready")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of text")
    return parser


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def _wrappers(text: str) -> list[Wrapper]:
    try:
        return TypeAdapter(list[Wrapper]).validate_json(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"is no spec.wrappers: {error.errors()[0]['msg']}") from error


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too few: play at least 1 episode")
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    options = arguments().parse_args(argv)
    results: list[EpisodeResult] = []

    def tell(result: EpisodeResult | vector.Failure) -> None:
        if isinstance(result, vector.Failure):
            print(f"checkrein-play: episode with seed {result.seed} failed: {result.error}", file=sys.stderr)
        else:
            results.append(result)
            print(line(result, options.json), flush=True)

    try:
        asyncio.run(_play(options, tell))
    except (EnvironmentFault, ValueError) as error:
        print(f"checkrein-play: {error}", file=sys.stderr)
        sys.exit(2)
    print(summary(results, options.episodes, options.json))
    sys.exit(0 if len(results) == options.episodes else 1)


async def _play(options: argparse.Namespace, tell: vector.Tell) -> None:
    """All episodes. Raises EnvironmentFault, ValueError; WrapperMismatchError where the agent expects others."""
    source = GymnasiumSource(id=options.environment, arguments=options.arguments, module=options.module)
    spec = RLEnvironmentSpec(source=EnvironmentSource(gymnasium=source), wrappers=options.wrappers)
    envs = [make_environment(spec) for _ in range(min(options.copies, options.episodes))]

    def connect() -> AsyncAgentClient:
        return AsyncAgentClient(options.url, options.token_file, wait=options.wait, stream=options.stream)

    seeds = range(options.seed, options.seed + options.episodes)
    await vector.play(connect, envs, seeds, tell, Signals(options.cost, options.objective), spec.wrappers)


def line(result: EpisodeResult, as_json: bool) -> str:
    """One episode, for people or for programs."""
    if as_json:
        return json.dumps(asdict(result))
    who = ", ".join(result.policies)
    return f"episode {result.seed}: return {result.episode_return:g}, length {result.length}, policy {who}"


def summary(results: Sequence[EpisodeResult], episodes: int, as_json: bool) -> str:
    """All episodes together."""
    policies = list(dict.fromkeys(name for result in results for name in result.policies))
    mean = statistics.fmean(r.episode_return for r in results) if results else None
    least = min((r.episode_return for r in results), default=None)
    if as_json:
        return json.dumps(
            {"episodes": len(results), "failed": episodes - len(results), "mean": mean, "min": least}
            | {"policies": policies}
        )
    if mean is None:
        return f"no episode of {episodes} was played"
    played = f"{len(results)} of {episodes} episodes"
    return f"{played}: mean return {mean:.1f}, least {least:g}, policies {', '.join(policies)}"


if __name__ == "__main__":
    main()
