"""Writes the Grafana dashboards of deploy/grafana from the panels listed here.

python -m tools.dashboards            names the files that are not up to date; exit code 1 when there are any
python -m tools.dashboards --write    writes them

A panel is a title, a unit and its queries by legend. Several replicas: rates add up, the trainer's gauges are the same
from each and are taken once, by their maximum.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "deploy" / "grafana"
_WIDTH, _COLUMNS, _HEIGHT = 24, 3, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """A graph. unit: of Grafana's list. queries: PromQL by legend, in which `{{label}}` stands for a label's value."""

    title: str
    unit: str
    queries: dict[str, str]
    stacked: bool = False
    about: str = ""


def _share(part: str, whole: str) -> str:
    return f"{part} / clamp_min({whole}, 1e-9)"


def _quantile(share: float, metric: str, by: str, *, of: str = "") -> str:
    labels = ", ".join(("le", by)) if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{of}[{_RATE}])))"


def _rate(metric: str, by: str = "", *, of: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{of}[{_RATE}]))"


_FAULTS = 'code=~"INTERNAL|UNKNOWN|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED|UNIMPLEMENTED"'
_FAULT_SHARE = _share(_rate("fiveshot_grpc_calls_total", of=f"{{{_FAULTS}}}"), _rate("fiveshot_grpc_calls_total"))
_TRAINING_SHARE = _share(
    _rate("fiveshot_worker_seconds_total", of='{part="training"}'), _rate("fiveshot_worker_seconds_total")
)
_TIME_BY_PART = f"{_rate('fiveshot_worker_seconds_total', 'part')} / scalar({_rate('fiveshot_worker_seconds_total')})"
# Envoy's own, at the gateway's second door for metrics.
_ANSWERS, _PUBLIC = "envoy_http_downstream_rq_xx", '{envoy_http_conn_manager_prefix="public"}'
_SERVED = '{envoy_cluster_name!~"stats|otlp|jwks"}'
_LIMITED, _OVERFLOWS = "envoy_http_local_rate_limit_rate_limited", "envoy_cluster_upstream_rq_pending_overflow"
_DEPTH = Panel(
    "Jobs waiting", "short", {"{{base_model}}": "max by (base_model) (fiveshot_trainer_queue_depth)"}, stacked=True
)
_OLDEST = Panel(
    "Oldest wait", "s", {"{{base_model}}": "max by (base_model) (fiveshot_trainer_queue_oldest_wait_seconds)"}
)
_WORKERS = Panel("Workers", "short", {"{{state}}": "max by (state) (fiveshot_trainer_workers)"}, stacked=True)
_SHARE = Panel(
    "Share of worker time in training", "percentunit", {"all workers": _TRAINING_SHARE}, about="What GPUs are paid for."
)
_ENDED = Panel(
    "Jobs ended",
    "short",
    {"{{state}} {{reason}}": "sum by (state, reason) (increase(fiveshot_trainer_jobs_ended_total[$__range]))"},
)
_OUTBOX = Panel(
    "Outbox lag",
    "s",
    {"oldest event": "max(fiveshot_outbox_oldest_seconds)"},
    about="Age of the oldest event that waits for NATS. Jobs go on while it grows; listeners hear late.",
)

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "overview": (
        "Is everything well, and is there enough of it",
        (
            Panel(
                "Processes by release",
                "short",
                {"{{service}} {{release}}": "count by (service, release) (fiveshot_build_info)"},
            ),
            Panel(
                "Away",
                "short",
                {"{{job}} {{need}}": "sum by (job, need) (1 - fiveshot_need_up)"},
                about="Servers that a process needs and that do not answer.",
            ),
            Panel("Calls", "reqps", {"{{code}}": _rate("fiveshot_grpc_calls_total", "code")}, stacked=True),
            Panel("Share of calls that failed by our fault", "percentunit", {"all": _FAULT_SHARE}),
            Panel("Slowest 1% of unary calls", "s", {"p99": _quantile(0.99, "fiveshot_grpc_call_seconds", "")}),
            _DEPTH,
            _OLDEST,
            _WORKERS,
            _SHARE,
            _ENDED,
            _OUTBOX,
            Panel(
                "Authorizations",
                "reqps",
                {"{{outcome}}": _rate("fiveshot_gateway_authorizations_total", "outcome")},
                stacked=True,
            ),
        ),
    ),
    "jobs": (
        "Training jobs from the queue to their end",
        (
            _DEPTH,
            _OLDEST,
            Panel("Jobs by state", "short", {"{{state}}": "max by (state) (fiveshot_trainer_jobs)"}, stacked=True),
            Panel(
                "Jobs created",
                "short",
                {"{{base_model}}": "sum by (base_model) (increase(fiveshot_trainer_jobs_created_total[$__range]))"},
            ),
            _ENDED,
            Panel(
                "Attempts ended",
                "short",
                {"{{outcome}}": "sum by (outcome) (increase(fiveshot_trainer_attempts_ended_total[$__range]))"},
                about="LEASE_LOST: a worker was lost; RELEASED: one went in peace.",
            ),
            Panel(
                "Median time in each state",
                "s",
                {"{{state}}": _quantile(0.5, "fiveshot_trainer_job_state_seconds", "state")},
            ),
            Panel(
                "Slowest 5% of the wait for a worker",
                "s",
                {"p95": _quantile(0.95, "fiveshot_trainer_job_state_seconds", "", of='{state="QUEUED"}')},
            ),
            Panel(
                "From creation to end",
                "s",
                {"{{state}} median": _quantile(0.5, "fiveshot_trainer_job_seconds", "state")},
            ),
            Panel(
                "Epochs",
                "short",
                {"{{base_model}}": "sum by (base_model) (increase(fiveshot_trainer_epochs_total[$__range]))"},
            ),
            Panel(
                "Choosing a job for a worker",
                "s",
                {"found: {{found}} p99": _quantile(0.99, "fiveshot_trainer_acquire_seconds", "found")},
            ),
            Panel("Progress events", "reqps", {"told": _rate("fiveshot_trainer_progress_events_total")}),
            _OUTBOX,
            Panel("Events that wait for the bus", "short", {"waiting": "max(fiveshot_outbox_pending_events)"}),
            Panel("Events published", "reqps", {"published": _rate("fiveshot_outbox_published_events_total")}),
            Panel(
                "Waiting jobs that fit no worker",
                "short",
                {"{{base_model}}": "max by (base_model) (fiveshot_trainer_queue_unplaced)"},
                stacked=True,
            ),
        ),
    ),
    "workers": (
        "What the workers and their GPUs do",
        (
            _WORKERS,
            Panel(
                "Workers by their own word",
                "short",
                {"{{state}}": "sum by (state) (fiveshot_worker_state)"},
                stacked=True,
            ),
            _SHARE,
            Panel(
                "Where the time goes",
                "percentunit",
                {"{{part}}": _TIME_BY_PART},
                stacked=True,
            ),
            Panel("Optimizer steps", "ops", {"{{base_model}}": _rate("fiveshot_worker_steps_total", "base_model")}),
            Panel(
                "Pictures trained on", "ops", {"{{base_model}}": _rate("fiveshot_worker_images_total", "base_model")}
            ),
            Panel(
                "Attempts ended",
                "short",
                {"{{outcome}}": "sum by (outcome) (increase(fiveshot_worker_attempts_total[$__range]))"},
            ),
            Panel("GPU utilisation", "percentunit", {"{{instance}} {{gpu}}": "fiveshot_gpu_utilisation_ratio"}),
            Panel(
                "GPU memory in use",
                "percentunit",
                {"{{instance}} {{gpu}}": "fiveshot_gpu_memory_used_bytes / fiveshot_gpu_memory_size_bytes"},
            ),
            Panel("GPU temperature", "celsius", {"{{instance}} {{gpu}}": "fiveshot_gpu_temperature_celsius"}),
            Panel("GPU power", "watt", {"{{instance}} {{gpu}}": "fiveshot_gpu_power_watts"}),
            Panel("Memory of the process", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
        ),
    ),
    "api": (
        "What callers meet: calls, uploads, stores",
        (
            Panel(
                "Calls by method", "reqps", {"{{method}}": _rate("fiveshot_grpc_calls_total", "method")}, stacked=True
            ),
            Panel(
                "Calls that did not end OK",
                "reqps",
                {"{{method}} {{code}}": _rate("fiveshot_grpc_calls_total", "method, code", of='{code!="OK"}')},
            ),
            Panel(
                "Slowest 1% of unary calls",
                "s",
                {"{{method}}": _quantile(0.99, "fiveshot_grpc_call_seconds", "method")},
                about="Long polls count without the time that they wait; streams are in a graph of their own.",
            ),
            Panel(
                "Length of streams",
                "s",
                {"{{method}} median": _quantile(0.5, "fiveshot_grpc_stream_seconds", "method")},
            ),
            Panel(
                "Calls at work", "short", {"{{method}}": "sum by (method) (fiveshot_grpc_running_calls)"}, stacked=True
            ),
            Panel("Pictures stored", "ops", {"pictures": _rate("fiveshot_dataset_images_stored_total")}),
            Panel("Bytes of pictures stored", "Bps", {"bytes": _rate("fiveshot_dataset_image_bytes_stored_total")}),
            Panel("Bytes in flight", "bytes", {"{{job}}": "sum by (job) (fiveshot_in_flight_bytes)"}),
            Panel("Too much in flight", "ops", {"{{budget}}": _rate("fiveshot_in_flight_refusals_total", "budget")}),
            Panel("Refused by a budget", "ops", {"{{budget}}": _rate("fiveshot_budget_refusals_total", "budget")}),
            Panel("Decoding a picture", "s", {"p95": _quantile(0.95, "fiveshot_decode_seconds", "")}),
            Panel("Pictures decoded", "ops", {"{{outcome}}": _rate("fiveshot_decodes_total", "outcome")}, stacked=True),
            Panel(
                "Slowest 1% of transactions",
                "s",
                {"{{job}} {{kind}}": _quantile(0.99, "fiveshot_database_transaction_seconds", "job, kind")},
            ),
            Panel(
                "Transactions broken off",
                "ops",
                {"{{job}} {{kind}}": _rate("fiveshot_database_errors_total", "job, kind")},
            ),
            Panel(
                "Slowest 1% of requests to the object store",
                "s",
                {"{{job}}": _quantile(0.99, "fiveshot_store_request_seconds", "job")},
            ),
            Panel(
                "Object store errors",
                "ops",
                {"{{job}} {{reason}}": _rate("fiveshot_store_errors_total", "job, reason")},
            ),
            Panel(
                "Answers of the gateway",
                "reqps",
                {"{{envoy_response_code_class}}xx": _rate(_ANSWERS, "envoy_response_code_class", of=_PUBLIC)},
                stacked=True,
                about="By HTTP status. A gRPC call that fails has 200 and its own code in the trailers.",
            ),
            Panel(
                "Refused by a limit of the gateway",
                "reqps",
                {"{{envoy_local_http_ratelimit_prefix}}": _rate(_LIMITED, "envoy_local_http_ratelimit_prefix")},
            ),
            Panel(
                "Connections to the gateway",
                "short",
                {"{{instance}}": f"sum by (instance) (envoy_http_downstream_cx_active{_PUBLIC})"},
                stacked=True,
            ),
            Panel(
                "Replicas that the gateway calls",
                "short",
                {"{{envoy_cluster_name}}": f"min by (envoy_cluster_name) (envoy_cluster_membership_healthy{_SERVED})"},
                about="Of the gateway that sees the fewest.",
            ),
            Panel(
                "Calls that the gateway tried again",
                "reqps",
                {"{{envoy_cluster_name}}": _rate("envoy_cluster_upstream_rq_retry", "envoy_cluster_name", of=_SERVED)},
            ),
            Panel(
                "Calls that overflowed at the gateway",
                "reqps",
                {"{{envoy_cluster_name}}": _rate(_OVERFLOWS, "envoy_cluster_name", of=_SERVED)},
            ),
        ),
    ),
}


def render(name: str) -> str:
    """The dashboard as Grafana imports it."""
    about, panels = DASHBOARDS[name]
    document = {
        "uid": f"fiveshot-{name}",
        "title": f"Fiveshot {name}",
        "description": about,
        "tags": ["fiveshot"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }
    return json.dumps(document, indent=1) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    width, (row, column) = _WIDTH // _COLUMNS, divmod(number, _COLUMNS)
    stacking = {"stacking": {"mode": "normal"}, "fillOpacity": 25} if panel.stacked else {"fillOpacity": 5}
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"x": column * width, "y": row * _HEIGHT, "w": width, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": stacking}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


def main(arguments: list[str]) -> int:
    """Compares or writes; the exit code."""
    stale = 0
    for name in DASHBOARDS:
        path, text = FOLDER / f"{name}.json", render(name)
        if "--write" in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path.name} is not up to date; run python -m tools.dashboards --write")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
