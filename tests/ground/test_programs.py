"""Where a program is missing, the tests that need it are left out and it is said how to have them; but not with CI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import programs
import pytest

SSHD = {"sshd": "openssh-server"}
SLURM = {"slurmd": "slurmd", "sbatch": "slurm-client", "sshd": "openssh-server"}

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a project whose tests need something that is here, and something that is nowhere."""
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.covalent-core.test-programs]\nsh = "dash"\nno-such-program = "no-such-package"\n'
    )
    return tmp_path


def test_a_project_says_what_it_needs(project: Path) -> None:
    assert programs.needed_programs(project) == {"sh": "dash", "no-such-program": "no-such-package"}
    assert programs.missing_programs(project) == {"no-such-program": "no-such-package"}


def test_a_project_may_need_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.mypy]\n")

    assert programs.missing_programs(tmp_path) == {}


@pytest.mark.parametrize("plugin", ["awsbatch", "slurm", "ssh"])
def test_a_plugin_says_what_it_needs(plugin: str) -> None:
    assert programs.needed_programs(PLUGINS / plugin)


def test_a_program_that_only_root_has_in_its_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert programs.find("chroot") is not None
    assert programs.find("no-such-program") is None


def test_what_is_left_out_is_said_with_the_command_that_changes_it() -> None:
    assert programs.left_out({"ssh": SSHD, "slurm": SLURM}) == (
        "Left out: those of ssh that need sshd; those of slurm that need slurmd, sbatch, sshd. To run them: "
        "sudo apt-get install --yes --no-install-recommends openssh-server slurm-client slurmd"
    )


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    assert programs.left_out({"ssh": {}, "slurm": {}}) is None


def test_a_test_that_needs_what_is_missing_is_skipped_with_the_reason(project: Path) -> None:
    with pytest.raises(
        pytest.skip.Exception, match=r"^needs no-such-program; sudo apt-get install .* no-such-package$"
    ):
        programs.need(project, "sh", "no-such-program")


@pytest.mark.parametrize(("value", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_with_ci_it_fails(project: Path, monkeypatch: pytest.MonkeyPatch, value: str, outcome: type) -> None:
    monkeypatch.setenv("CI", value)

    with pytest.raises(outcome, match="needs no-such-program"):
        programs.need(project, "no-such-program")


def test_a_test_that_needs_what_is_here_runs(project: Path) -> None:
    programs.need(project, "sh")


def test_a_program_that_the_project_does_not_name_is_an_error(project: Path) -> None:
    with pytest.raises(KeyError):
        programs.need(project, "no-other-program")
