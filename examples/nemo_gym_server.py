"""The `verify` of a NeMo-Gym resources server: it hands each row on to rubricd, and the reply back unchanged.

    JUDGE_URL=http://127.0.0.1:8000 uvicorn --app-dir examples nemo_gym_server:app

A row that was not judged comes back marked `_ng_failure_class`, so that Gym puts it aside: no number is made up.
"""

import os
from typing import Any

import httpx
from fastapi import FastAPI

app = FastAPI()
judge = httpx.AsyncClient(base_url=os.environ["JUDGE_URL"], timeout=None)


@app.post("/seed_session")
async def seed_session(body: dict[str, Any]) -> dict[str, Any]:
    return {}


@app.post("/verify")
async def verify(body: dict[str, Any]) -> dict[str, Any]:
    reply = (await judge.post("/verify", json=body)).raise_for_status()
    row: dict[str, Any] = reply.json()
    return row
