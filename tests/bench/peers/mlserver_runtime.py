"""MLServer's custom runtime, as "Deploying a Custom Inference Runtime" of its documentation writes one."""

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Policy(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        observation = NumpyCodec.decode_input(payload.inputs[0])
        (action,) = self._session.run(["action"], {"observation": observation})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("action", action)])
