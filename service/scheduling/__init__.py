"""Scheduling stands between requests and the engine: admission, a fair queue, batches by token budget, one runner."""

from service.scheduling.admission import costs
from service.scheduling.fair_share import DEFAULT_TENANT, PriorityClass, Tenant
from service.scheduling.queue import Ticket
from service.scheduling.scheduler import Scheduler

__all__ = [
    "DEFAULT_TENANT",
    "PriorityClass",
    "Scheduler",
    "Tenant",
    "Ticket",
    "costs",
]
