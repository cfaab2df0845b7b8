"""What the service counts and tells Prometheus: each metric declared once, with labels from closed sets."""

from service.telemetry.reading import Reading
from service.telemetry.telemetry import EngineBatch, Telemetry

__all__ = ["EngineBatch", "Reading", "Telemetry"]
