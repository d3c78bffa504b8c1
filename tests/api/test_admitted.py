"""What a real API server makes of good and bad objects: each bad one is refused with a message that names the field."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.objects import DIGEST, MISSING, agent, changed, environment, policy_version, training
from tests.api.server import Refused, Server

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]

MINIMAL_TRAINING = {
    "environmentRef": {"name": "cartpole"},
    "algorithm": {"name": "DQN"},
    "budget": {"steps": 1},
    "publish": {"policy": "p"},
}
TOLERATIONS = "spec.template.tolerations"
OVERRIDE = {"mode": "Fallback", "reason": "a fault", "by": "ops", "until": "2026-12-01T12:00:00Z"}
STOP = {"mode": "Stop", "reason": "a fault", "by": "ops"}
REPORTERS = [f"system:serviceaccount:a:b{i}" for i in range(65)]


def bad_rules(path: str) -> list[Any]:
    """The same rules in an environment and in a deployment."""
    return [
        pytest.param(f"{path}.0.name", MISSING, "Required value", id="a rule without a name"),
        pytest.param(f"{path}.0.name", "No Push", "should match", id="a rule with a name of two words"),
        pytest.param(f"{path}.0", {"name": "idle"}, "set exactly one of forbid, clip", id="a rule that rules nothing"),
        pytest.param(
            f"{path}.0",
            {"name": "two", "forbid": [0], "require": "true"},
            "set exactly one of forbid, clip",
            id="a rule that is two",
        ),
        pytest.param(f"{path}.3", {"name": "narrow", "forbid": [0]}, "Duplicate value", id="two rules by one name"),
        pytest.param(f"{path}.0.forbid", [], "at least 1 items", id="nothing forbidden"),
        pytest.param(f"{path}.0.forbid", [0.5], "must be of type integer", id="half an action forbidden"),
        pytest.param(f"{path}.0.forbid", list(range(257)), "at most 256", id="too much forbidden"),
        pytest.param(f"{path}.0.when", "", "at least 1 char", id="an empty condition"),
        pytest.param(f"{path}.0.when", "x" * 1025, "Too long", id="a long condition"),
        pytest.param(f"{path}.0.otherwise", "Warn", "supported values", id="an unknown consequence"),
        pytest.param(f"{path}.1.clip.low", MISSING, "Required value", id="a clip without its lower end"),
        pytest.param(f"{path}.1.clip.high.0", "wide", "should match", id="a clip that is no number"),
        pytest.param(f"{path}.1.clip.high.0", 0.5, "must be of type string", id="a clip that is a float"),
        pytest.param(f"{path}.1.clip.high", ["1"] * 1025, "at most 1024", id="a clip of too many"),
        pytest.param(f"{path}.2.maxChange", [], "at least 1 items", id="a change of nothing"),
        pytest.param(f"{path}.3.require", "", "at least 1 char", id="an empty requirement"),
        pytest.param(path, [{"name": f"r{i}", "forbid": [0]} for i in range(33)], "at most 32", id="too many rules"),
    ]


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(environment(), id="an environment with every field"),
        pytest.param(
            changed(environment(), "spec", {"source": {"gymnasium": {"id": "CartPole-v1"}}}),
            id="an environment that names its source only",
        ),
        pytest.param(changed(environment(), "spec.reward.success", None), id="null where a field is optional"),
        pytest.param(
            changed(environment(), "spec.reward.bounds", {"min": "-0.5", "max": "475.000000001"}),
            id="negative and fractional bounds",
        ),
        pytest.param(training(), id="a training job with every field"),
        pytest.param(changed(training(), "spec", MINIMAL_TRAINING), id="a training job with what is required"),
        pytest.param(changed(training(), "spec.algorithm.acting", "Stochastic"), id="a policy that draws its actions"),
        pytest.param(changed(training(), "spec.template.resources.limits.cpu", 2), id="a quantity as a number"),
        pytest.param(changed(training(), "spec.tracking", {"wandb": {}}), id="a tracker that is only named"),
        pytest.param(policy_version(), id="a policy version with every field"),
        pytest.param(
            policy_version("a-b-12", policy="a-b", version=12),
            id="a policy version whose policy has a dash in its name",
        ),
        pytest.param(agent(), id="an agent deployment with every field"),
        pytest.param(
            changed(agent(), "spec", {"policyVersion": "cartpole-1"}), id="an agent deployment with what is required"
        ),
        pytest.param(
            changed(agent(), "spec.auth", {"mode": "None", "reporters": ["system:serviceaccount:games:reporter"]}),
            id="an agent that anybody may ask, and that listens to a reporter",
        ),
        pytest.param(changed(agent(), "spec.fallback", {"action": [1]}), id="a fallback that is an action"),
        pytest.param(
            changed(changed(agent(), "spec.fallback", {"policyVersion": "a-1"}), "spec.limits.exceeded", "Reject"),
            id="a fallback that is a version",
        ),
        pytest.param(changed(agent(), "spec.override", OVERRIDE), id="an override by the fallback"),
        pytest.param(changed(agent(), "spec.override", STOP), id="a stop without an end"),
        pytest.param(changed(agent(), "spec.override", STOP | {"until": "2026-12-01T12:00:00.5+02:00"}), id="with one"),
        pytest.param(
            changed(agent(), "spec.override", OVERRIDE | {"mode": "Action", "action": [0.5, -1e-3, 1e6]}),
            id="an override by an action",
        ),
        pytest.param(changed(agent(), "spec.limits", {"decisionsPerSecond": 1}), id="a limit without a burst"),
        pytest.param(
            changed(agent(), "spec.exploration", {"boltzmann": {"temperature": "0.5"}}), id="exploration by softmax"
        ),
        pytest.param(changed(agent(), "spec.exploration", {"gaussian": {"sigma": "0.1"}}), id="exploration by noise"),
        pytest.param(changed(agent(), "spec.episodeDeadline", "168h"), id="episodes of a week"),
        pytest.param(changed(agent(), "spec.decisionLog.volume", {"size": 10**9}), id="a volume in bytes"),
        pytest.param(changed(agent(), "spec.shield.1.clip.low", ["-0.5"] * 1024), id="a bound for each element"),
    ],
)
def test_good_objects_are_accepted(server: Server, obj: Raw) -> None:
    server.create(obj, dry_run=True)


# The object, the field that is changed, its value, and what the message must say beside the field's name.
BAD_ENVIRONMENTS = [
    pytest.param("spec", MISSING, "Required value", id="no spec"),
    pytest.param("spec.source", MISSING, "Required value", id="no source"),
    pytest.param("spec.source.gymnasium", MISSING, "Required value", id="a source without a member"),
    pytest.param("spec.source.gymnasium.id", "", "at least 1 char", id="an empty id"),
    pytest.param("spec.source.gymnasium.id", "x" * 129, "Too long", id="a long id"),
    pytest.param("spec.source.gymnasium.kwargs", [1], "must be of type object", id="arguments without names"),
    pytest.param(
        "spec.source.gymnasium.kwargs", {f"k{i}": i for i in range(65)}, "at most 64", id="too many arguments"
    ),
    pytest.param("spec.source.gymnasium.module", "os; import x", "should match", id="a module that is no module"),
    pytest.param("spec.version", "", "at least 1 char", id="an empty version"),
    pytest.param("spec.version", 1, "must be of type string", id="a version that is a number"),
    pytest.param("spec.image", "x" * 513, "Too long", id="a long image"),
    pytest.param("spec.reward.bounds.min", MISSING, "Required value", id="a bound without its fellow"),
    pytest.param("spec.reward.bounds.min", "-zero", "should match", id="a bound that is no number"),
    pytest.param("spec.reward.bounds.min", 0.5, "must be of type string", id="a bound that is a float"),
    pytest.param("spec.reward.bounds.min", "500", "min must be below max", id="bounds without room between"),
    pytest.param("spec.reward.success", "500.1", "success must lie within bounds", id="a success out of reach"),
    pytest.param("spec.safety.maxEpisodeSteps", 0, "greater than or equal to 1", id="episodes without steps"),
    pytest.param("spec.safety.features.0", "speed (m/s)", "should match", id="a feature that no expression can name"),
    pytest.param("spec.safety.features", ["x"] * 1025, "at most 1024", id="too many features"),
    *bad_rules("spec.safety.shield"),
    pytest.param("spec.safety.maxEpisodeSteps", 10**8, "less than or equal to 10000000", id="endless episodes"),
    pytest.param("metadata.name", "x" * 41, "40", id="a name too long to derive children's names from"),
    pytest.param("metadata.name", "cart.pole", "should match", id="a name with a dot"),
]
BAD_TRAINING = [
    pytest.param("metadata.name", "x" * 41, "40", id="a name too long to derive children's names from"),
    pytest.param("spec.environmentRef", MISSING, "Required value", id="no environment"),
    pytest.param("spec.environmentRef.name", "Cart Pole", "should match", id="an environment that cannot be"),
    pytest.param("spec.algorithm.name", "PPPO", 'supported values: "PPO"', id="an unknown algorithm"),
    pytest.param("spec.algorithm.network.hidden", [64] * 17, "at most 16", id="too deep a network"),
    pytest.param("spec.algorithm.network.hidden.0", 0, "greater than or equal to 1", id="a layer of nothing"),
    pytest.param("spec.algorithm.network.activation", "swish", "supported values", id="an unknown activation"),
    pytest.param("spec.algorithm.normalize.reward", "yes", "must be of type boolean", id="yes for true"),
    pytest.param("spec.algorithm.hyperparameters", "n_steps=1", "must be of type object", id="a text for arguments"),
    pytest.param(
        "spec.algorithm",
        {"name": "DQN", "acting": "Stochastic"},
        "DQN has no distribution",
        id="drawing where there is nothing to draw from",
    ),
    pytest.param(
        "spec.algorithm",
        {"name": "SAC", "acting": "Stochastic"},
        "squashed by tanh, cannot be told; leave acting Deterministic",
        id="drawing from what cannot be told",
    ),
    pytest.param("spec.budget.steps", MISSING, "Required value", id="no budget"),
    pytest.param("spec.budget.steps", 0, "greater than or equal to 1", id="nothing to do"),
    pytest.param("spec.budget.steps", 10**13, "less than or equal to 1000000000000", id="too much to do"),
    pytest.param("spec.budget.duration", "soon", "should match", id="a duration that is none"),
    pytest.param("spec.budget.duration", "1d", "should match", id="a duration in days"),
    pytest.param("spec.budget.duration", "0s", "duration must be above zero", id="no time at all"),
    pytest.param("spec.budget.duration", "9999999h", "should match", id="more time than a duration holds"),
    pytest.param("spec.environments", 0, "greater than or equal to 1", id="no environment copy"),
    pytest.param("spec.environments", 1025, "less than or equal to 1024", id="too many environment copies"),
    pytest.param("spec.seed", -1, "greater than or equal to 0", id="a negative seed"),
    pytest.param("spec.seed", 3_000_000_000, "less than or equal to 2147483647", id="a seed beyond 31 bits"),
    pytest.param("spec.checkpoint.everySteps", 0, "greater than or equal to 1", id="a checkpoint each no step"),
    pytest.param("spec.checkpoint.keep", 0, "greater than or equal to 1", id="no checkpoint kept"),
    pytest.param("spec.evaluation.episodes", 0, "greater than or equal to 1", id="no evaluation"),
    pytest.param("spec.gates", [{"atLeast": "1"}] * 9, "at most 8", id="too many gates"),
    pytest.param("spec.gates.0.atLeast", MISSING, "Required value", id="a gate without a bar"),
    pytest.param("spec.gates.0.atLeast", 475, "must be of type string", id="a bar that is a number"),
    pytest.param("spec.gates.0.metric", "reward", "supported values", id="a gate on an unknown metric"),
    pytest.param("spec.gates.0.statistic", "max", "supported values", id="a gate on an unknown statistic"),
    pytest.param("spec.gates.0.confidence", "0.5", "confidence must be above 0.5 and below 1", id="a coin's toss"),
    pytest.param("spec.gates.0.confidence", "1", "confidence must be above 0.5 and below 1", id="certainty"),
    pytest.param("spec.tracking.tensorboard", "yes", "must be of type boolean", id="yes for event files"),
    pytest.param("spec.tracking.mlflow.uri", MISSING, "Required value", id="a tracking server that is nowhere"),
    pytest.param("spec.tracking.mlflow.uri", "mlflow:5000", "should match", id="a tracking server without a scheme"),
    pytest.param(
        "spec.tracking.mlflow.uri", "http://me:secret@mlflow", "should match", id="a password where everybody reads"
    ),
    pytest.param("spec.tracking.mlflow.experiment", "x" * 129, "Too long", id="a long experiment"),
    pytest.param("spec.tracking.mlflow.secretRef.name", "My Secret", "should match", id="a Secret that cannot be"),
    pytest.param("spec.tracking.wandb.mode", "Shared", "supported values", id="an unknown mode"),
    pytest.param("spec.tracking.wandb.project", "a/b", "should match", id="a project that is a path"),
    pytest.param("spec.tracking.wandb.entity", "x" * 129, "Too long", id="a long entity"),
    pytest.param("spec.tracking.wandb.baseUrl", "wandb.example", "should match", id="a server without a scheme"),
    pytest.param("spec.tracking.wandb.secretRef", MISSING, "mode Online needs secretRef", id="online without a key"),
    pytest.param("spec.publish.policy", MISSING, "Required value", id="no name to publish under"),
    pytest.param("spec.publish.policy", "x" * 31, "Too long", id="a policy name too long for a number"),
    pytest.param("spec.publish.policy", "CartPole", "should match", id="a policy name with capitals"),
    pytest.param("spec.template.resources.limits.cpu", "lots", "should match", id="a quantity that is none"),
    pytest.param("spec.template.resources.limits.cpu", 1.5, "must be of type integer,string", id="a float quantity"),
    pytest.param(
        "spec.template.resources.limits", {f"r{i}": 1 for i in range(17)}, "at most 16", id="too many resources"
    ),
    pytest.param("spec.template.resources.requests", {"cpu": 2}, "must not exceed limits", id="more than the limit"),
    pytest.param("spec.template.nodeSelector.zone", 1, "must be of type string", id="a label that is a number"),
    pytest.param(TOLERATIONS, [{"operator": "Exists"}] * 17, "at most 16", id="too many tolerations"),
    pytest.param(f"{TOLERATIONS}.0", {"value": "x"}, "key may be empty only", id="a toleration without a key"),
    pytest.param(f"{TOLERATIONS}.0.value", "x", "value must be empty", id="a toleration of a value that exists"),
    pytest.param(
        f"{TOLERATIONS}.0", {"operator": "Exists", "tolerationSeconds": 1}, "effect NoExecute only", id="idle seconds"
    ),
    pytest.param("spec.backoffLimit", -1, "greater than or equal to 0", id="fewer than no retries"),
    pytest.param("spec.activeDeadlineSeconds", 0, "greater than or equal to 1", id="a deadline at once"),
    pytest.param("spec.ttlSecondsAfterFinished", -1, "greater than or equal to 0", id="removal before the end"),
]
BAD_POLICIES = [
    pytest.param("metadata.name", "cartpole-2", "metadata.name must be spec.policy, a dash", id="another's number"),
    pytest.param("metadata.name", "cartpole", "metadata.name must be spec.policy, a dash", id="a name without number"),
    pytest.param("metadata.name", "cartpole-01", "metadata.name must be spec.policy, a dash", id="a padded number"),
    pytest.param("spec.version", 0, "greater than or equal to 1", id="version 0"),
    pytest.param("spec.artifact.digest", DIGEST[:-1], "should match", id="a digest cut short"),
    pytest.param("spec.artifact.digest", DIGEST.upper(), "should match", id="a digest in capitals"),
    pytest.param("spec.artifact.key", "x" * 513, "Too long", id="a long key"),
    pytest.param("spec.artifact.versionId", "", "at least 1 char", id="no version id: latest can be made to lie"),
    pytest.param("spec.artifact.format", "Pickle", "supported values", id="a pickle"),
    pytest.param("spec.artifact.size", -1, "greater than or equal to 0", id="less than no bytes"),
    pytest.param("spec.evaluation", MISSING, "Required value", id="no evaluation"),
    pytest.param("spec.environment.digest", MISSING, "Required value", id="an environment by name only"),
    pytest.param("spec.provenance.trainingJob", MISSING, "Required value", id="no provenance"),
    pytest.param("spec.interface.action.n", MISSING, "a Discrete space needs n", id="Discrete without n"),
    pytest.param("spec.interface.observation.low", MISSING, "a Box space needs low", id="Box without low"),
    pytest.param("spec.interface.observation.high", MISSING, "a Box space needs high", id="Box without high"),
    pytest.param("spec.interface.observation.low.0", "low", "should match", id="a bound that is no number"),
    pytest.param("spec.interface.observation.low", ["0"] * 4097, "at most 4096", id="too many bounds"),
    pytest.param("spec.interface.action.type", "Tuple", "supported values", id="an unknown space"),
]
BAD_AGENTS = [
    pytest.param("metadata.name", "2048", "should match", id="a name that no Service can have"),
    pytest.param("metadata.name", "x" * 41, "40", id="a name too long to derive children's names from"),
    pytest.param("spec.policyVersion", MISSING, "Required value", id="no policy"),
    pytest.param("spec.replicas", -1, "greater than or equal to 0", id="fewer than no replicas"),
    pytest.param("spec.replicas", 1001, "less than or equal to 1000", id="too many replicas"),
    pytest.param("spec.auth.mode", "Nobody", "supported values", id="an unknown mode"),
    pytest.param("spec.auth.callers.0", "bob", "should match", id="a caller that is no service account"),
    pytest.param("spec.auth.callers", ["system:serviceaccount:a:b"] * 2, "Duplicate value", id="a caller twice"),
    pytest.param("spec.auth.callers", REPORTERS, "at most 64", id="too many callers"),
    pytest.param("spec.auth.reporters", REPORTERS, "at most 64", id="too many reporters"),
    pytest.param("spec.auth.reporters.0", "bob", "should match", id="a reporter that is no service account"),
    pytest.param("spec.fallback", {}, "name a policyVersion, an action or both", id="a fallback to nothing"),
    pytest.param("spec.fallback.policyVersion", "A 1", "should match", id="a fallback that cannot be"),
    pytest.param("spec.fallback.action", [], "at least 1 items", id="an empty action"),
    pytest.param("spec.fallback.action", 1, "must be of type array", id="an action that is not in a list"),
    pytest.param("spec.fallback.action.0", "1", "must be of type number", id="an action that is a text"),
    pytest.param("spec.fallback.action.0", None, "must be of type number", id="an action that is not there"),
    pytest.param("spec.fallback.action", [0] * 1025, "at most 1024", id="an action of too many"),
    pytest.param(
        "spec.fallback", {"policyVersion": "a-1"}, "needs spec.fallback.action", id="no action for the limits"
    ),
    pytest.param("spec.limits.decisionsPerSecond", 0, "greater than or equal to 1", id="no decisions at all"),
    pytest.param("spec.limits.decisionsPerSecond", 0.5, "must be of type integer", id="half a decision"),
    pytest.param("spec.limits.decisionsPerSecond", 10**7, "less than or equal to 1000000", id="too many decisions"),
    pytest.param("spec.limits.burst", 0, "greater than or equal to 1", id="no burst"),
    pytest.param("spec.limits", {"burst": 1}, "burst goes with decisionsPerSecond only", id="a burst of what"),
    pytest.param("spec.limits.perClient", {"burst": 1}, "Required value", id="a client's burst of what"),
    pytest.param("spec.limits.perClient.decisionsPerSecond", 0, "greater than or equal to 1", id="no decision each"),
    pytest.param("spec.limits.perClient.burst", 10**7, "less than or equal to 1000000", id="a client's great burst"),
    pytest.param("spec.limits.exceeded", "Queue", "supported values", id="an unknown answer to too many"),
    pytest.param("spec.exploration", {}, "set exactly one of epsilonGreedy", id="no way to explore"),
    pytest.param(
        "spec.exploration",
        {"gaussian": {"sigma": "1"}, "boltzmann": {"temperature": "1"}},
        "set exactly one of",
        id="two ways to explore",
    ),
    pytest.param("spec.exploration.epsilonGreedy", {}, "Required value", id="no epsilon"),
    pytest.param("spec.exploration.epsilonGreedy.epsilon", "0", "epsilon must be above 0", id="never"),
    pytest.param("spec.exploration.epsilonGreedy.epsilon", "1.1", "at most 1", id="more than always"),
    pytest.param("spec.exploration.epsilonGreedy.epsilon", 0.1, "must be of type string", id="a float for epsilon"),
    pytest.param("spec.exploration", {"boltzmann": {"temperature": "0"}}, "temperature must be above 0", id="frozen"),
    pytest.param("spec.exploration", {"gaussian": {"sigma": "-1"}}, "sigma must be above 0", id="negative noise"),
    pytest.param("spec.episodeDeadline", "0s", "above zero and at most 168h", id="episodes of no time"),
    pytest.param("spec.episodeDeadline", "169h", "above zero and at most 168h", id="episodes of more than a week"),
    pytest.param("spec.episodeDeadline", "1d", "should match", id="a deadline in days"),
    pytest.param("spec.decisionLog.observations", "None", "supported values", id="no word of what was observed"),
    pytest.param("spec.decisionLog.volume", {}, "Required value", id="a volume of no size"),
    pytest.param("spec.decisionLog.volume.size", "large", "should match", id="a size that is none"),
    pytest.param("spec.decisionLog.volume.storageClassName", "x" * 257, "Too long", id="a long class"),
    *bad_rules("spec.shield"),
]
BAD_OVERRIDES = [
    pytest.param({"mode": "Rewind"}, "spec.override.mode", "supported values", id="an unknown mode"),
    pytest.param({"mode": MISSING}, "spec.override.mode", "Required value", id="no mode"),
    pytest.param({"mode": "Pin"}, "spec.override.policyVersion", "goes with mode Pin", id="a pin to nothing"),
    pytest.param({"policyVersion": "a-1"}, "spec.override.policyVersion", "goes with mode Pin", id="a fallback to one"),
    pytest.param({"mode": "Action"}, "spec.override.action", "goes with mode Action", id="an action without one"),
    pytest.param({"action": [1]}, "spec.override.action", "goes with mode Action", id="a fallback to an action"),
    pytest.param({"mode": "Action", "action": []}, "spec.override.action", "at least 1 items", id="an empty action"),
    pytest.param(
        {"mode": "Action", "action": [True]}, "spec.override.action[0]", "must be of type number", id="a boolean action"
    ),
    pytest.param({"until": MISSING}, "spec.override.until", "required except for mode Stop", id="no end"),
    pytest.param({"until": "tomorrow"}, "spec.override.until", "date-time", id="an end that is no time"),
    pytest.param({"until": "2026-12-01"}, "spec.override.until", "date-time", id="an end that is a day"),
    pytest.param({"until": "2026-12-01T12:00:00"}, "spec.override.until", "date-time", id="an end without a zone"),
    pytest.param({"until": "2026-13-01T12:00:00Z"}, "spec.override.until", "date-time", id="an end that never comes"),
    pytest.param(
        {"until": "0000-01-01T00:00:00Z"}, "spec.override.until", "after the year 1999", id="an end before all clocks"
    ),
    pytest.param(
        {"until": "9999-12-31T23:59:59-14:00"}, "spec.override.until", "before the year 9000", id="an end after them"
    ),
    pytest.param({"reason": MISSING}, "spec.override.reason", "Required value", id="no reason"),
    pytest.param({"reason": ""}, "spec.override.reason", "at least 1 char", id="an empty reason"),
    pytest.param({"reason": "x" * 257}, "spec.override.reason", "Too long", id="a long reason"),
    pytest.param({"by": MISSING}, "spec.override.by", "Required value", id="by nobody"),
    pytest.param({"by": ""}, "spec.override.by", "at least 1 char", id="by an empty name"),
    pytest.param({"by": "x" * 321}, "spec.override.by", "Too long", id="by a long name"),
]


def _refused(server: Server, obj: Raw, field: str, says: str) -> None:
    with pytest.raises(Refused) as refusal:
        server.create(obj, dry_run=True)
    assert field in refusal.value.message
    assert says in refusal.value.message


def _named(path: str) -> str:
    """`spec.gates.0.metric` as the API server spells it: `spec.gates[0].metric`."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split(".")).removeprefix(".")


