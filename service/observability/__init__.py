"""What the service counts and tells Prometheus: each metric declared once, with labels from closed sets."""

from service.observability.gauges import GaugeValues
from service.observability.lag import monitor_event_loop
from service.observability.telemetry import EngineBatch, Telemetry

__all__ = ["EngineBatch", "GaugeValues", "Telemetry", "monitor_event_loop"]
