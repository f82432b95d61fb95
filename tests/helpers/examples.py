"""How many random examples a property is tested on: few by `make test`, many by `make soak`.

Example:
    @examples(2, 20)
    @given(st.integers())
    def test_doubling_is_an_addition(n):
        assert 2 * n == n + n
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

SOAK = "soak"
"""The profile that conftest.py loads where tests marked soak are selected."""
settings.register_profile(SOAK)


def examples(few: int, many: int) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that sets the number of examples, which are the same in every run."""
    options = settings(
        max_examples=many if settings.get_current_profile_name() == SOAK else few,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return lambda test: pytest.mark.examples(options(test))
