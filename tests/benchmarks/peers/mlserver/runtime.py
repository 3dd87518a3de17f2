"""MLServer: HTTP front end and one parallel inference worker, adaptive batching, the V2 (open inference) protocol."""

import models
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    async def load(self):
        self.model = models.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        batch = NumpyCodec.decode_input(payload.inputs[0]).tolist()
        output = np.array(self.model(batch), dtype="float64").reshape(-1, 1)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", output)])
