"""The command line: ``covalent-core``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from covalent_core.errors import CovalentError

if TYPE_CHECKING:
    from datetime import datetime

    from covalent_core._client.result import Result
    from covalent_core._model.cancellation import CancelOutcome
    from covalent_core._model.where import Where

COLOURS = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "bright_yellow",
    "RUNNING": "cyan",
    "DISPATCHING": "blue",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors of ours are one line on standard error and exit code 1."""
    options = _parser().parse_args(arguments)

    try:
        options.command(options)
    except CovalentError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _parser() -> argparse.ArgumentParser:
    from covalent_core import __version__

    parser = argparse.ArgumentParser("covalent-core", description="Watch and cancel workflows.")
    parser.add_argument("--version", action="version", version=f"covalent-core {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    listing = add("list", _list, "Show the newest dispatches.")
    listing.add_argument("--status", action="append", help="only those with this status; may be repeated")
    listing.add_argument("--limit", type=int, default=20)
    _add_where(listing)

    showing = add("show", _show, "Show a dispatch and its nodes.")
    showing.add_argument("dispatch_id")
    showing.add_argument("--wait", action="store_true", help="follow it until it has ended")

    cancelling = add("cancel", _cancel, "Cancel a dispatch, some of its nodes, or all that have something in common.")
    cancelling.add_argument("dispatch_id", nargs="?")
    _add_where(cancelling)
    cancelling.add_argument("--dry-run", action="store_true", help="only show what would be cancelled")
    cancelling.add_argument("--task", type=int, action="append", metavar="NODE_ID", help="may be repeated")
    cancelling.add_argument("--reason")
    cancelling.add_argument("--grace", type=float, metavar="SECONDS", help="give what runs no longer; 0 kills at once")
    cancelling.add_argument("--wait", action="store_true", help="return when nothing of it is alive any more")
    cancelling.add_argument("--timeout", type=float, metavar="SECONDS", help="wait no longer; the cancel goes on")
    cancelling.add_argument("--force", action="store_true", help="give up what cannot be confirmed to have ended")

    add("schedules", _schedules, "Show the schedules, what is due next and what was done last.")

    unscheduling = add("unschedule", _unschedule, "End a schedule, and cancel what it has open.")
    unscheduling.add_argument("name")
    unscheduling.add_argument("--reason")

    purging = add("purge", _purge, "Forget dispatches that ended long ago, with their values.")
    purging.add_argument("--older-than", type=_span, required=True, metavar="AGE", help="such as 30d, 12h, 45m or 90s")
    purging.add_argument("--status", action="append", help="only those that ended so; may be repeated")
    purging.add_argument("--dry-run", action="store_true", help="only show which")

    add("executors", _executors, "Show the installed executors.")

    add("stop", _stop, "End the dispatcher; what runs goes on, and the next one takes it up.")

    serving = add("serve", _serve, "Run the dispatcher in the foreground.")
    serving.add_argument("--idle-seconds", type=float, help="end after so long without work (default: never)")
    return parser


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tag", action="append", help="those that have this tag; may be repeated")
    parser.add_argument("--name", metavar="LATTICE", help="those of the lattice of this name")
    parser.add_argument("--executor", metavar="NAME", help="those that run something there")
    parser.add_argument("--older-than", type=_span, metavar="AGE", help="those dispatched so long ago: 30d, 12h")


def _where(options: argparse.Namespace) -> Where | None:
    from covalent_core._client.choosing import where

    given = {name: getattr(options, name) for name in ("tag", "name", "executor", "older_than")}
    said = {name: value for name, value in given.items() if value is not None}
    return where(**said) if said else None


def _list(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from covalent_core._client.api import list_dispatches

    table = Table(Column("dispatch", no_wrap=True, min_width=36), "lattice", "status", "started", "ended")

    for result in list_dispatches(options.status, options.limit, where=_where(options)):
        times = _moment(result.start_time), _moment(result.end_time)
        table.add_row(result.dispatch_id, result.name, _coloured(result.status), *times)

    Console().print(table)


def _show(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.live import Live

    from covalent_core._client.api import get_result
    from covalent_core.errors import ResultTimeoutError

    result = get_result(options.dispatch_id)

    if options.wait and not result.status.terminal:
        with Live(_nodes_table(result), auto_refresh=False) as live:
            while not result.status.terminal:
                with suppress(ResultTimeoutError):
                    get_result(options.dispatch_id, wait=True, timeout=0.5)

                result = get_result(options.dispatch_id)
                live.update(_nodes_table(result), refresh=True)
    else:
        Console().print(_nodes_table(result))

    if result.error:
        Console().print(result.error, markup=False, highlight=False)


def _nodes_table(result: Result) -> Any:
    from rich.table import Table

    table = Table(
        "node",
        "status",
        "job handle",
        "error, or what it waits for",
        title=f"{result.name} {result.dispatch_id}: {result.status}",
    )

    for label, node_id in result.nodes():
        node = result.get_node_result(node_id)
        error = (node["error"] or "").strip().splitlines()
        words = error[-1] if error else f"waiting: {node['waiting']}" if node["waiting"] else ""
        table.add_row(label, _coloured(node["status"]), node["job_handle"] or "", words)

    return table


#: What `ct.cancel` is told besides what is to be cancelled.
ORDER = ("reason", "grace", "wait", "timeout", "force", "dry_run")


def _cancel(options: argparse.Namespace) -> None:
    from covalent_core._client.cancelling import cancel

    given: dict[str, Any] = {name: getattr(options, name) for name in ORDER}
    given |= {"dispatch_id": options.dispatch_id, "task_ids": options.task, "where": _where(options)}
    found: Any = cancel(**given)
    outcomes: list[CancelOutcome] = found if given["where"] else [found]

    for outcome in outcomes:
        print(f"Dispatch {outcome.dispatch_id} would be cancelled." if options.dry_run else outcome)

    if options.wait and (left := [name for outcome in outcomes for name in outcome.unconfirmed]):
        raise SystemExit(f"not known to have ended yet: {', '.join(left)}; the cancel goes on")

    raise SystemExit(0 if any(outcomes) else 2)


def _schedules(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from covalent_core._client.schedules import list_schedules

    table = Table(Column("schedule", no_wrap=True), "lattice", "due", "next", "last")

    for found in list_schedules():
        due = f"{found.cron} ({found.timezone})" if found.cron else f"every {found.every:g} s"
        following = "paused" if found.paused else _moment(found.next[0]) if found.next else "over"
        last = f"{_moment(found.last[0].instant)} {found.last[0].outcome}" if found.last else ""
        table.add_row(found.name, found.lattice, due, following, last)

    Console().print(table)


def _moment(time: datetime | None) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def _unschedule(options: argparse.Namespace) -> None:
    from covalent_core._client.cancelling import BY_USER
    from covalent_core._client.schedules import unschedule

    for outcome in unschedule(options.name, reason=options.reason or BY_USER):
        print(outcome)


def _span(text: str) -> float:
    """Read a span of time, a number with a unit, in seconds."""
    try:
        return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1:]]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time; write 30d, 12h, 45m or 90s") from None


def _purge(options: argparse.Namespace) -> None:
    from covalent_core._client.purging import purge

    for dispatch_id in purge(options.older_than, status=options.status, dry_run=options.dry_run):
        print(dispatch_id)


def _executors(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from covalent_core._executors.installed import installed, load_class
    from covalent_core.errors import ExecutorPluginError

    table = Table("name", "class", "package")
    problems = []

    for point in installed().values():
        package = point.dist.metadata if point.dist else None
        table.add_row(point.name, point.value, f"{package['Name']} {package['Version']}" if package else "")

        try:
            load_class(point.name)
        except ExecutorPluginError as error:
            problems.append(str(error))

    Console().print(table, *problems, sep="\n", markup=False)


def _serve(options: argparse.Namespace) -> None:
    from covalent_core._dispatch.serving import serve
    from covalent_core._home import find_home
    from covalent_core._lock import last_holder, this_process

    # Of the libraries that executors use only what the user should know: some tell of each command.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("covalent_core").setLevel(logging.INFO)
    home = find_home()

    try:
        served = serve(home, idle_seconds=options.idle_seconds)
    except CovalentError:
        raise
    except Exception:
        logging.getLogger(__name__).exception("the dispatcher of %s, %s, has failed", home.folder, this_process())
        _end_process(1)

    if not served and options.idle_seconds is None:
        print(f"{last_holder(home) or 'another dispatcher'} serves {home.folder}", file=sys.stderr)
        _end_process(1)

    _end_process(0)


def _end_process(code: int) -> NoReturn:
    """End this process, not only its main thread: blocking hooks may go on waiting in others for hours."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _stop(options: argparse.Namespace) -> None:
    from covalent_core._client.spawn import stop_dispatcher
    from covalent_core._home import find_home

    home = find_home()
    ended = stop_dispatcher(home)

    if ended is None:
        print(f"No dispatcher serves {home.folder}.")
        raise SystemExit(2)

    print(f"Ended the dispatcher of {home.folder}: {ended}. What runs goes on, and the next one takes it up.")


def _coloured(status: Any) -> str:
    return f"[{COLOURS.get(status, 'default')}]{status}[/]"
