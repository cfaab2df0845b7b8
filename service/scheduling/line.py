"""What one team's class has waiting: groups in order of arrival, those that have begun before those that have not.

Always true: questions of one group stay together, since they share a prefix; next steps of questions that were let in
before go first; putting, finding the first and removing take the same time however many wait.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from service.scheduling.ticket import Ticket

_Groups = OrderedDict[Hashable, OrderedDict[Ticket, None]]

NEXT_STEPS: Hashable = object()
"""The group of what goes first."""

_REMEMBERED = 256


class Line:
    def __init__(self) -> None:
        self._begun: _Groups = OrderedDict()
        self._fresh: _Groups = OrderedDict()
        self._lately: OrderedDict[Hashable, None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._begun or self._fresh)

    def __iter__(self) -> Iterator[Ticket]:
        for groups in (self._begun, self._fresh):
            for group in groups.values():
                yield from group

    def put(self, ticket: Ticket) -> None:
        name = ticket.group
        begun = name in self._begun or name in self._lately or name is NEXT_STEPS
        (self._begun if begun else self._fresh).setdefault(name, OrderedDict())[ticket] = None
        if name is NEXT_STEPS:
            self._begun.move_to_end(name, last=False)

    def first(self) -> Ticket:
        """The ticket whose turn it is, in a line that is not empty."""
        group = next(iter((self._begun or self._fresh).values()))
        return next(iter(group))

    def take(self, ticket: Ticket) -> None:
        """The ticket leaves for the engine: its group has begun."""
        name = ticket.group
        if name is not NEXT_STEPS:
            self._lately[name] = None
            self._lately.move_to_end(name)
            if len(self._lately) > _REMEMBERED:
                self._lately.popitem(last=False)
        self.remove(ticket)
        if (rest := self._fresh.pop(name, None)) is not None:
            self._begun[name] = rest

    def remove(self, ticket: Ticket) -> None:
        groups = self._begun if ticket.group in self._begun else self._fresh
        group = groups[ticket.group]
        del group[ticket]
        if not group:
            del groups[ticket.group]
