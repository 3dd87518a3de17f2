"""PyTriton: Triton's C++ front end and one Python worker process, dynamic batching, the V2 protocol."""

import models
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

if __name__ == "__main__":
    model = models.load()

    @batch
    def infer(input):
        return {"output": np.array(model(input.tolist()), dtype=np.float64).reshape(-1, 1)}

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=models.PORT,
        grpc_address="127.0.0.1",
        grpc_port=models.PORT2,
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="model",
            infer_func=infer,
            inputs=[Tensor(name="input", dtype=np.float64, shape=(-1,))],
            outputs=[Tensor(name="output", dtype=np.float64, shape=(1,))],
            config=ModelConfig(
                max_batch_size=models.MAX_BATCH,
                batcher=DynamicBatcher(max_queue_delay_microseconds=models.MAX_WAIT_MS * 1000),
            ),
        )
        triton.serve()
