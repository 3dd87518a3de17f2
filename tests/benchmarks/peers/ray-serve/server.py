"""Ray Serve: the HTTP proxy actor and one replica, @serve.batch."""

import time

import models
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(
    num_replicas=1,
    max_ongoing_requests=512,
    ray_actor_options={"num_cpus": 1},
    logging_config={"enable_access_log": False, "log_level": "WARNING"},
)
class Model:
    def __init__(self):
        self.model = models.load()

    @serve.batch(max_batch_size=models.MAX_BATCH, batch_wait_timeout_s=models.MAX_WAIT_MS / 1000)
    async def predict(self, inputs):
        return self.model(inputs)

    async def __call__(self, request: Request):
        return {"output": await self.predict((await request.json())["input"])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": models.PORT})
    serve.run(Model.bind(), route_prefix="/predict")
    while True:
        time.sleep(3600)
