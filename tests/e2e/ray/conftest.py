from collections.abc import Iterator

import pytest

from testkit.ray.nodes import Nodes, nodes


@pytest.fixture(scope="package")
def ray_nodes() -> Iterator[Nodes]:
    """One cluster for all tests of this folder."""
    with nodes() as running:
        yield running


@pytest.fixture
def three(ray_nodes: Nodes) -> Nodes:
    """Three replicas on two nodes, each of which has said where its metrics are read."""
    if ray_nodes.deployed != {"replicas": 3}:
        ray_nodes.deploy(replicas=3)
    ray_nodes.until(lambda found: len(found) == 3 and {one.name for one in found} <= ray_nodes.targets().keys())
    return ray_nodes
