"""Number and times of the retries of requests to object storage, with a simulated clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import pytest
from obstore.exceptions import GenericError, NotFoundError, PermissionDeniedError, PreconditionError

from noether.data.zarr_store.stores import open_storage
from noether.data.zarr_store.stores.retry import PatientBucket, Retries
from support.repository import ROOT

RESET = "Generic S3 error: Error performing POST http://host/bucket?delete in 1ms - HTTP error: error sending request"
CUT = "Generic S3 error: Error getting list response body: HTTP error: request or response body error"
NO_ADDRESS = (
    "Generic S3 error: Error performing GET http://no-such-host.invalid:9000/b/a in 1ms - HTTP error: error sending "
    'request\n\nDebug source:\nGeneric { ConnectError("dns error", "failed to lookup address information") }'
)
STATUS = "Generic S3 error: Error performing GET http://host/a in 1ms - Server returned non-2xx status code: {}: no"
GIVEN_UP = (
    "Generic S3 error: Error performing GET http://host/a in 1s, after {} retries, max_retries: 6 - HTTP error: x"
)


class Server:
    """A request that raises errors, then returns "done". Its simulated clock advances only during waits."""

    def __init__(self, errors: Iterable[BaseException], seconds_each: float = 0.0, jitter: float = 1.0) -> None:
        self._errors = iter(errors)
        self._seconds_each = seconds_each
        self._jitter = jitter
        self._now = 0.0
        self.requests = 0
        self.waits: list[float] = []

    def answer(self) -> str:
        self.requests += 1
        self._now += self._seconds_each
        error = next(self._errors, None)
        if error is not None:
            raise error
        return "done"

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._now += seconds

    def ask(self, **bounds: Any) -> str:
        retries = Retries(
            **{"max_retries": 6, "timeout_s": 100.0} | bounds,
            clock=lambda: self._now,
            sleep=self.wait,
            jitter=lambda least, most: least + self._jitter * (most - least),
        )
        return retries.call(self.answer)


def errors(text: str) -> Iterable[BaseException]:
    return (GenericError(text) for _ in repeat(None))


@pytest.mark.parametrize("text", [RESET, CUT, *(STATUS.format(status) for status in (408, 429, 500, 502, 503))])
def test_transient_errors_are_retried(text: str) -> None:
    server = Server([GenericError(text)] * 3)
    assert server.ask() == "done"
    assert server.requests == 4


@pytest.mark.parametrize(
    "error",
    [
        *(GenericError(STATUS.format(status)) for status in (400, 409, 411, 501)),
        GenericError("Generic S3 error: Missing bucket name"),
        NotFoundError(STATUS.format(404)),
        PermissionDeniedError(STATUS.format(403)),
        PreconditionError(STATUS.format(412)),
        ValueError("HTTP error"),
    ],
    ids=lambda error: f"{type(error).__name__} {str(error)[-7:]}",
)
def test_permanent_errors_are_raised_at_once(error: Exception) -> None:
    server = Server([error])
    with pytest.raises(type(error)) as raised:
        server.ask()
    assert (server.requests, server.waits) == (1, [])
    assert not hasattr(raised.value, "__notes__")


def test_the_waits_grow_up_to_the_longest() -> None:
    server = Server(errors(RESET))
    with pytest.raises(GenericError):
        server.ask(max_retries=8, first_wait_s=0.1, growth=3.0, longest_wait_s=20.0)
    assert server.waits == pytest.approx([0.1, 0.3, 0.9, 2.7, 8.1, 20.0, 20.0, 20.0])


@pytest.mark.parametrize(("jitter", "waits"), [(0.0, [0.1] * 4), (0.5, [0.1, 0.2, 0.35, 0.575])])
def test_each_wait_is_a_random_time_up_to_a_multiple_of_the_one_before(jitter: float, waits: list[float]) -> None:
    """Each wait is at least the first one."""
    server = Server(errors(RESET), jitter=jitter)
    with pytest.raises(GenericError):
        server.ask(max_retries=4, first_wait_s=0.1, growth=3.0)
    assert server.waits == pytest.approx(waits)


def test_after_the_last_retry_the_error_has_the_number_of_tries() -> None:
    server = Server(errors(RESET))
    with pytest.raises(GenericError) as raised:
        server.ask(max_retries=6)
    assert server.requests == 7
    assert raised.value.__notes__ == ["tried 7 times in 6.3 s"]


def test_no_request_is_sent_after_the_time_is_over() -> None:
    server = Server(errors(RESET), seconds_each=30.0)
    with pytest.raises(GenericError) as raised:
        server.ask(timeout_s=100.0)
    assert raised.value.__notes__ == ["tried 4 times in 120.7 s"]


def test_a_request_is_not_retried_after_all_retries_of_obstore() -> None:
    server = Server(errors(GIVEN_UP.format(6)))
    with pytest.raises(GenericError) as raised:
        server.ask()
    assert server.requests == 1
    assert raised.value.__notes__ == ["tried 7 times in 0.0 s"]


def test_the_tries_of_obstore_are_counted() -> None:
    server = Server(chain([GenericError(GIVEN_UP.format(2))], [PermissionDeniedError("no")]))
    with pytest.raises(PermissionDeniedError):
        server.ask()
    server = Server(chain([GenericError(GIVEN_UP.format(2))], errors(RESET)))
    with pytest.raises(GenericError) as raised:
        server.ask(max_retries=3)
    assert raised.value.__notes__ == ["tried 6 times in 0.7 s"]


def test_an_outer_call_does_not_retry_a_failed_inner_call() -> None:
    inner, outer = Server(errors(RESET)), Server([])
    retries = Retries(3, 100.0, clock=lambda: 0.0, sleep=outer.wait)
    with pytest.raises(GenericError) as raised:
        retries.call(lambda: inner.ask(max_retries=2))
    assert (inner.requests, outer.waits) == (3, [])
    assert raised.value.__notes__ == ["tried 3 times in 0.3 s"]


def test_a_host_without_an_address_has_its_own_timeout_and_is_named() -> None:
    """The last try is at the timeout, not later."""
    server = Server(errors(NO_ADDRESS))
    with pytest.raises(GenericError) as raised:
        server.ask(name_timeout_s=2.0, growth=4.0)
    assert server.waits == pytest.approx([0.1, 0.4, 1.5])
    assert raised.value.__notes__ == [
        "tried 4 times in 2.0 s",
        "the host name no-such-host.invalid does not resolve; check the URL, and the endpoint in storage_options",
    ]


def test_a_host_that_resolves_a_moment_later_is_found() -> None:
    server = Server([GenericError(NO_ADDRESS)] * 2)
    assert server.ask(name_timeout_s=2.0) == "done"


def test_the_lookup_of_a_missing_role_has_the_same_timeout() -> None:
    server = Server(errors(RESET.replace("http://host/", "http://169.254.169.254/latest/api/token")))
    with pytest.raises(GenericError):
        server.ask(name_timeout_s=2.0, growth=4.0)
    assert server.waits == pytest.approx([0.1, 0.4, 1.5])


def test_a_host_that_refuses_connections_has_the_usual_timeout() -> None:
    server = Server(errors(RESET))
    with pytest.raises(GenericError):
        server.ask(name_timeout_s=2.0)
    assert server.requests == 7


class Scripted:
    """A bucket that raises errors one by one, then returns empty objects."""

    def __init__(self, name: str, errors: list[BaseException], log: list[str]) -> None:
        self._name = name
        self._errors = errors
        self._log = log

    def get(self, *_: Any) -> tuple[bytes, dict[str, Any]]:
        self._log.append(f"{self._name} get")
        if self._errors:
            raise self._errors.pop(0)
        return b"", {}

    def put(self, *_: Any) -> None:
        self._log.append(f"{self._name} put")
        if self._errors:
            raise self._errors.pop(0)


def patient(errors: list[BaseException], **bounds: Any) -> tuple[PatientBucket, list[str], list[float]]:
    """Return a bucket whose requests fail, the log of its requests, and the waits between them."""
    log: list[str] = []
    waits: list[float] = []
    retries = Retries(**{"max_retries": 6, "timeout_s": 100.0} | bounds, clock=lambda: sum(waits), sleep=waits.append)
    once, repeating = (Scripted(name, errors, log) for name in ("once:", "repeating:"))
    return PatientBucket(once, lambda: repeating, retries), log, waits  # type: ignore[arg-type, return-value]


def test_each_try_of_an_answered_read_is_counted() -> None:
    bucket, log, _ = patient([GenericError(STATUS.format(503))] * 2)
    bucket.get("a")
    assert (log, bucket.n_retries) == (["once: get"] * 3, 2)
    bucket.put("a", b"")
    assert (log[3:], bucket.n_retries) == (["once: put"], 2)


def test_a_read_continues_in_obstore_after_a_cut_body() -> None:
    """obstore requests the rest of the body. For a missing host, it would retry for half a minute."""
    errors = [NO_ADDRESS, RESET, CUT, STATUS.format(503)]
    bucket, log, _ = patient([GenericError(text) for text in errors])
    bucket.get("a")
    assert (log, bucket.n_retries) == (["once: get"] * 3 + ["repeating: get"] * 2, 4)
    bucket.get("a")
    assert log[5:] == ["once: get"]


def test_an_answer_about_a_missing_object_proves_that_the_host_exists() -> None:
    errors: list[BaseException] = [FileNotFoundError("a")]
    bucket, log, waits = patient(errors, jitter=lambda _, most: most, growth=4.0)
    with pytest.raises(FileNotFoundError):
        bucket.get("a")
    errors += [GenericError(NO_ADDRESS)] * 6
    bucket.get("a")
    assert log == ["once: get"] * 8
    assert sum(waits) > 10


def test_a_name_that_has_resolved_once_has_the_usual_timeout() -> None:
    """A name server that fails during a conversion can work again a minute later."""
    errors: list[BaseException] = []
    bucket, log, waits = patient(errors, jitter=lambda _, most: most, growth=4.0)
    bucket.get("a")
    errors += [GenericError(NO_ADDRESS)] * 6
    bucket.put("a", b"")
    assert log == ["once: get", *["once: put"] * 7]
    assert sum(waits) > 10


def test_a_name_that_has_never_resolved_fails_soon() -> None:
    bucket, log, waits = patient([GenericError(NO_ADDRESS) for _ in range(9)], jitter=lambda _, most: most)
    with pytest.raises(GenericError):
        bucket.get("a")
    assert set(log) == {"once: get"}
    assert sum(waits) == pytest.approx(2.0)


def test_the_bounds_are_those_of_the_retry_config() -> None:
    backoff = {"init_backoff": timedelta(seconds=2), "max_backoff": timedelta(seconds=9), "base": 4}
    config = {"max_retries": 1, "retry_timeout": timedelta(seconds=7), "backoff": backoff}
    own = Retries.of({"retry_config": config, "region": "any"})
    assert (own.max_retries, own.timeout_s) == (1, 7.0)
    assert (own.first_wait_s, own.longest_wait_s, own.growth) == (2.0, 9.0, 4.0)
    usual = Retries.of({})
    assert (usual.max_retries, usual.timeout_s) == (10, 100.0)
    assert (usual.first_wait_s, usual.longest_wait_s, usual.growth) == (0.1, 4.0, 4.0)


def test_the_documented_bounds_are_the_usual_ones() -> None:
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    code = text.partition("\n## Network failures\n")[2].partition("```python\n")[2].partition("```")[0]
    found: dict[str, Any] = {}
    exec(code, found)
    assert Retries.of(found["storage_options"]) == Retries.of({})
    open_storage("s3://bucket/store", found["storage_options"])  # obstore accepts them as well
