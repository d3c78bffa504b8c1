"""A Ray Serve deployment as "Set Up FastAPI and HTTP" of its documentation writes a plain one, with one replica.

Its documentation recommends the switch for throughput, and an HAProxy in front, which would listen on every interface.
"""

import os

os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"  # read when Ray Serve is imported, here and in its processes
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import signal

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Policy:
    def __init__(self, model: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options)

    async def __call__(self, request: Request) -> dict[str, int]:
        observation = np.asarray([(await request.json())["observation"]], np.float32)
        (action,) = self._session.run(["action"], {"observation": observation})
        return {"action": int(action[0])}


if __name__ == "__main__":
    ray.init(
        _node_ip_address="127.0.0.1",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])},
        logging_config={"enable_access_log": False},
    )
    serve.run(Policy.bind(os.environ["BENCH_MODEL"]))
    signal.signal(signal.SIGTERM, lambda *_: None)  # leave by the end of the program, so that Ray's processes end too
    signal.pause()
    ray.shutdown()
