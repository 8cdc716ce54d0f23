"""Counts answers and their times, by operation and status: cheap to count, made into metrics when asked."""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class RouteMeter:
    """What one operation answered."""

    __slots__ = ("buckets", "statuses", "total_s")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def count(self, status: int, seconds: float) -> None:
        """One answer; ``seconds`` until it began to be sent."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds


class Meters(Collector):
    """Every operation's meter. Labels are bounded: declared operations, HTTP statuses."""

    def __init__(self) -> None:
        self._routes: dict[str, RouteMeter] = {}

    def of(self, operation_id: str) -> RouteMeter:
        """The meter of an operation, made at first."""
        return self._routes.setdefault(operation_id, RouteMeter())

    def describe(self) -> Iterator[Metric]:
        """The families without samples, so that registering asks for none."""
        yield self._requests()
        yield self._durations()

    def collect(self) -> Iterator[Metric]:
        """What was counted so far; operations that were never called are left out."""
        requests, durations = self._requests(), self._durations()
        for name, meter in self._routes.items():
            if not meter.statuses:
                continue
            for status, count in list(meter.statuses.items()):
                requests.add_metric([name, str(status)], count)
            below, buckets = 0, []
            for bound, count in zip((*BOUNDS_S, float("inf")), meter.buckets, strict=True):
                below += count
                buckets.append((str(bound) if bound != float("inf") else "+Inf", float(below)))
            durations.add_metric([name], buckets, meter.total_s)
        yield requests
        yield durations

    @staticmethod
    def _requests() -> CounterMetricFamily:
        return CounterMetricFamily(
            "innkeeper_http_requests", "Answers given.", labels=["operation", "status"]
        )

    @staticmethod
    def _durations() -> HistogramMetricFamily:
        return HistogramMetricFamily(
            "innkeeper_http_request_seconds",
            "Time until an answer began to be sent.",
            labels=["operation"],
        )
