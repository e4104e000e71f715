"""The suite catches every misbehaving executor, and finds nothing where the fault is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLUGINS = HERE.parent / "plugins"

sys.path[:0] = [str(PLUGINS), str(HERE)]

try:
    from misbehaving import FAULTS, Fault
finally:
    del sys.path[:2]

pytestmark = pytest.mark.long("runs the suite against every misbehaving executor, some of which never answer")

#: What it matters to how long a backend takes.
TIMED = (
    "test_members_are_cancelled_one_after_the_other",
    "test_a_pack_of_which_all_members_are_cancelled_is_ended",
    "test_a_member_that_takes_too_long_is_ended_alone",
    "test_pack_matrix[cancelled-then-killed-during-run-running]",
)
CATCHERS = sorted({(fault.flawless.__name__, fault.test) for fault in FAULTS})
HANDMADE = ("HandmadeExecutor", "HandmadePacksExecutor", "HandmadeTellingExecutor")
INSTALLED = [f"{fault.name} = misbehaving:{fault.name}" for fault in FAULTS]
INSTALLED += [f"{name} = by_hand:{name}" for name in HANDMADE]
INSTALLED += [
    f"{name} = misbehaving:{name}" for name in ("KeepingExecutor", "ListingExecutor", "PatientExecutor", "SlowExecutor")
]


@dataclass
class Outcome:
    """What one test of the suite said: a part of the report, or nothing if it passed."""

    failure: str | None


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Outcome]:
    """Run, for each fault, the test that is to catch it, and each such test once without a fault."""
    folder = tmp_path_factory.mktemp("faults")
    installed = folder / "misbehaving-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: misbehaving\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("\n".join(["[covalent_core.executors]", *INSTALLED, ""]))

    suites = HERE / "fault_suites.py"
    wanted = [f"{suites}::Test{fault.name}::{fault.test}" for fault in FAULTS]
    wanted += [f"{suites}::Test{executor}::{test}" for executor, test in CATCHERS]
    wanted += [f"{suites}::TestSlowExecutor::{test}" for test in TIMED]
    wanted.append(f"{suites}::TestBlindToFiles::test_a_value_comes_back_and_nothing_is_left")
    report = folder / "report.xml"
    options = ["-p", "no:cacheprovider", "-p", "no:randomly", "-q", f"--junitxml={report}", f"--basetemp={folder}/t"]
    # Most of them wait for what never comes: side by side.
    options += ["--numprocesses=3", "--maxschedchunk=1"]
    paths = os.pathsep.join(map(str, (PLUGINS, HERE, folder)))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *wanted],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert report.exists(), ran.stdout + ran.stderr
    cases = ET.parse(report).getroot().iter("testcase")
    return {(case.attrib["classname"].rpartition(".Test")[2], case.attrib["name"]): outcome_of(case) for case in cases}


def outcome_of(case: ET.Element) -> Outcome:
    problems = [problem.text or "" for problem in case if problem.tag in ("failure", "error")]
    return Outcome("\n".join(problems) or None)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught(outcomes: dict[tuple[str, str], Outcome], fault: Fault) -> None:
    failure = outcomes[fault.name, fault.test].failure

    assert failure is not None, f"{fault.name} passes {fault.test}"
    assert fault.words in failure, failure


@pytest.mark.parametrize(("executor", "test"), CATCHERS)
def test_without_a_fault_nothing_is_caught(outcomes: dict[tuple[str, str], Outcome], executor: str, test: str) -> None:
    assert outcomes[executor, test].failure is None


@pytest.mark.parametrize("test", TIMED)
def test_a_backend_that_takes_its_time_passes(outcomes: dict[tuple[str, str], Outcome], test: str) -> None:
    assert outcomes["SlowExecutor", test].failure is None


def test_a_probe_that_sees_no_files_is_caught(outcomes: dict[tuple[str, str], Outcome]) -> None:
    failure = outcomes["BlindToFiles", "test_a_value_comes_back_and_nothing_is_left"].failure

    assert "the probe `left` does not see the files of a job" in str(failure)


def test_there_are_enough_faults() -> None:
    assert len({fault.name for fault in FAULTS}) >= 25


def test_the_documentation_names_every_fault_and_what_catches_it() -> None:
    page = (ROOT / "docs" / "contract.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| `(.+)` \|$", page, re.MULTILINE)

    assert rows == [(fault.name, fault.description, fault.test) for fault in FAULTS]
