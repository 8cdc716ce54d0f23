"""The settings about usage and money: how often to measure, prices, and whether limits refuse."""

from dataclasses import dataclass

from innkeeper.config import values
from innkeeper.config.setting import setting
from innkeeper.core.billing import Prices


@dataclass(frozen=True, kw_only=True)
class BillingSettings:
    """The third part of ``Settings``. Money is in millionths of a dollar."""

    sample_interval_s: float = setting(
        values.number(1, 60),
        10.0,
        "1 to 60",
        "Seconds between two measurements of each process. One sample of each minute is kept for a "
        "day, and one of each ten minutes for a week.",
    )
    price_vcpu_hour: int = setting(
        values.dollars(1_000_000),
        0,
        "0 to 1000000",
        "Dollars for an hour of one requested vCPU, as shown on invoices: up to six decimals. "
        "0: usage is shown, and costs nothing.",
        "`0`",
    )
    price_egress_gb: int = setting(
        values.dollars(1_000_000),
        0,
        "0 to 1000000",
        "Dollars for a GB (10^9 bytes) that games have sent, as far as it can be measured.",
        "`0`",
    )
    credit: int = setting(
        values.dollars(1_000_000),
        0,
        "0 to 1000000",
        "Dollars of credit that each organization begins with: invoices use it up first.",
        "`0`",
    )
    enforce_billing: bool = setting(
        values.switch,
        False,
        "",
        "Refuse new processes (402) once an organization's credit, where there is any, or its "
        "monthly vCPU hours are used up.",
    )
    monthly_vcpu_hours: float | None = setting(
        values.number(0, 1_000_000_000),
        None,
        "0 to 1000000000",
        "vCPU hours that each organization may use in a UTC calendar month. Refuses only with "
        "`--enforce-billing`.",
        "no limit",
    )

    def prices(self) -> Prices:
        """What usage costs."""
        return Prices(
            vcpu_hour_micros=self.price_vcpu_hour,
            egress_gb_micros=self.price_egress_gb,
            credit_micros=self.credit,
            enforced=self.enforce_billing,
        )
