"""One poll for all who wait, and nothing is concluded from silence."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from covalent_core.backend import Alive, Look, Over, Unknown, Watch
from covalent_core.backend._pace import HURRY_SECONDS, Pace, Setbacks, Waited
from covalent_core.backend.watch import _Job
from covalent_core.errors import BackendUnreachableError, ExecutorError

RUNS, DONE = Alive("RUNNING"), Over("COMPLETED", exit_code=0)


class Backend:
    """Answers as it is told, and keeps what it was asked at once.

    Args:
        answers: What a job is from one look to the next, the last for ever; an exception is raised for all.
    """

    def __init__(self, **answers: Sequence[Look | Exception | None]) -> None:
        self.asked: list[list[str]] = []
        self._answers = answers

    async def __call__(self, job_ids: Sequence[str]) -> Mapping[str, Look]:
        self.asked.append(list(job_ids))
        found: dict[str, Look] = {}

        for job_id in job_ids:
            answers = self._answers.get(job_id, [RUNS])
            answer = answers[min(sum(job_id in ids for ids in self.asked), len(answers)) - 1]

            if isinstance(answer, Exception):
                raise answer

            if answer is not None:
                found[job_id] = answer

        return found


def watching(ask: Callable[[Sequence[str]], Awaitable[Mapping[str, Look]]], **options: Any) -> Watch[str]:
    return Watch(ask, **{"floor": 0.001, "ceiling": 0.01, "hurried": 0.001, **options})


def test_however_many_wait_the_backend_is_asked_once() -> None:
    backend = Backend(job=[DONE])

    async def look() -> list[Look]:
        watch = watching(backend)
        return await asyncio.gather(*(watch.look("job", now=number % 2 == 0) for number in range(500)))

    assert asyncio.run(look()) == [DONE] * 500
    assert backend.asked == [["job"]]


@pytest.mark.parametrize(("chunk", "sizes"), [(None, [250]), (100, [100, 100, 50])])
def test_as_many_are_asked_for_as_the_backend_can_be(chunk: int | None, sizes: list[int]) -> None:
    backend = Backend()

    async def look() -> None:
        watch = watching(backend, chunk=chunk)
        await asyncio.gather(*(watch.look(str(number)) for number in range(250)))

    asyncio.run(look())

    assert [len(job_ids) for job_ids in backend.asked] == sizes


def test_a_job_that_is_left_out_is_not_known() -> None:
    async def look() -> list[Look]:
        watch = watching(Backend(gone=[None]))
        return await asyncio.gather(watch.look("gone"), watch.look("there"))

    assert asyncio.run(look()) == [Unknown("the backend does not list it"), RUNS]


def test_a_look_that_fails_is_not_known_for_those_whom_it_was_about() -> None:
    async def look() -> list[Look]:
        watch = watching(Backend(b=[OSError("munge has gone")]), chunk=1)
        return await asyncio.gather(watch.look("a"), watch.look("b"), watch.look("c"))

    assert asyncio.run(look()) == [RUNS, Unknown("munge has gone"), RUNS]


@pytest.mark.parametrize("answer", [None, 3, {"job"}])
def test_an_answer_that_is_none_is_a_look_that_has_failed(answer: Any) -> None:
    async def ask(job_ids: Sequence[str]) -> Any:
        return answer

    assert isinstance(asyncio.run(watching(ask).look("job")), Unknown)


def test_an_answer_that_takes_too_long_is_none() -> None:
    async def ask(job_ids: Sequence[str]) -> Mapping[str, Look]:
        await asyncio.Event().wait()
        return {}

    assert asyncio.run(watching(ask, limit=0.01).look("job")) == Unknown("no answer within 0.01 s")


def test_only_over_ends_the_waiting() -> None:
    looks: list[Look] = []
    told: list[str] = []
    answers = [RUNS, None, OSError("munge has gone"), OSError("munge has gone"), Alive("PENDING", "QOSMaxJobs"), DONE]
    backend = Backend(job=answers)

    over = asyncio.run(watching(backend).until_over("job", on_look=looks.append, tell=told.append))

    assert over == DONE
    assert [type(look) for look in looks] == [Alive, Unknown, Unknown, Unknown, Alive, Over]
    assert told[0].startswith("it is not known how the job is, since 2")
    assert told[0].endswith(": the backend does not list it")
    assert told[1].endswith(": munge has gone")
    assert told[2:] == ["QOSMaxJobs", ""]


def test_what_has_been_asked_before_is_no_answer() -> None:
    """Who has just changed something must not be told what was so before."""

    async def look() -> list[Look]:
        asked, go_on = asyncio.Event(), asyncio.Event()
        answers: list[Look] = [DONE, RUNS]

        async def ask(job_ids: Sequence[str]) -> Mapping[str, Look]:
            asked.set()
            await go_on.wait()
            return {"job": answers.pop()}

        watch = watching(ask)
        early = asyncio.create_task(watch.look("job"))
        await asked.wait()
        late = asyncio.create_task(watch.look("job"))
        await asyncio.sleep(0)
        go_on.set()
        return [await early, await late]

    assert asyncio.run(look()) == [RUNS, DONE]


def test_who_is_interrupted_interrupts_nobody_and_is_asked_for_no_more() -> None:
    backend = Backend(a=[RUNS, RUNS, DONE])

    async def look() -> Over:
        watch = watching(backend)
        first, second = (asyncio.create_task(watch.until_over(job_id)) for job_id in ("b", "a"))
        await watch.look("b")
        first.cancel()
        await asyncio.wait([first])
        over = await second
        polling = watch._polling
        assert polling is None or await asyncio.wait_for(polling, 5) is None
        return over

    assert asyncio.run(look()) == DONE
    assert backend.asked[-1] == ["a"]


def test_when_all_were_interrupted_nobody_is_asked_about() -> None:
    backend = Backend(job=[RUNS], next=[DONE])

    async def look() -> Look:
        watch = watching(backend, floor=0.05)
        await watch.look("job")
        # It would be asked about in a moment, and then nobody waits any more.
        waiting = asyncio.create_task(watch.look("job"))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.sleep(0.1)
        return await watch.look("next")

    assert asyncio.run(look()) == DONE
    assert backend.asked == [["job"], ["next"]]


def test_the_word_of_another_watch_counts_as_well() -> None:
    async def wait() -> Over:
        queue, files = watching(Backend(job=[RUNS])), watching(Backend(job=[None, None, Over("ended")]))
        over = await queue.until_over("job", sign=files)
        assert not queue._jobs["job"].answers
        return over

    assert asyncio.run(wait()) == Over("ended")


def test_what_a_sign_does_not_know_is_not_told() -> None:
    told: list[str] = []

    async def wait() -> Over:
        queue = watching(Backend(job=[Alive("PENDING", "Priority"), Alive("PENDING", "Priority"), DONE]))
        return await queue.until_over("job", sign=watching(Backend(job=[None])), tell=told.append)

    assert asyncio.run(wait()) == DONE
    assert told == ["Priority", ""]


@pytest.mark.parametrize(("answers", "over"), [([RUNS, None, DONE], True), ([RUNS, OSError("no")], False)])
def test_whether_a_job_is_over_in_time(answers: list[Look | Exception | None], over: bool) -> None:
    watch = watching(Backend(job=answers))

    assert asyncio.run(watch.is_over_within("job", 30 if over else 0.05)) == over


def test_what_is_given_the_looks_may_raise() -> None:
    def on_look(look: Look) -> None:
        raise ValueError(look)

    with pytest.raises(ValueError, match="RUNNING"):
        asyncio.run(watching(Backend()).until_over("job", on_look=on_look))


@pytest.mark.parametrize("asked", [False, True], ids=["before it is asked", "while it is asked"])
def test_who_waits_for_a_watch_that_closes_hears_of_it(asked: bool) -> None:
    async def wait() -> BaseException | None:
        under_way = asyncio.Event()

        async def ask(job_ids: Sequence[str]) -> Mapping[str, Look]:
            under_way.set()
            await asyncio.Event().wait()
            return {}

        watch = watching(ask)
        waiting = asyncio.create_task(watch.until_over("job"))
        await (under_way.wait() if asked else asyncio.sleep(0))
        watch.close()
        await asyncio.wait([waiting], timeout=5)

        with pytest.raises(ExecutorError, match="is closed"):
            await watch.look("job")

        return waiting.exception()

    assert isinstance(asyncio.run(wait()), ExecutorError)


# --- the pace --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "pause"), [(0.0, 2.0), (4.0, 2.0), (20.0, 5.0), (1000.0, 30.0)], ids=["new", "young", "older", "old"]
)
def test_the_longer_somebody_waits_the_rarer_the_looks(age: float, pause: float) -> None:
    now = 100.0 + age

    assert Pace(2.0, 30.0, 0.25).due(Waited(since=100.0, asked_at=now), now) == now + pause


def test_who_comes_anew_does_not_set_the_pace_for_the_old() -> None:
    backend = Backend()

    async def look() -> None:
        watch = watching(backend, chunk=100, ceiling=100.0)
        await watch.look("old")
        watch._jobs["old"].since -= 1000
        waiting = asyncio.create_task(watch.look("old"))

        for number in range(5):
            await watch.look(f"new {number}")

        waiting.cancel()
        await asyncio.wait([waiting])
        watch.close()

    asyncio.run(look())

    assert sum("old" in job_ids for job_ids in backend.asked) <= 2


def test_a_hurry_makes_the_pauses_short_for_a_while() -> None:
    watch, pace = Watch(Backend()), Pace(10.0, 60.0, 0.25)
    now = time.monotonic()
    watch._jobs["job"] = job = _Job(since=now - 1000, asked_at=now)
    assert pace.due(job, now) == now + 60

    watch.hurry("job")

    assert pace.due(job, now) == now + 0.25
    assert pace.due(job, now + HURRY_SECONDS + 1) == now + 10


def test_after_failures_the_pauses_grow_until_a_look_shows_something() -> None:
    setbacks, now = Setbacks(1.0, 30.0), time.monotonic()
    pauses = []

    for _ in range(7):
        setbacks.met(OSError("no"))
        pauses.append(round(setbacks.until(hurried=False) - now))

    assert pauses == [1, 2, 4, 8, 16, 30, 30]

    setbacks.over()
    setbacks.met(OSError("no"))

    assert round(setbacks.until(hurried=False) - now) == 1


def test_a_hurry_waits_for_no_pause_but_that_after_a_refusal() -> None:
    setbacks, now = Setbacks(1.0, 30.0), time.monotonic()
    setbacks.met(OSError("no"))
    assert setbacks.until(hurried=True) < now

    setbacks.met(BackendUnreachableError("no", refused=True))

    assert round(setbacks.until(hurried=True) - now) == round(setbacks.until(hurried=False) - now) == 120


@pytest.mark.parametrize("refused", [False, True])
def test_a_look_that_fails_puts_off_the_next(refused: bool) -> None:
    error = BackendUnreachableError("no", refused=refused)

    async def look() -> float:
        watch = watching(Backend(job=[error]), floor=10.0, ceiling=60.0)
        await watch.look("job")
        await asyncio.sleep(0)
        watch._jobs["job"].answers.append(asyncio.get_running_loop().create_future())
        return watch._next_poll() - time.monotonic()

    assert round(asyncio.run(look())) == (120 if refused else 10)


def test_a_refusal_is_not_tried_again_for_the_others_of_the_same_look() -> None:
    refusal = BackendUnreachableError("rate exceeded", refused=True)
    backend = Backend(a=[refusal])

    async def look() -> list[Look]:
        watch = watching(backend, chunk=1)
        found = await asyncio.gather(watch.look("a"), watch.look("b"))
        watch.close()
        return found

    assert asyncio.run(look()) == [Unknown("rate exceeded")] * 2
    assert backend.asked == [["a"]]


def test_the_log_has_a_trouble_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "covalent_core.backend")
    backend = Backend(**{str(number): [OSError("munge has gone")] * 20 + [DONE] for number in range(10)})

    async def wait() -> None:
        watch = watching(backend)
        await asyncio.gather(*(watch.until_over(str(number)) for number in range(10)))

    asyncio.run(wait())

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "munge has gone" in caplog.messages[0]
