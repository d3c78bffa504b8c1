"""An episode as an animated GIF, in a process of its own: a renderer that hangs or crashes takes nothing along.

`python -m checkrein.train.frames`: a `Replay` as JSON on standard input, the GIF on standard output.
"""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from contextlib import closing
from typing import Any

import numpy as np
from pydantic import Field

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.meta import Model, bounded
from checkrein.api.recording import FRAMES_LIMIT
from checkrein.api.spaces import Space
from checkrein.train.failures import describe
from checkrein.wrappers.environments import EnvironmentFault, make_environment

SECONDS = 60.0
MOST_FRAMES = 150
WIDTH = 300  # pixels
SHORTEST_MS = 20  # browsers show a shorter frame for 100 ms
RGB = 3
HEADLESS = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "MUJOCO_GL": "egl"}
"""Where the image says nothing else."""
log = logging.getLogger(__name__)


class Replay(Model):
    """An episode by its seed and its actions, each flat in C order."""

    environment: RLEnvironmentSpec
    action: Space
    seed: int
    actions: list[list[float]] = Field(min_length=1)


class NoFrames(Exception):  # noqa: N818 - says what happened
    """There is nothing to see, with the reason as a sentence."""


def rendered(replay: Replay, seconds: float = SECONDS) -> bytes:
    """The GIF. Raises NoFrames."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "checkrein.train.frames"],
            input=replay.model_dump_json(by_alias=True, exclude_none=True).encode(),
            capture_output=True,
            timeout=seconds,
            env=HEADLESS | os.environ,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoFrames(f"no picture: rendering took more than {seconds:g} s") from error
    if done.returncode or not done.stdout:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NoFrames(f"no picture: {bounded(last, 300) or f'the renderer ended with status {done.returncode}'}")
    if len(done.stdout) > FRAMES_LIMIT:
        raise NoFrames(f"no picture: it takes {len(done.stdout)} bytes, more than {FRAMES_LIMIT}")
    return done.stdout


def render(replay: Replay) -> bytes:
    """In this process. Raises NoFrames, and whatever the environment raises."""
    arguments = {**replay.environment.source.gymnasium.arguments, "render_mode": "rgb_array"}
    source = replay.environment.source.gymnasium.model_copy(update={"arguments": arguments})
    spec = replay.environment.model_copy(
        update={"source": replay.environment.source.model_copy(update={"gymnasium": source})}
    )
    try:
        made = make_environment(spec)
    except EnvironmentFault as fault:
        raise NoFrames("the environment cannot be made with render_mode rgb_array") from fault
    with closing(made) as env:
        modes = env.metadata.get("render_modes") or ()
        if "rgb_array" not in modes:
            raise NoFrames(f"the environment renders {', '.join(map(str, modes)) or 'nothing'}, not rgb_array")
        frames, stride = _play(env, replay)
        fps = float(env.metadata.get("render_fps") or 30)
    return animation(frames, stride * 1000 / fps)


def _play(env: Any, replay: Replay) -> tuple[list[Any], int]:
    """Every so many steps a frame. How many."""
    stride = -(-len(replay.actions) // MOST_FRAMES)
    env.reset(seed=replay.seed)
    frames = [_small(env.render())]
    for step, flat in enumerate(replay.actions, start=1):
        _, _, terminated, truncated, _ = env.step(as_action(replay.action, flat))
        if step % stride == 0 or terminated or truncated:
            frames.append(_small(env.render()))
        if terminated or truncated:
            break
    return frames, stride


def as_action(space: Space, flat: list[float]) -> Any:
    """An action as the environment takes it, from its elements."""
    array = np.asarray(flat).astype(space.dtype)
    if space.type == "Discrete":
        return array[0]
    return array.reshape(space.shape) if space.type in ("Box", "MultiBinary") else array


def _small(frame: Any) -> Any:
    from PIL import Image

    if not isinstance(frame, np.ndarray) or frame.ndim != RGB or frame.shape[2] != RGB:
        raise NoFrames(f"render() gave {type(frame).__name__} instead of an array [height, width, 3]")
    image = Image.fromarray(frame.astype(np.uint8))
    image.thumbnail((WIDTH, WIDTH))
    return image


def animation(frames: list[Any], milliseconds: float) -> bytes:
    """Pillow images as a GIF that loops, every second one left out until it is small enough."""
    while True:
        file = io.BytesIO()
        shown = max(SHORTEST_MS, round(milliseconds))
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=shown, loop=0, optimize=True)
        if len(file.getvalue()) <= FRAMES_LIMIT or len(frames) == 1:
            return file.getvalue()
        frames, milliseconds = frames[::2], milliseconds * 2


def main() -> None:
    """`python -m checkrein.train.frames`."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries greet there
    try:
        gif = render(Replay.model_validate_json(sys.stdin.buffer.read()))
    except NoFrames as no:
        sys.exit(str(no))
    except Exception as error:
        log.exception("the renderer failed")
        sys.exit(describe(error))
    with os.fdopen(out, "wb") as file:
        file.write(gif)


if __name__ == "__main__":
    main()
