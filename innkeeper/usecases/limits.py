"""What an organization may use at the most, checked when a process is needed (behaviour.md 4.7)."""

from innkeeper.core.catalog import Deployment
from innkeeper.core.errors import Exhausted, PaymentRequired
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import billing, capacity
from innkeeper.usecases.metered_months import vcpu_hours, vcpu_hours_limit


def check_limits(tx: Tx, org_id: str, deployment: Deployment, context: Context) -> None:
    """Raise :class:`PaymentRequired` where credit or the month's hours are used up, and the operator wants
    that to count; :class:`Exhausted` where the processes would request too many vCPUs together.
    """
    org = tx.one("orgs.by_id", org_id=org_id)
    if org is None:
        return
    if context.policy.prices.enforced:
        if context.policy.prices.credit_micros and not billing.balance_of(tx, org_id, context):
            raise PaymentRequired("The organization's credit is used up")
        hours = vcpu_hours_limit(org, context)
        if hours is not None and vcpu_hours(tx, org_id, context) >= hours:
            raise PaymentRequired(f"Monthly vCPU hours limit reached: {hours:g} hours")
    limit = org["concurrent_vcpus_limit"]
    if limit is None:
        return
    capacity.lock(tx)  # or another server's process would not be counted yet
    row = tx.one("processes.vcpus_of_org", org_id=org_id)
    used = 0 if row is None else row["cpu_millis"]
    if used + deployment.cpu_millis > limit * 1000:
        raise Exhausted(
            f"The organization's limit of {limit:g} concurrent vCPUs would be exceeded",
            capacity.FULL_RETRY_S,
        )
