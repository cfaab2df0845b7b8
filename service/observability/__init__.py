"""Telemetry of the service: Prometheus metrics, traces and log lines, without any text of a request."""

from service.observability.gauges import GaugeValues
from service.observability.telemetry import EngineBatch, Telemetry, monitor_event_loop

__all__ = ["EngineBatch", "GaugeValues", "Telemetry", "monitor_event_loop"]
