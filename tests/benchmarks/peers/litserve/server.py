"""LitServe: one API server process and one inference worker process, dynamic batching."""

import litserve as ls
import models


class API(ls.LitAPI):
    def setup(self, device):
        self.model = models.load()

    def decode_request(self, request):
        return request["input"]

    def batch(self, inputs):
        return inputs

    def predict(self, batch):
        return self.model(batch)

    def unbatch(self, outputs):
        return outputs

    def encode_response(self, output):
        return {"output": output}


if __name__ == "__main__":
    api = API(max_batch_size=models.MAX_BATCH, batch_timeout=models.MAX_WAIT_MS / 1000)
    server = ls.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=models.PORT,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
