"""What the service counts and tells Prometheus: each metric declared once, with labels from closed sets."""

from service.observability.gauges import Reading
from service.observability.telemetry import EngineBatch, Telemetry

__all__ = ["EngineBatch", "Reading", "Telemetry"]
