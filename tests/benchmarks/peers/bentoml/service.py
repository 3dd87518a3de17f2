"""BentoML: one service worker with a batchable API (adaptive batching). A request carries a batch of one."""

import bentoml
import models


@bentoml.service(workers=1, traffic={"timeout": 10, "max_concurrency": 1024}, logging={"access": {"enabled": False}})
class Model:
    def __init__(self):
        self.model = models.load()

    @bentoml.api(batchable=True, max_batch_size=models.MAX_BATCH, max_latency_ms=10000)
    def predict(self, input: list[list[float]]) -> list[float]:
        return self.model(input)
