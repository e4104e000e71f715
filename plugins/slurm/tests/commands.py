"""Slurm's commands as the executor finds them: each call is written down, and sbatch may lose its answer."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sacct")

NOTED = """#!/bin/sh
echo "{name}" >> {folder}/calls
"""

NOTING = f'{NOTED}exec {{program}} "$@"\n'

#: The controller takes the job, and the answer is lost on its way back.
LOSING = f"""{NOTED}{{program}} "$@" >/dev/null
echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
exit 1
"""

#: It takes long until the controller is asked.
HOLDING = NOTED + 'while [ ! -e {until} ]; do sleep 0.02; done\nexec {program} "$@"\n'

#: A cluster whose MaxArraySize is small.
REFUSING = """#!/bin/sh
echo sbatch >> {folder}/calls
case "$*" in
*--array=*) places=$(echo "${{@}}" | tr -cd , | wc -c)
    if [ "$places" -ge {most} ]; then
        echo "sbatch: error: Batch job submission failed: Invalid job array specification" >&2
        exit 1
    fi
esac
exec {program} "$@"
"""

#: A controller that has forgotten all jobs, and the accounting if there is one.
FORGETTING = {
    "squeue": "",
    "scontrol": "echo 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1",
    "sacct": "{accounted}",
}


class SlurmCommands:
    """A folder for the option `slurm_path`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

        for name in PROGRAMS:
            self._write(name, NOTING)

    def lose_answers(self) -> None:
        """Let every sbatch lose its answer from now on."""
        self._write("sbatch", LOSING)

    def hold_submissions(self, until: Path) -> None:
        """Let every sbatch wait for a file from now on, before it asks the controller."""
        self._write("sbatch", HOLDING, until=until)

    def refuse_arrays_of_more_than(self, most: int) -> None:
        """Let every sbatch refuse large arrays from now on, as Slurm does."""
        self._write("sbatch", REFUSING, most=most)

    def forget_all(self, accounted: str = "exit 1") -> None:
        """Let the controller know no job from now on.

        Args:
            accounted: What sacct does.
        """
        for name, text in FORGETTING.items():
            self._write(name, NOTED + text, accounted=accounted)

    def replace(self, name: str, text: str) -> None:
        """Let a command be a shell script from now on, in which ``{program}`` is the real one."""
        self._write(name, NOTED + text)

    def counts(self) -> Counter[str]:
        return Counter((self.folder / "calls").read_text().split())

    def count(self, name: str) -> int:
        calls = self.folder / "calls"
        return calls.read_text().split().count(name) if calls.exists() else 0

    def _write(self, name: str, text: str, **values: object) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(text.format(name=name, folder=self.folder, program=shutil.which(name), **values))
        part.chmod(0o755)
        part.rename(self.folder / name)
