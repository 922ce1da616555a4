"""How many threads linear algebra may use.

The engine multiplies small matrices; more than one BLAS thread makes that slower, and many times slower
where other processes want the cores too (120 ms against 11 ms a tick, measured on two busy cores).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which linear algebra keeps to one thread of this process."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
