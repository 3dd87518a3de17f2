"""FastAPI + uvicorn: what people write by hand; no batching. A plain `def` handler runs in the thread pool."""

import models
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = models.load()


class Body(BaseModel):
    input: list[float]


@app.post("/predict")
def predict(body: Body):
    return {"output": model([body.input])[0]}
