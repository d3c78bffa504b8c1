"""The probe's checks, run in a process of their own; `announce` tells the parent which one is running."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import closing

import gymnasium
from gymnasium.utils.env_checker import check_env

from checkrein.api.digests import canonical_json
from checkrein.api.environment import Check, Findings, RewardBounds, RLEnvironmentSpec, Safety
from checkrein.api.meta import bounded
from checkrein.api.spaces import Interface
from checkrein.api.tasks import ProbeReport
from checkrein.shield.guard import Guard, ShieldError
from checkrein.train.failures import Failed, describe
from checkrein.train.packages import packages_digest
from checkrein.train.play import Env, Limits, Record, play, same_trajectory
from checkrein.wrappers.environments import EnvironmentFault, make_environment, make_for_learning, step_limit
from checkrein.wrappers.spaces import UnsupportedSpaceError, interface

SEED = 0
COMPARED_STEPS = 200
REPORTED_WARNINGS = 4
# What a report can hold of two spaces, next to the findings.
MOST_BOUNDS_BYTES = 2500
_DECORATION = re.compile(r"\x1b\[[0-9;]*m|WARN: ")

Announce = Callable[[str], None]


def probe(spec: RLEnvironmentSpec, seconds: float, announce: Announce) -> ProbeReport:
    """Every check in turn; random play takes at most `seconds` / 4. Raises Failed if nothing can be checked."""
    announce("Make")
    with closing(_make(spec)) as env:
        announce("Spaces")
        spaces = _spaces(spec, env)
        _require_learnable(spec)
        announce("Deterministic")
        deterministic = check_deterministic(spec, env)
        announce("API")
        api = check_api(env, deterministic.passed)
        announce("Play")
        record = play(env, SEED, Limits(most_seconds=seconds / 4))
        checks = [
            Check(name="Spaces", passed=True, message=f"{spaces.observation.describe()}, {spaces.action.describe()}"),
            api,
            check_finite(record),
            check_episodes_end(record, step_limit(env)),
            check_reward_bounds(record, spec.reward.bounds),
            check_safety(spec.safety, spaces),
        ]
    failed = next((check for check in checks if not check.passed), None)
    return ProbeReport(
        failure=_check_failed(spec, f"{failed.name}: {failed.message}").failure if failed else None,
        interface=spaces,
        findings=Findings(
            deterministic=deterministic.passed,
            steps_per_second=round(record.steps / record.seconds) if record.seconds else None,
            checks=[*checks, deterministic],
        ),
        packages=packages_digest(),
    )


def check_api(env: Env, deterministic: bool) -> Check:
    """gymnasium's own checker: its assertion fails the probe, its warnings are told."""
    bare = env.unwrapped
    if bare.spec is not None and not deterministic:
        bare.spec.nondeterministic = True  # has a check of its own, which does not fail the probe
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(bare, skip_render_check=True, skip_close_check=True)
        except (AssertionError, TypeError, AttributeError, gymnasium.error.Error) as error:
            return Check(name="API", passed=False, message=bounded(f"gymnasium's check_env: {describe(error)}"))
    told = dict.fromkeys(_DECORATION.sub("", str(warning.message)) for warning in caught)
    return Check(name="API", passed=True, message=bounded(" ".join(list(told)[:REPORTED_WARNINGS])))


def check_deterministic(spec: RLEnvironmentSpec, env: Env) -> Check:
    """Two copies, one seed, the same actions. A finding: learning does not need it, repeating a run does."""
    with closing(_make(spec)) as other:
        where = same_trajectory(env, other, SEED, COMPARED_STEPS)
    message = f"{where} differs under the same seed and actions: no run can be repeated exactly" if where else ""
    return Check(name="Deterministic", passed=not where, message=message)


def check_finite(record: Record) -> Check:
    """No NaN and no infinity reached the player."""
    message = f"{record.not_finite} is NaN or infinite; correct the environment" if record.not_finite else ""
    return Check(name="Finite", passed=not message, message=message)


def check_episodes_end(record: Record, limit: int | None) -> Check:
    """Some episode came to its end, or a limit sees to it."""
    if record.returns or limit or record.not_finite:
        return Check(name="EpisodesEnd", passed=True, message="")
    return Check(
        name="EpisodesEnd",
        passed=False,
        message=f"an episode had not ended after {record.open_length} steps and nothing limits it; "
        "set spec.safety.maxEpisodeSteps",
    )


def check_reward_bounds(record: Record, bounds: RewardBounds | None) -> Check:
    """The returns of random play lie within the declared bounds."""
    if bounds is None:
        return Check(name="RewardBounds", passed=True, message="none declared")
    outside = [value for value in record.returns if not float(bounds.min) <= value <= float(bounds.max)]
    if outside:
        message = (
            f"an episode of random play returned {outside[0]:g}, outside spec.reward.bounds "
            f"[{bounds.min}, {bounds.max}]; widen them"
        )
        return Check(name="RewardBounds", passed=False, message=message)
    played = (
        f"{len(record.returns)} episodes of random play" if record.returns else "not checked: no episode ended in time"
    )
    return Check(name="RewardBounds", passed=True, message=played)


def check_safety(safety: Safety, interface: Interface) -> Check:
    """The rules as an agent compiles them, and a name for each element of an observation."""
    size, message = interface.observation.size, ""
    try:
        Guard(safety.shield, interface, safety.features, None)
    except ShieldError as error:
        message = bounded(f"spec.safety: {error}")
    if safety.features and len(safety.features) != size:
        message = f"spec.safety.features has {len(safety.features)} names, an observation has {size} elements"
    return Check(name="Safety", passed=not message, message=message)


def _make(spec: RLEnvironmentSpec) -> Env:
    try:
        return make_environment(spec)
    except EnvironmentFault as fault:
        raise Failed(fault.reason, str(fault), permanent=True) from fault


def _require_learnable(spec: RLEnvironmentSpec) -> None:
    """The wrappers at Policy fit as well."""
    try:
        make_for_learning(spec).close()
    except EnvironmentFault as fault:
        raise Failed(fault.reason, str(fault), permanent=True) from fault


def _check_failed(spec: RLEnvironmentSpec, found: str) -> Failed:
    message = f"spec.source.gymnasium.id: {spec.source.gymnasium.id} fails check {found}"
    return Failed("CheckFailed", message, permanent=True)


def _spaces(spec: RLEnvironmentSpec, env: Env) -> Interface:
    try:
        found = interface(env, spec.wrappers)
    except UnsupportedSpaceError as error:
        raise _check_failed(spec, f"Spaces: {error}") from error
    if len(canonical_json(found.dump())) > MOST_BOUNDS_BYTES:
        raise _check_failed(
            spec,
            "Spaces: the bounds of the spaces differ from element to element and are too many to report; "
            "use the same low and high for all elements of a Box, and few members in a Dict",
        )
    return found
