"""`python -m testkit.ray.cluster`: two Ray nodes in this machine, and the service on them; told what to do by lines
of JSON, one answer each. It ends, and everything it started, with its input.

A process of its own, so that what Ray's imports warn of, and what it leaves behind, is not the tests'.
"""

import importlib
import json
import os
import sys
from typing import Any, TextIO

import ray
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve.context import _get_global_client

from service.hosting.ray.autoscaling import QueuedTokensPolicy
from service.hosting.ray.replica import deployment
from service.settings import Settings
from testkit.ray.engines import slow
from testkit.waiting import HUNG_S

_NODE = {"num_cpus": 4, "object_store_memory": 80_000_000}
_HEAD = {**_NODE, "include_dashboard": False}


def deploy(replicas: int | None = None, autoscaling: dict[str, Any] | None = None, target: float = 0.0) -> None:
    """So many replicas, or as many as the tokens need: `target` each."""
    options: dict[str, Any] = {"num_replicas": replicas}
    if autoscaling is not None:
        policy = {"policy_function": QueuedTokensPolicy, "policy_kwargs": {"target_tokens": target}}
        options = {"autoscaling_config": {**autoscaling, "policy": policy}}
    settings = Settings()
    judge = deployment(settings).options(**options)
    serve.run(judge.bind(slow) if settings.engine == "fake" else judge.bind(), name="rubricd", route_prefix="/")


def replicas() -> list[dict[str, Any]]:
    """The running ones."""
    found = _get_global_client().get_serve_details()["applications"]
    judges = found["rubricd"]["deployments"]["Judge"]["replicas"] if "rubricd" in found else []
    return [
        {"name": one["replica_id"], "pid": one["pid"], "node": one["node_id"]}
        for one in judges
        if one["state"] == "RUNNING"
    ]


def obey(asked: TextIO, told: TextIO) -> None:
    for line in asked:
        match json.loads(line):
            case {"deploy": options}:
                deploy(**options)
                answer: Any = replicas()
            case {"replicas": _}:
                answer = replicas()
        print(json.dumps(answer), file=told, flush=True)


def main() -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    vars(importlib.import_module("ray.serve._private.api"))["HTTP_PROXY_TIMEOUT"] = HUNG_S
    cluster = Cluster(initialize_head=True, head_node_args=_HEAD)
    try:
        cluster.add_node(**_NODE)
        ray.init(address=cluster.address, namespace="serve")
        # Two proxies would share this one address, and the second goes with its node's last replica.
        serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, proxy_location="HeadOnly")
        obey(sys.stdin, told)
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
