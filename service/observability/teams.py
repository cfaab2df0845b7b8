"""Teams as label values: names from the configuration, and of these so many.

Always true: at most `most` names of teams are ever given out, however many teams come and go.
"""

OTHER = "other"
"""Who sent no known key, and teams beyond the bound."""
_ITSELF = "_service"
"""What the service asks for itself: the canaries. No team can be named so."""


class TeamNames:
    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """`name` is from the teams file; empty for what no team asked."""
        if not name:
            return _ITSELF
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name
