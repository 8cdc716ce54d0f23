"""The container driver measures what every driver must."""

import pytest

from innkeeper.testing.usage_suite import UsageSuite

pytestmark = pytest.mark.system


class TestContainerUsage(UsageSuite):
    """The whole suite."""
