"""Between those who ask and the engine: a bounded fair queue, micro-batches by token budget, one runner."""

from service.scheduling.fair_share import DEFAULT_TENANT, PriorityClass, Tenant
from service.scheduling.queue import RequestQueue
from service.scheduling.scheduler import Limits, Scheduler
from service.scheduling.ticket import Ticket, costs

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
