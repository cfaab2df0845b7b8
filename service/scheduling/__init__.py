"""Between those who ask and the engine: a bounded fair queue, micro-batches by token budget, one runner."""

from service.scheduling.admission import costs
from service.scheduling.fair_share import DEFAULT_TENANT, PriorityClass, Tenant
from service.scheduling.queue import RequestQueue, Ticket
from service.scheduling.scheduler import Limits, Scheduler

__all__ = [
    "DEFAULT_TENANT",
    "Limits",
    "PriorityClass",
    "RequestQueue",
    "Scheduler",
    "Tenant",
    "Ticket",
    "costs",
]
