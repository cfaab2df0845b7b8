"""Looks at a YAML document before it is loaded, for what loading hides or cannot bear. Pure.

Guarantees: a name that stands twice in one mapping is a mistake, also beside a merge key, where YAML would keep the
last one and say nothing. A document that stands for more values than it may, by aliases of aliases, is not loaded.
"""

from collections.abc import Iterator

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

_OPEN = -1


class NodeFault(Exception):
    """`line` is where the mistake stands, and the text what to change."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1


def check_nodes(root: Node, most_values: int) -> None:
    """Raises NodeFault."""
    _values(root, {}, most_values)


def _values(node: Node, known: dict[int, int], most: int) -> int:
    """For how many values the node stands, an alias for all of its own."""
    found = known.get(id(node))
    if found == _OPEN:
        raise NodeFault(node, "an alias (`*name`) stands inside of what it stands for; leave it out")
    if found is None:
        known[id(node)] = _OPEN
        found = 1 + sum(_values(part, known, most) for part in _parts(node))
        if found > most:
            raise NodeFault(node, f"this stands for more than {most:,} values; leave aliases (`*name`) out")
        known[id(node)] = found
    return found


def _parts(node: Node) -> Iterator[Node]:
    if isinstance(node, SequenceNode):
        yield from node.value
    elif isinstance(node, MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key.value, str):
                if key.value in seen:
                    raise NodeFault(key, "a name stands twice in one mapping; keep one")
                seen.add(key.value)
            yield key
            yield value
