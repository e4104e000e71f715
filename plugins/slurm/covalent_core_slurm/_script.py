"""The job script. A pure function of what the user has said and of where the job is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from covalent_core.errors import ExecutorOptionError

Options = Mapping[str, str | int | bool | None]

#: Options of sbatch that belong to the executor, and why.
TAKEN = {
    "array": "tasks that become ready together are one already",
    "chdir": "set remote_workdir",
    "clusters": "its jobs would be looked for in this cluster; run the executor on the login node of the other one",
    "error": "what a task writes comes back with its result",
    "job-name": "a job that was submitted is found again by it",
    "output": "what a task writes comes back with its result",
    "parsable": "it is set already",
    "requeue": "a task that has failed is run again with retries= of its electron",
    "no-requeue": "it is set already",
    "test-only": "the job would not run",
    "wait": "waiting is what the executor does",
    "wrap": "the script is the task's",
}

#: The exit code of a script that finds its task begun: Slurm has put the job back into its queue.
BEGUN_BEFORE = 75

#: Signals that end a job also where Slurm sends them before its time is over.
_ENDING = ("TERM", "15", "KILL", "9", "STOP", "19")

#: What srun is told where it spreads a pack over the tasks of a job: each is alone, and may end as it likes.
SPREAD: Options = {"export": "ALL", "kill-on-bad-exit": 0, "wait": 0, "mpi": "none"}

#: Lets the runners of a pack know, when one of them has ended, that it has: srun runs this after each.
_OVER = """\
printf '%s\\n' '#!/bin/sh' ': > "${0%/*}/results/$COVALENT_CORE_SUPERVISOR.task-$SLURM_PROCID.over"' > over.sh
chmod +x over.sh"""

_SHORT = {
    "A": "account", "C": "constraint", "D": "chdir", "J": "job-name", "M": "clusters", "N": "nodes", "W": "wait",
    "a": "array",
    "c": "cpus-per-task", "d": "dependency", "e": "error", "n": "ntasks", "o": "output", "p": "partition",
    "q": "qos", "t": "time", "w": "nodelist", "x": "exclude",
}  # fmt: skip

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_SIGNAL = re.compile(r"(?:[RB]+:)?(?:SIG)?([A-Z0-9]+)(?:@\d+)?")
_TIME = re.compile(r"(?:(\d+)-)?(\d+(?::\d+){0,2})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Script:
    """What is the same in the scripts of all jobs of an executor.

    Attributes:
        options: The options of sbatch, each by its long name.
        bashrc_path: A file that is sourced before all else; empty for none.
    """

    options: Options = field(default_factory=dict)
    python_path: str = "python3"
    bashrc_path: str = ""
    conda_env: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    prerun_commands: Sequence[str] = ()
    postrun_commands: Sequence[str] = ()
    use_srun: bool = False
    srun_options: Options = field(default_factory=dict)
    srun_append: str | None = None
    spread: bool = False

    def fixed(self, name: str, folder: str, output: str) -> dict[str, str | int | bool | None]:
        """Return the options that have to be told sbatch itself, because no variable beats these.

        Args:
            name: What the job is called.
            folder: Where the folders of all jobs are.
            output: The file there with what the script writes; Slurm puts the place of an element for ``%a``.
        """
        own = {"job-name": name, "output": f"{_pattern(folder)}/{output}", "no-requeue": None}
        return {**own, "export": self.options.get("export", "ALL")}

    def write(self, ticket: str, folder: str, workdir: str) -> str:
        """Return the script of a job.

        Args:
            folder: Where the files of the job are, with ``bundle.pyz`` among them.
            workdir: Where its tasks run, seen from there.
        """
        # Without the folder the job is no longer wanted.
        begin = [f"cd {shlex.quote(folder)} || exit 0", *_begin(shlex.quote(ticket), shlex.quote(workdir))]
        return "\n".join([*self._head(), "", *begin, *self._rest(shlex.quote(ticket))]) + "\n"

    def write_array(self, name: str, folder: str, members: Sequence[tuple[str, str]]) -> str:
        """Return the script of an array.

        Args:
            folder: Where the folders of the jobs are, each named like its ticket.
            members: Of each job its ticket, and where its tasks run, seen from its folder.
        """
        outputs = f"{shlex.quote(folder)}/{name}"
        output = f'{outputs}/"$SLURM_ARRAY_TASK_ID".out'
        begin = [
            "jobs=(",
            *(shlex.quote(f"{ticket} {workdir}") for ticket, workdir in members),
            ")",
            'read -r ticket workdir <<< "${jobs[$SLURM_ARRAY_TASK_ID]}"',
            f'cd {shlex.quote(folder)}/"$ticket" || {{ rm -f {output}; rmdir {outputs}; exit 0; }}',
            # Slurm has opened it and goes on writing to it, for example who has ended the job; it opens it anew if it
            # puts the job back into its queue.
            f"mv {output} slurm.out; : > {output}",
            *_begin('"$ticket"', '"$workdir"'),
        ]
        return "\n".join([*self._head(), "", *begin, *self._rest('"$ticket"')]) + "\n"

    def _head(self) -> list[str]:
        return ["#!/bin/bash", *(f"#SBATCH {option}" for option in render(self.options))]

    def _rest(self, ticket: str) -> list[str]:
        # Until the runner can take it, and in what has no handler for it, it must end nothing.
        ignored = [f"trap '' {self._warning}"] if self._warning else []
        return [*ignored, *self._environment(ticket), *self._preparations(), *self._call()]

    @property
    def _warning(self) -> str:
        """The signal that Slurm sends before the time of the job is over, unless it is one that ends the job."""
        found = _SIGNAL.fullmatch(str(self.options.get("signal", "")).upper())
        return found[1] if found and found[1] not in _ENDING else ""

    def _environment(self, ticket: str) -> list[str]:
        return [
            f"export COVALENT_CORE_SUPERVISOR={ticket}",
            *self._deadline(),
            *(f"export {name}={shlex.quote(value)}" for name, value in self.variables.items()),
        ]

    def _deadline(self) -> list[str]:
        """Return how the tasks are told when their time is over; older versions of Slurm do not say it themselves."""
        seconds = seconds_of(str(self.options.get("time", "")))
        known = "SLURM_JOB_END_TIME" if seconds is None else f"SLURM_JOB_END_TIME:-$(($(date +%s) + {seconds}))"
        return [f"export COVALENT_CORE_DEADLINE=${{{known}}}"]

    def _preparations(self) -> list[str]:
        lines = [f"source {quote_path(self.bashrc_path)}"] if self.bashrc_path else []
        lines += [f"{command} || exit" for command in self.prerun_commands]

        if self.conda_env:
            lines.append(f'eval "$(conda shell.bash hook)" && conda activate {shlex.quote(self.conda_env)} || exit')

        return lines

    def _call(self) -> list[str]:
        runner, first = f"{quote_path(self.python_path)} bundle.pyz", []

        if self.spread:
            # Since Slurm 22.05 srun does not take this one from sbatch.
            cpus = {"cpus-per-task": self.options.get("cpus-per-task", False)}
            srun = self._srun({**SPREAD, **cpus}, '--task-epilog="$PWD/over.sh"')
            runner, first = f"{runner} --spread {srun} {runner} --share SLURM_PROCID", [_OVER]
        elif self.use_srun:
            runner = f"{self._srun({'ntasks': 1})} {runner}"

        # Slurm signals the process of the script alone, so that has to be the runner.
        call = [f"exec {runner}"]

        if self.postrun_commands:
            call = [*_forwarding(runner, self._warning), *self.postrun_commands]

        return [*first, *call]

    def _srun(self, own: Options, *more: str) -> str:
        said = {_long(name): value for name, value in self.srun_options.items()}
        append = [self.srun_append] if self.srun_append else []
        return " ".join(["srun", *more, *render({**own, **said}), *append])


def _begin(ticket: str, workdir: str) -> list[str]:
    """Return how a job finds out that its task has begun before, and makes the folder for it. Both come quoted."""
    return [
        f"if [ -L results/{ticket}.process ]; then",
        '    echo "the task is not begun a second time" >&2',
        f"    exit {BEGUN_BEFORE}",
        "fi",
        f"mkdir -p {workdir}",
    ]


def _forwarding(runner: str, warning: str) -> list[str]:
    """Return how a shell that has more to do afterwards runs something and hands on signals."""
    signals = ["TERM", *([warning] if warning else [])]
    return [
        f"{runner} &",
        "runner=$!",
        *(f"trap 'kill -{signal} $runner' {signal}" for signal in signals),
        # A wait that a signal has interrupted says nothing about the runner.
        "while kill -0 $runner 2>/dev/null; do wait $runner; done",
        "trap - TERM",
        *([f"trap '' {warning}"] if warning else []),
    ]


def sbatch_options(typed: Options, more: Options) -> dict[str, str | int | bool | None]:
    """Return all options of sbatch under their long names.

    Args:
        typed: The fields of the executor; None is not set.
        more: The mapping `options` of the executor; None, True and "" stand for an option without a value.

    Raises:
        ExecutorOptionError: One is said twice, belongs to the executor, or cannot be an option.
    """
    found: dict[str, str | int | bool | None] = {}
    found |= {name.replace("_", "-"): value for name, value in typed.items() if value is not None}
    check_options("options", found)
    check_options("options", more)

    for key, value in more.items():
        name = _long(key)

        if name in TAKEN:
            raise ExecutorOptionError(f"options has {key!r}, which the executor sets itself: {TAKEN[name]}")

        if name in found:
            raise ExecutorOptionError(f"options has {key!r}, which is already {found[name]!r}; say it once")

        if value is not False:
            found[name] = value

    return found


def check_spread(options: Options) -> None:
    """Refuse to spread a pack where nothing says over how many tasks.

    Raises:
        ExecutorOptionError: Nothing does.
    """
    if not any(name == "nodes" or name.startswith("ntasks") for name in options):
        raise ExecutorOptionError(
            "spread runs the electrons of a pack over the tasks of its job, which has only one; set ntasks= or nodes="
        )


def check_options(source: str, options: Options) -> None:
    """Refuse what would not be one option of sbatch or srun, but something else in a script.

    Args:
        source: Where the user has said them.

    Raises:
        ExecutorOptionError: One is refused.
    """
    for key, value in options.items():
        if not _NAME.fullmatch(_long(key)) or "\n" in str(value):
            raise ExecutorOptionError(f"{source} has {key!r}: {value!r}, expected the name of an option and one line")


def check_variables(variables: Mapping[str, str]) -> None:
    """Refuse what cannot be the name of an environment variable.

    Raises:
        ExecutorOptionError: One cannot.
    """
    for name in variables:
        if not _VARIABLE.fullmatch(name):
            raise ExecutorOptionError(f"variables has {name!r}, expected a name of letters, digits and underscores")


def _long(key: str) -> str:
    return _SHORT.get(key, key.lstrip("-").replace("_", "-"))


def render(options: Options) -> list[str]:
    """Return options as they are written for Slurm's commands."""
    return [
        f"--{name}" if value is None or value is True or value == "" else f"--{name}={_quote(str(value))}"
        for name, value in options.items()
        if value is not False
    ]


def seconds_of(time: str) -> int | None:
    """Return how long a time limit is in the forms that sbatch takes; None where it is none, or unlimited."""
    found = _TIME.fullmatch(time)

    if found is None:
        return None

    days, *parts = found[1], *map(int, found[2].split(":"))

    if days is None and len(parts) < 3:
        # Minutes, or minutes and seconds.
        parts.insert(0, 0)

    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def quote_path(path: str) -> str:
    """Quote a path for a shell, but let it find the home directory and variables: ``~/x`` and ``$NAME/x``."""
    if re.fullmatch(r"[\w./+-]+", path, re.ASCII):
        return path

    text = '"' + re.sub(r'(["\\`]|\$(?![A-Za-z_{]))', r"\\\1", path) + '"'
    return '"$HOME"' if path == "~" else re.sub(r'^"~/', '"$HOME/', text)


def _pattern(path: str) -> str:
    """Return what stands for a path where Slurm replaces ``%j`` and the like."""
    return path.replace("%", "%%")


def _quote(value: str) -> str:
    """Quote a value where that is needed; both sbatch, in a script, and the shell understand it."""
    return value if re.fullmatch(r"[\w.,:;=/@%+\[\]-]+", value, re.ASCII) and ";" not in value else shlex.quote(value)
