"""A LitServe API as its documentation writes one, with one worker and its fast queue."""

import os
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Policy(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        return np.asarray([request["observation"]], np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        (action,) = self._session.run(["action"], {"observation": x})
        return action

    def encode_response(self, output: np.ndarray) -> dict[str, int]:
        return {"action": int(output[0])}


if __name__ == "__main__":
    server = litserve.LitServer(Policy(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
