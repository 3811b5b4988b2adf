"""After a failure calls are refused at once, and one at a time tries again."""

from __future__ import annotations

import asyncio

import pytest

from automatch.errors.store import DatabaseUnavailableError
from automatch.store.circuit_breaker import RETRY_AFTER_S, CircuitBreaker


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _fail(breaker: CircuitBreaker) -> None:
    with pytest.raises(OSError, match="away"), breaker.attempt():
        raise OSError("away")


def _check_refused(breaker: CircuitBreaker) -> None:
    with pytest.raises(DatabaseUnavailableError), breaker.attempt():
        pytest.fail("the block was run")


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def breaker(clock: _Clock) -> CircuitBreaker:
    return CircuitBreaker(OSError, clock=clock)


def test_calls_after_a_failure_are_refused_until_it_is_time_to_try_again(
    breaker: CircuitBreaker, clock: _Clock
) -> None:
    with breaker.attempt():
        pass
    _fail(breaker)
    _check_refused(breaker)
    clock.now += RETRY_AFTER_S
    _fail(breaker)
    _check_refused(breaker)
    clock.now += RETRY_AFTER_S

    with breaker.attempt():
        _check_refused(breaker)
    with breaker.attempt(), breaker.attempt():
        pass


def test_second_failure_of_calls_that_began_together_lets_no_second_one_try(
    breaker: CircuitBreaker, clock: _Clock
) -> None:
    slow = breaker.attempt()
    slow.__enter__()
    _fail(breaker)
    clock.now += RETRY_AFTER_S
    error = OSError("away")
    assert not slow.__exit__(OSError, error, None)
    _check_refused(breaker)


def test_other_errors_and_cancelled_calls_say_nothing_of_the_server(
    breaker: CircuitBreaker, clock: _Clock
) -> None:
    with pytest.raises(KeyError), breaker.attempt():
        raise KeyError
    with breaker.attempt():
        pass
    _fail(breaker)
    clock.now += RETRY_AFTER_S
    with pytest.raises(asyncio.CancelledError), breaker.attempt():
        raise asyncio.CancelledError

    with breaker.attempt():
        pass
