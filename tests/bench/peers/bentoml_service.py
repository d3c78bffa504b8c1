"""A BentoML service as its documentation's "Create online API Services" writes one, with one worker."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 10}, metrics={"enabled": True}, logging={"access": {"enabled": False}})
class Policy:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)

    @bentoml.api
    async def act(self, observation: np.ndarray) -> np.ndarray:
        (action,) = self._session.run(["action"], {"observation": observation.astype(np.float32)})
        return action
