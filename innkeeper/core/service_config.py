"""An app's ``serviceConfig``: what is valid, and how a patch is merged (behaviour.md 8.7).

It stays in the wire's form (names and all); ``usecases/allocations.py`` keeps what the life cycle acts on.
"""

from collections.abc import Mapping
from typing import Any

from innkeeper.core.errors import Invalid

# What ``maxProcesses: null`` means, and the most that may be asked for.
SYSTEM_PROCESSES_MAX = 1000

_STATIC = "staticProcessAllocation"
_METRIC_VALUE = "body.serviceConfig.processAutoscalerConfig.targetMetric.metricValue"
_FIELD = f"body.serviceConfig.{_STATIC}"


def check_service_config(config: Mapping[str, Any]) -> None:
    """Raise :class:`Invalid` where the regions, numbers and the autoscaler do not fit together.

    Shapes and types have been checked against the contract before.
    """
    scaler = config.get("processAutoscalerConfig")
    if scaler is not None and not scaler["targetMetric"]["metricValue"] > 0:
        raise Invalid(_METRIC_VALUE, "must be greater than 0")
    seen: set[str] = set()
    for index, entry in enumerate(config[_STATIC]):
        field = f"{_FIELD}[{index}]"
        if entry["region"] in seen:
            raise Invalid(f"{field}.region", f'appears more than once: "{entry["region"]}"')
        seen.add(entry["region"])
        _check_entry(field, entry, scaler is not None)


def check_enforced(given: Mapping[str, Any]) -> None:
    """Raise :class:`Invalid` for what is stored but not acted on yet: ignoring it silently would
    be a lie.
    """
    balancer = given.get("loadBalancer")
    if balancer is not None and balancer["enabled"]:
        raise unenforced("body.serviceConfig.loadBalancer.enabled", "load balancing")


def unenforced(field: str, what: str) -> Invalid:
    """The refusal of a setting that nothing acts on yet."""
    return Invalid(
        field,
        f"asks for {what}, which this installation does not enforce yet"
        " (--accept-unenforced stores it)",
    )


def merge_service_config(old: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a PATCH leaves: one level down, what is absent is kept; a static array that is given
    replaces the old one whole.

    An entry that does not speak of ``autoscalingEnabled`` keeps its region's. Where that is on, the
    target it sends along is the one it was shown, and is dropped.
    """
    before = {_STATIC: [], **(old or {})}
    if _STATIC not in given:
        return {**before, **given}
    autoscaled = {
        entry["region"]: entry["autoscalingEnabled"]
        for entry in before[_STATIC]
        if "autoscalingEnabled" in entry
    }
    entries = []
    for entry in given[_STATIC]:
        kept = dict(entry)
        if "autoscalingEnabled" not in kept and kept["region"] in autoscaled:
            kept["autoscalingEnabled"] = autoscaled[kept["region"]]
            if kept["autoscalingEnabled"]:
                kept.pop("targetProcesses", None)
        entries.append(kept)
    return {**before, **given, _STATIC: entries}


def _check_entry(field: str, entry: Mapping[str, Any], has_autoscaler: bool) -> None:
    least, most = entry["minProcesses"], entry["maxProcesses"]
    target = entry.get("targetProcesses")
    if most is None:
        most = SYSTEM_PROCESSES_MAX
    if least < 0:
        raise Invalid(f"{field}.minProcesses", "must be at least 0")
    if most > SYSTEM_PROCESSES_MAX:
        raise Invalid(f"{field}.maxProcesses", f"must be at most {SYSTEM_PROCESSES_MAX}")
    if least > most:
        raise Invalid(f"{field}.minProcesses", f"must be at most maxProcesses, which is {most}")
    if entry.get("autoscalingEnabled"):
        if target is not None:
            raise Invalid(
                f"{field}.targetProcesses", "must be absent where autoscalingEnabled is true"
            )
        if not has_autoscaler:
            raise Invalid(f"{field}.autoscalingEnabled", "needs a processAutoscalerConfig")
    elif target is None:
        raise Invalid(f"{field}.targetProcesses", "is required unless autoscalingEnabled is true")
    elif not least <= target <= most:
        raise Invalid(f"{field}.targetProcesses", f"must be between {least} and {most}")
