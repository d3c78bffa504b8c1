"""What spec.override says now, as conditions. The replicas obey the field itself; nothing here stands between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus, Override
from checkrein.api.meta import bounded
from checkrein.control.conditions import Writer

CONDITION = "Overridden"
ACTION_LIMIT = 64


def active(agent: AgentDeployment, now: datetime) -> Override | None:
    """The override, unless its time is over."""
    override = agent.spec.override
    if override is None or (override.until is not None and override.until <= now):
        return None
    return override


def time_left(agent: AgentDeployment, now: datetime) -> timedelta | None:
    """Until the override ends by itself; None where it does not, or has ended."""
    override = active(agent, now)
    return override.until - now if override and override.until else None


def told(agent: AgentDeployment, status: AgentDeploymentStatus, write: Writer) -> AgentDeploymentStatus:
    """The status with condition Overridden. Where there never was an override, there is no condition either.

    Reason and message say all that is to be known of the override, so that each change of it becomes an Event.
    """
    override = agent.spec.override
    if override is None:
        if conditions.get(status.conditions, CONDITION) is None:
            return status
        return write.put(status, CONDITION, False, "Lifted", "spec.override was taken away; automation decides again")
    if active(agent, write.now) is None:
        message = f"spec.override: {described(override)}: its time is over; automation decides again"
        return write.put(status, CONDITION, False, "Expired", message)
    return write.put(status, CONDITION, True, override.mode, f"spec.override: {described(override)}")


def described(override: Override) -> str:
    """Mode, person, end and reason in one line."""
    action = bounded(str(override.action), ACTION_LIMIT)  # a long one must not push the reason out of the message
    what = {"Pin": f" {override.policy_version}", "Action": f" {action}"}.get(override.mode, "")
    end = f"until {override.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if override.until else "until it is taken away"
    return f"{override.mode}{what} by {override.by} {end}: {override.reason}"
