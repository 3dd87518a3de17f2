"""gunicorn + Flask: what people write by hand; no batching."""

import models
from flask import Flask, request

app = Flask(__name__)
model = models.load()


@app.post("/predict")
def predict():
    return {"output": model([request.get_json()["input"]])[0]}
