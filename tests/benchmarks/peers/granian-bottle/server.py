"""A limit line, not a peer: a bare Bottle POST handler under Granian WSGI, that only answers."""

import bottle

app = bottle.default_app()


@app.post("/predict")
def predict():
    parsed = bottle.request.json
    return {"output": 45.0 if parsed else None}
