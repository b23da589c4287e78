"""Sends 30 spans, a counter, a gauge, a histogram and 20 log records by gRPC and by HTTP with gzip: send.py GRPC HTTP"""
import logging
import sys

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode


def send(service, spans, metrics, logs):
    resource = Resource.create({"service.name": service, "service.instance.id": "1"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    tracer = tracers.get_tracer("send")
    meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics, export_interval_millis=60_000)])
    meter = meters.get_meter("send")
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
    logger = logging.getLogger(service)
    logger.addHandler(LoggingHandler(logger_provider=loggers))
    logger.setLevel(logging.INFO)
    logger.propagate = False

    counter, histogram = meter.create_counter("orders", "1"), meter.create_histogram("order.size", "By")
    meter.create_gauge("queue.length").set(7)
    for number in range(15):
        with tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER, attributes={"http.route": "/orders/{id}", "numbers": [1, 2]}) as span:
            with tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, attributes={"db.system.name": "postgresql"}):
                counter.add(1, {"kind": "small"})
                histogram.record(number)
            if number % 5 == 0:
                span.record_exception(ValueError("no such order"))
                span.set_status(Status(StatusCode.ERROR, "no such order"))
    for number in range(20):
        logger.warning("order %d is late", number)
    for provider in (tracers, meters, loggers):
        assert provider.force_flush(), f"{provider} could not flush"
        provider.shutdown()


grpc, http = sys.argv[1:]
send("python-grpc", GrpcSpans(endpoint=f"http://{grpc}", insecure=True), GrpcMetrics(endpoint=f"http://{grpc}", insecure=True),
     GrpcLogs(endpoint=f"http://{grpc}", insecure=True))
gzip = {"compression": Compression.Gzip}
send("python-http", HttpSpans(endpoint=f"http://{http}/v1/traces", **gzip), HttpMetrics(endpoint=f"http://{http}/v1/metrics", **gzip),
     HttpLogs(endpoint=f"http://{http}/v1/logs", **gzip))
