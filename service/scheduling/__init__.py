"""Between those who ask and the engine: bounded lanes, micro-batches by token budget, one runner."""

from service.scheduling.lane import Lane
from service.scheduling.scheduler import Limits, Scheduler
from service.scheduling.ticket import Answer, Ticket

__all__ = ["Answer", "Lane", "Limits", "Scheduler", "Ticket"]
