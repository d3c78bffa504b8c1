"""Checkpoints in the store: `checkpoints/<step>/` below an attempt's prefix, complete once its manifest is there.

An attempt writes below its own prefix and reads below its job's, so that it goes on where an earlier attempt was
killed. It may not delete: what is older than the newest `keep` is the operator's to remove.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from checkrein.api.digests import canonical_json, sha256
from checkrein.api.tasks import Failure
from checkrein.api.training import CheckpointStatus
from checkrein.store import keys
from checkrein.store.client import Store
from checkrein.store.errors import StoreError
from checkrein.train.patience import told_of

MANIFEST_LIMIT = 2**16
UPLOAD_PATIENCE = 10.0  # seconds for which training waits for the upload before
MOST_TRIES = 3  # at a checkpoint that a store which answers otherwise does not give

Files = dict[str, bytes]
log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one job, seen from one attempt. Uploads run beside training, one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uploader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._upload: Future[None] | None = None
        self._unread: Counter[str] = Counter()
        self.newest: CheckpointStatus | None = None
        self.failure: Failure | None = None
        """What the store does not do now."""

        self.stored_at: float | None = None  # when this attempt stored its newest one, Unix time
        self.lost = 0

    def tell(self, failure: Failure | None) -> None:
        """What keeps something else from being stored or read now; None: nothing any more."""
        self.failure = failure

    def save(self, step: int, files: Files) -> None:
        """Start to upload. A failed one costs that checkpoint only, and so does one before it that takes too long."""
        if self._upload is not None and wait([self._upload], UPLOAD_PATIENCE).not_done:
            log.warning("checkpoint of step %d is left out: the one before it is still being stored", step)
            return
        self._upload = self._uploader.submit(self._write, step, files)

    def wait(self) -> None:
        """Until nothing is being uploaded."""
        if self._upload is not None:
            self._upload.result()

    def resume(self, restore: Callable[[Files], None]) -> None:
        """Hand `restore` the newest checkpoint that is complete and intact; damaged ones are passed over.

        Raises StoreError where the store is away: a step that was trained must not be trained again for that. A store
        may also answer so for an object that it finds damaged: after some tries that one is passed over, too.
        """
        for key in self._manifests():
            try:
                data = self._store.read_unverified(key, MANIFEST_LIMIT)
                manifest = json.loads(data)
                restore(self._read(key.removesuffix(keys.CHECKPOINT_MANIFEST), manifest["files"]))
            except (StoreError, KeyError, TypeError, ValueError, RuntimeError) as error:
                self._unread[key] += 1
                if isinstance(error, StoreError) and error.temporary and self._unread[key] < MOST_TRIES:
                    raise
                log.warning("checkpoint %s is damaged, trying an older one: %s", key, error)
                continue
            self.newest = CheckpointStatus(step=manifest["step"], digest=sha256(data))
            log.info("resuming from step %d (%s)", self.newest.step, key)
            return

    def _write(self, step: int, files: Files) -> None:
        folder = keys.checkpoint_prefix(self._store.location.write_prefix, step)
        manifest = canonical_json({"step": step, "files": {name: sha256(data) for name, data in files.items()}})
        try:
            for name, data in files.items():
                self._store.put(folder + name, data)
            self._store.put(folder + keys.CHECKPOINT_MANIFEST, manifest)
        except StoreError as error:
            self.failure = told_of(error)
            self.lost += 1
            log.warning("checkpoint of step %d is lost, training goes on: %s", step, error)
        else:
            self.failure = None
            self.newest, self.stored_at = CheckpointStatus(step=step, digest=sha256(manifest)), time.time()
            log.info("checkpoint of step %d", step)

    def _manifests(self) -> list[str]:
        """Newest first."""
        return keys.checkpoints(o.key for o in self._store.list(self._store.location.read_prefix))

    def _read(self, folder: str, digests: dict[str, str]) -> Files:
        return {name: self._store.get(folder + name, digest=digest) for name, digest in digests.items()}
