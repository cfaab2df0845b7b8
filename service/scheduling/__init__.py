"""Between those who ask and the engine: a bounded fair queue, micro-batches by token budget, one runner."""

from service.scheduling.flow import NOBODY, Flow, Kind
from service.scheduling.queue import Lane
from service.scheduling.scheduler import Limits, Scheduler
from service.scheduling.ticket import Answer, Ticket, costs

__all__ = ["NOBODY", "Answer", "Flow", "Kind", "Lane", "Limits", "Scheduler", "Ticket", "costs"]
