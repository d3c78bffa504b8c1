"""What the operator hands a pod, and what the pod reports back.

A task travels as JSON in one environment variable, credentials as a mounted file (they are renewed while the
pod runs), a report as the container's termination message (4,096 bytes at most).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from checkrein.api.environment import Findings, RLEnvironmentSpec
from checkrein.api.meta import Count, Digest, FileReference, Message, Model, Name, ShortText
from checkrein.api.policy import Artifact
from checkrein.api.shield import Shield
from checkrein.api.spaces import Interface
from checkrein.api.training import CheckpointStatus, Progress, TrainingJobSpec

TASK_VARIABLE = "CHECKREIN_TASK"
CREDENTIALS_FILE = "/var/run/checkrein/store/credentials.json"
AUTHORITIES = "ca.crt"  # beside the credentials, where the store's certificate has an authority of its own
# A folder: each key is a file named by the Unix time of its making.
TOKEN_KEYS = "/var/run/checkrein/token"  # noqa: S105 - a path
TOKEN_KEY_FILE = f"{TOKEN_KEYS}/key"  # made before keys were rotated; counts as the oldest
TOKEN_KEY_SETTLES = 600  # seconds after its making until every replica has a key
ASSIGNMENT_KEY_FILE = f"{TOKEN_KEYS}/assignment"  # never replaced: it tells arms for as long as a rollout takes
LOG_DIRECTORY = "/var/lib/checkrein/log"
REPORT_FILE = "/dev/termination-log"
REPORT_LIMIT = 4096
SERVING_PORT = 8080  # trainer: progress; agent: decisions
MANAGEMENT_PORT = 8081  # agent: /livez, /readyz, /metrics, /status, /evidence
AUDIENCE = "checkrein.dev"

Prefix = Annotated[str, StringConstraints(max_length=512, pattern=r"^([^/].*/)?$")]


class StoreLocation(Model):
    """Where a pod reads and writes. Prefixes end in a slash."""

    endpoint: str
    secure: bool = True
    private_authority: bool = Field(
        default=False,
        description="Its certificate is checked against `ca.crt` beside the credentials, and by nothing else.",
    )
    region: str = "us-east-1"
    bucket: str
    read_prefix: Prefix = ""
    write_prefix: Prefix = ""


class StoreCredentials(Model):
    """A short-lived session, as mounted at `CREDENTIALS_FILE`; read again when it is about to expire."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    expiration: AwareDatetime | None = None


class Failure(Model):
    """Why a pod gave up."""

    reason: ShortText = Field(description="CamelCase, becomes the condition's reason.")
    message: Message = Field(description="A sentence that names the field and the mend.")
    permanent: bool = Field(default=False, description="Another attempt would fail the same way.")


class ProbeTask(Model):
    """Check one environment."""

    environment: RLEnvironmentSpec
    timeout_seconds: Annotated[int, Field(ge=1)] = 120


class ProbeReport(Model):
    """`failure` is set where the environment cannot be used; `findings` hold whatever was learnt."""

    failure: Failure | None = None
    interface: Interface | None = None
    findings: Findings = Findings()
    packages: Digest | None = Field(default=None, description="Over the names and versions installed in the image.")


class JobIdentity(Model):
    """The TrainingJob a pod works for."""

    cluster: str
    namespace: str
    name: Name
    uid: str


class TrainingTask(Model):
    """Train one attempt: resume from the newest good checkpoint below `store.read_prefix`, export, report."""

    job: JobIdentity
    attempt: Count
    environment: RLEnvironmentSpec
    interface: Interface
    spec: TrainingJobSpec
    store: StoreLocation


class TrainingProgress(Model):
    """Answer of the trainer's `GET /progress`."""

    progress: Progress
    checkpoint: CheckpointStatus | None = None
    failure: Failure | None = Field(default=None, description="What does not work now and is tried again.")


class TrainingReport(Model):
    """`manifest` is the exported artifact's (`PolicyManifest`), set exactly where `failure` is not."""

    failure: Failure | None = None
    manifest: FileReference | None = None
    progress: Progress | None = None
    checkpoint: CheckpointStatus | None = None


class ParentPolicy(Model):
    """The version before, to be asked what it would have done."""

    name: Name
    artifact: Artifact


class EvaluationTask(Model):
    """Play the exported artifact on seeds that training never saw."""

    job: JobIdentity
    attempt: Count
    environment: RLEnvironmentSpec
    interface: Interface
    episodes: Annotated[int, Field(ge=1)]
    manifest: FileReference
    store: StoreLocation
    policies: StoreLocation | None = Field(default=None, description="Where the parent lies.")
    parent: ParentPolicy | None = None


class EvaluationResults(Model):
    """The stored file that `EvaluationReport.results` points to. Episode i was started with `seeds[i]`.

    `shielded[i]` decisions of it broke a rule of the environment's shield; episodes `ended` were ended by one.
    """

    manifest: Digest
    seeds: list[int]
    returns: list[float]
    lengths: list[int]
    shielded: list[int] = Field(default_factory=list)
    ended: list[int] = Field(default_factory=list)


class EvaluationReport(Model):
    """`results` is set exactly where `failure` is not. `recording` may be missing: it decides nothing."""

    failure: Failure | None = None
    results: FileReference | None = None
    recording: FileReference | None = None


class ManifestFile(Model):
    """A file of an artifact. `key` and `version_id` are set once it is published."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9._-]+$")]
    digest: Digest
    size: Annotated[int, Field(ge=0)]
    key: str | None = None
    version_id: str | None = None


class PolicyManifest(Model):
    """What a policy consists of. Its canonical JSON is what gets a digest, and later a signature."""

    schema_version: str = "checkrein.dev/policy/v1"
    files: list[ManifestFile] = Field(min_length=1, max_length=64)
    interface: Interface
    algorithm: str
    acting: Literal["Deterministic", "Stochastic"] = "Deterministic"
    opset: int
    features: list[str] = Field(default_factory=list, max_length=1024)
    shield: Shield = Field(default_factory=list, max_length=32)


class AgentTask(Model):
    """Serve one AgentDeployment. The replica's own name is the pod's, in POD_NAME."""

    cluster: str
    namespace: str
    name: Name
    uid: str = ""
    store: StoreLocation
    decisions: StoreLocation | None = None
    operator: str = Field(
        default="",
        description="Account that may ask for evidence (system:serviceaccount:NAMESPACE:NAME); empty: nobody.",
    )


class LoadedPolicy(Model):
    """What came of loading one version at a replica."""

    name: Name
    digest: Digest | None = None
    ready: bool
    reason: ShortText = ""
    message: Message = ""
    permanent: bool = Field(default=False, description="The bytes or the interface are at fault, not the way to them.")


class AgentReport(Model):
    """Answer of a replica's `GET /status` on the management port."""

    epoch: Count = 0
    generation: Count = 0
    acting: Name | None = Field(default=None, description="The PolicyVersion that decides, if one does.")
    regime: ShortText = Field(default="", description="In what capacity: Policy, Pin, Fallback or Action; else nobody.")
    overridden: bool = Field(default=False, description="It obeys spec.override.")
    logging: bool = Field(default=True, description="What it decides becomes durable in its log.")
    logging_reason: ShortText = Field(default="", description="Why not, as a sentence for people.")
    storing: bool = Field(default=True, description="The store takes its log; else that waits on the disk.")
    storing_reason: ShortText = Field(default="", description="Why not, as a sentence for people.")
    problems: list[Message] = Field(
        default_factory=list, description="Rules or exploration of the spec that it cannot carry out, as sentences."
    )
    policies: list[LoadedPolicy] = Field(default_factory=list)
