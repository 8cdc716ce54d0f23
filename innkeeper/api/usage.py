"""Process metrics of MetricsV1 and ProcessesV3, and an organization's usage limits: shapes first, rows last
(behaviour.md 8.4, 8.5).
"""

from collections.abc import Mapping

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.apps import read_nothing
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.core.accounts import Caller
from innkeeper.core.usage import DEFAULT_METRICS, MetricName, Points
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import billing, metering
from innkeeper.usecases.billing import UsageLimits
from innkeeper.usecases.metering import MetricsWanted

# By their names in V3; GPUs are asked for, too, but no runtime here knows of any.
_NAMES: Mapping[str, MetricName] = {
    "cpu": "cpu",
    "memory": "memory",
    "rateEgress": "rate_egress",
    "totalEgress": "total_egress",
    "activeConnections": "active_connections",
}
_V3_DEFAULT = tuple(shown for shown, name in _NAMES.items() if name in DEFAULT_METRICS)

Answer = tuple[tuple[str, ...], dict[MetricName, Points]]


def read_metrics(request: Request) -> tuple[tuple[str, ...], MetricsWanted]:
    """The names as the client wrote them, each once; and what the use case is asked."""
    asked = tuple(dict.fromkeys(request.query.get("metrics") or _V3_DEFAULT))
    names = tuple(_NAMES[name] for name in asked if name in _NAMES)
    return asked, _wanted(request, names)


def read_metrics_v1(request: Request) -> tuple[tuple[str, ...], MetricsWanted]:
    """The same under the older names, which are the core's."""
    names = tuple(dict.fromkeys(request.query.get("metrics") or DEFAULT_METRICS))
    return names, _wanted(request, names)


def _wanted(request: Request, names: tuple[MetricName, ...]) -> MetricsWanted:
    return MetricsWanted(
        app_id=request.path["appId"],
        process_id=request.path["processId"],
        names=names,
        start_s=request.query.get("start"),
        end_s=request.query.get("end"),
        step_s=request.query["step"],
    )


def run_metrics(
    tx: Tx, caller: Caller, asked: tuple[tuple[str, ...], MetricsWanted], context: Context
) -> Answer:
    """The series, and under which names they are shown."""
    names, wanted = asked
    return names, metering.process_metrics(tx, caller, wanted, context)


def write_metrics(answer: Answer) -> wire.ProcessMetricsData:
    """Only what was asked for."""
    names, found = answer
    shown = {name: _values(found[_NAMES[name]]) if name in _NAMES else [] for name in names}
    return wire.ProcessMetricsData(**shown)


def write_metrics_v1(answer: Answer) -> wire.DeprecatedProcessMetricsData:
    """The same under the older names."""
    return wire.DeprecatedProcessMetricsData(
        **{name: _values(points) for name, points in answer[1].items()}
    )


def _values(points: Points) -> list[wire.MetricValue]:
    return [wire.MetricValue(value=value, timestamp=at / 1000) for at, value in points]


def write_limits(limits: UsageLimits) -> wire.UsageLimits:
    """Limits that are not set are left out."""
    hours, vcpus = limits.vcpu_hours_limit, limits.vcpus_limit
    return wire.UsageLimits(
        monthlyProcessVcpuHoursConsumed=limits.vcpu_hours,
        monthlyProcessVcpuHoursLimit=UNSET if hours is None else hours,
        concurrentProcessVcpus7DayMax=limits.vcpus_peak,
        concurrentProcessVcpusLimit=UNSET if vcpus is None else vcpus,
    )


_READ = "processes:read"

OPERATIONS = (
    Operation("GetProcessMetrics", read_metrics, run_metrics, write_metrics, "read", _READ),
    Operation(
        "GetMetricsDeprecated", read_metrics_v1, run_metrics, write_metrics_v1, "read", _READ
    ),
    Operation(
        "GetUsageLimits", read_nothing, billing.usage_limits, write_limits, "read", "orgs:read"
    ),
)
