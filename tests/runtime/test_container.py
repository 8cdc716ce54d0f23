"""The container driver against a real engine."""

import pytest

from innkeeper.testing.runtime_suite import RuntimeSuite

pytestmark = pytest.mark.system


class TestContainerRuntime(RuntimeSuite):
    """The whole suite."""
