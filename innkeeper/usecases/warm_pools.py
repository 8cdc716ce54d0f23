"""What a caller may ask of warm pools: processes without rooms that an app keeps ready in a region, beyond
those with rooms. Our own; decision 0010."""

from innkeeper.core.accounts import Caller
from innkeeper.core.errors import Invalid
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps, processes

Pools = list[tuple[str, int]]  # (region, how many)


def get_pools(tx: Tx, caller: Caller, app_id: str, context: Context) -> Pools:
    """An app's pools, by region. Raises :class:`NotFound`."""
    apps.require_app(tx, caller.org_id, app_id)
    rows = tx.all("allocations.pools_of_app", app_id=app_id)
    return [(row["region"], row["processes"]) for row in rows]


def set_pools(tx: Tx, caller: Caller, wanted: tuple[str, Pools], context: Context) -> Pools:
    """Replace all of an app's pools; ``wanted`` is (app id, pools). None is kept where 0 is wanted.

    Raises :class:`NotFound`, and :class:`Invalid` for a region that is not served or is named twice.
    """
    app_id, pools = wanted
    apps.require_app(tx, caller.org_id, app_id)
    seen: set[str] = set()
    for index, (region, _) in enumerate(pools):
        field = f"body.warmPools[{index}].region"
        if region in seen:
            raise Invalid(field, f'appears more than once: "{region}"')
        if region not in context.policy.regions:
            served = processes.served_regions(context)
            raise Invalid(field, f"is not available here; available: {served}")
        seen.add(region)
    before = get_pools(tx, caller, app_id, context)
    tx.run("allocations.delete_pools", app_id=app_id)
    tx.run("allocations.delete_holds", app_id=app_id)
    for region, count in pools:
        if count:
            tx.run("allocations.insert_pool", app_id=app_id, region=region, processes=count)
    context.wake += [(app_id, region) for region, _ in (*before, *pools)]
    return get_pools(tx, caller, app_id, context)
