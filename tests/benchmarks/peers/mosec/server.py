"""mosec: its Rust front end and one worker process, dynamic batching."""

import models
from mosec import Server, Worker


class Model(Worker):
    def __init__(self):
        self.predict = models.load()

    def forward(self, data):  # with max_batch_size > 1: a list of decoded JSON bodies
        return [{"output": y} for y in self.predict([d["input"] for d in data])]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=1, max_batch_size=models.MAX_BATCH, max_wait_time=models.MAX_WAIT_MS)
    server.run()