@pytest.mark.parametrize(("path", "value", "says"), BAD_ENVIRONMENTS)
def test_a_bad_environment_is_refused_by_field(server: Server, path: str, value: Any, says: str) -> None:
    _refused(server, changed(environment(), path, value), _named(path), says)


@pytest.mark.parametrize(("path", "value", "says"), BAD_TRAINING)
def test_a_bad_training_job_is_refused_by_field(server: Server, path: str, value: Any, says: str) -> None:
    _refused(server, changed(training(), path, value), _named(path), says)


@pytest.mark.parametrize(("path", "value", "says"), BAD_POLICIES)
def test_a_bad_policy_version_is_refused_by_field(server: Server, path: str, value: Any, says: str) -> None:
    _refused(server, changed(policy_version(), path, value), _named(path), says)


@pytest.mark.parametrize(("path", "value", "says"), BAD_AGENTS)
def test_a_bad_agent_deployment_is_refused_by_field(server: Server, path: str, value: Any, says: str) -> None:
    _refused(server, changed(agent(), path, value), _named(path), says)


@pytest.mark.parametrize(("change", "field", "says"), BAD_OVERRIDES)
def test_a_bad_override_is_refused_by_field(server: Server, change: Raw, field: str, says: str) -> None:
    override = {key: value for key, value in (OVERRIDE | change).items() if value is not MISSING}
    _refused(server, changed(agent(), "spec.override", override), field, says)


def test_an_override_by_a_fallback_that_is_not_there_is_refused(server: Server) -> None:
    without = changed(changed(agent(), "spec.fallback", MISSING), "spec.limits", MISSING)
    _refused(server, changed(without, "spec.override", OVERRIDE), "spec.override", "needs spec.fallback")


def test_callers_are_refused_where_anybody_may_ask(server: Server) -> None:
    _refused(server, changed(agent(), "spec.auth.mode", "None"), "spec.auth.callers", "anybody may ask")


@pytest.mark.parametrize("build", [environment, training, policy_version, agent])
def test_an_unknown_field_is_refused_by_name_where_clients_are_strict(server: Server, build: Any) -> None:
    _refused(server, changed(build(), "spec.sauce", 1), "spec.sauce", "unknown field")
