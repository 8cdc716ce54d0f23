"""Processes that a region gets without a room: decided by a pass, checked again in the transaction that makes
them, so that a repeated action makes none too many."""

from innkeeper.core.events import FOR_ALLOCATION, FOR_POOL, WANTED_AGAIN
from innkeeper.core.moments import to_ms
from innkeeper.core.processes import SCALED_DOWN, Purpose
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import allocations, apps, deployments, journal, processes


def create(
    tx: Tx, key: tuple[str, str], deployment_id: str, made_for: Purpose, context: Context
) -> bool:
    """One more process of the latest deployment, if the region still wants one; false where it does not.

    One that drains because it was not needed takes rooms again instead. Raises what a new process raises:
    :class:`Exhausted`, :class:`NotFound` for its build, :class:`PaymentRequired`.
    """
    app_id, region = key
    deleted, wanted = allocations.load_wanted(tx, key, context.now)
    if deleted or wanted.deployment_id != deployment_id:
        return False
    found = allocations.counts(tx, key, deployment_id)
    count = found["with_rooms"] + wanted.reserve
    if wanted.static is not None:
        count = min(max(wanted.static.target_processes, count), wanted.static.max_processes)
    if found["fresh"] >= count:
        return False
    if not reopen(tx, key, deployment_id, made_for, context, or_full=True):
        if wanted.static is not None and found["live"] >= wanted.static.max_processes:
            return False  # Old ones have to go first.
        app = apps.require_app_anywhere(tx, app_id)
        deployment = deployments.require(tx, app_id, deployment_id)
        cause = FOR_POOL if made_for == "pool" else FOR_ALLOCATION
        processes.new_process(tx, app.org_id, deployment, region, None, context, cause, made_for)
    tx.run("allocations.release", app_id=app_id, region=region)
    return True


def reopen(
    tx: Tx,
    key: tuple[str, str],
    deployment_id: str,
    made_for: Purpose,
    context: Context,
    or_full: bool = False,
) -> bool:
    """Let a process that drains because it was not needed take rooms again; false where there is none.

    With ``or_full`` also one without a free slot.
    """
    row = tx.one(
        "processes.reopen",
        app_id=key[0],
        region=key[1],
        deployment_id=deployment_id,
        made_for=made_for,
        reason=SCALED_DOWN,
        or_full=int(or_full),
    )
    if row is None:
        return False
    now = to_ms(context.now)
    journal.of_process(tx, row["process_id"], "process.reopened", now, WANTED_AGAIN)
    return True
