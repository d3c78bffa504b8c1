"""A small log as objects by key, without a replica: what an audit is shown before somebody tampers with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkrein.api.digests import sha256
from checkrein.store.decisions import layout, records, registry, segments
from checkrein.store.decisions.chain import Chain, MerkleTree
from checkrein.store.decisions.records import ClosedRecord, DecisionRecord, End, OpenedRecord, Record
from checkrein.store.decisions.registry import Anchor, Closed, Opened
from checkrein.store.decisions.segments import Header

ROOT = "decisions/cluster/games/uid/"
AGENT = "games/cartpole"
TAKEN = "2026-12-01T12:10:00+00:00"


def at(seconds: float) -> str:
    """A moment of the log's day."""
    return f"2026-12-01T12:{int(seconds // 60):02d}:{seconds % 60:09.6f}Z"


def decision(episode: str, step: int, **more: Any) -> DecisionRecord:
    """One record of an episode."""
    known: dict[str, Any] = {
        "timestamp": at(step),
        "agent_id": AGENT,
        "decision": f"{episode}-{step}",
        "episode": episode,
        "step": step,
        "policy": "cartpole-1",
        "policy_digest": "sha256:ab",
        "observation_digest": f"digest-{step}",
        "proposed": 1,
        "action": 1,
        "action_hash": "6b86",
    }
    return DecisionRecord(**known | more)


def episode(name: str, steps: int) -> list[Record]:
    """Its decisions."""
    return [decision(name, step) for step in range(steps)]


class LogWriter:
    """Writes streams into `objects`, as replicas write them into the store."""

    def __init__(self, agent_id: str = AGENT, root: str = ROOT) -> None:
        self.objects: dict[str, bytes] = {}
        self.agent_id = agent_id
        self.root = root

    def stream(
        self,
        content: Sequence[Record],
        *,
        pod: str = "cartpole-agent-0",
        boot: int = 1,
        previous: End | None = None,
        closed: bool = True,
        size: int = 3,
        anchored: bool = True,
        began: str = at(0),
    ) -> End:
        """One stream of `size` records in each segment, with an anchor after each. Where it ends."""
        name = layout.stream_name(pod, f"{pod}-uid", boot, "0")
        told = {"stream": name, "agent_id": self.agent_id, "pod": pod, "pod_uid": f"{pod}-uid", "boot": boot}
        self._put(layout.opened(name), registry.wrap(Opened(timestamp=began, previous=previous, **told)))
        everything = [OpenedRecord(timestamp=began, previous=previous, **told), *content]
        if closed:
            everything.append(ClosedRecord(timestamp=at(59)))
        chain = Chain.start(name)
        fresh: dict[str, str] = {}
        for start in range(0, len(everything), size):
            key = layout.segment(name, chain.seq + 1)
            fresh[key] = sha256(self._segment(name, key, chain, everything[start : start + size]))
            if anchored:
                self._anchor(name, chain, fresh)
                fresh = {}
        if closed:
            end = Closed(stream=name, seq=chain.seq, head=chain.head.hex(), timestamp=at(59), segments=fresh)
            self._put(layout.closed(name), registry.wrap(end))
        return End(name, chain.seq, chain.head.hex())

    def _segment(self, name: str, key: str, chain: Chain, content: Sequence[Record]) -> bytes:
        first, previous, tree, lines = chain.seq + 1, chain.head.hex(), MerkleTree(), []
        for record in content:
            lines.append(chain.extend(records.encode(record)))
            tree.append(chain.head)
        header = Header(
            stream=name,
            agent_id=self.agent_id,
            first=first,
            last=chain.seq,
            count=len(lines),
            previous=previous,
            head=chain.head.hex(),
            merkle_root=tree.root().hex(),
            since=content[0].timestamp,
            until=content[-1].timestamp,
        )
        return self._put(key, segments.pack(header, lines))

    def _anchor(self, name: str, chain: Chain, fresh: dict[str, str]) -> None:
        anchor = Anchor(stream=name, seq=chain.seq, head=chain.head.hex(), timestamp=at(50), segments=fresh)
        self._put(layout.anchor(name, chain.seq), registry.wrap(anchor))

    def _put(self, key: str, data: bytes) -> bytes:
        self.objects[self.root + key] = data
        return data


class Objects:
    """A source over objects in memory."""

    def __init__(self, objects: dict[str, bytes], taken: str | None = TAKEN) -> None:
        self.taken = taken
        self._objects = objects

    def listing(self) -> list[str]:
        """The keys."""
        return sorted(self._objects)

    def read(self, key: str) -> bytes:
        """One object."""
        return self._objects[key]

    def oddities(self) -> list[Any]:
        """None."""
        return []
