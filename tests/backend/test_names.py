"""The names that authors of plugins may rely on, and what importing them costs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from covalent_core import backend


@pytest.mark.parametrize("name", backend.__all__)
def test_every_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    scope: dict[str, object] = {}
    exec(f"from covalent_core.backend import {name}", scope)

    assert scope[name] is getattr(backend, name)
    assert not (inspect.isclass(scope[name]) or inspect.isfunction(scope[name])) or inspect.getdoc(scope[name])


def test_all_places_name_the_same() -> None:
    block = Path(str(backend.__file__)).read_text().partition("if TYPE_CHECKING:\n")[2].partition("\n\n")[0]
    imports = re.findall(r"import (?:\(([^)]*)\)|(.*))", block)
    seen = {name.strip() for many, one in imports for name in (many or one).split(",") if name.strip()}

    assert seen == set(backend.__all__) == set(backend._HOMES) == set(dir(backend))


def test_no_module_takes_the_place_of_a_name() -> None:
    """A module is an attribute of its package from when it was imported on, and then nobody asks for the name."""
    modules = {path.stem for path in Path(str(backend.__file__)).parent.glob("*.py")}

    assert modules & set(backend.__all__) == set()


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'covalent_core\.backend' has no attribute 'Wach'"):
        backend.Wach  # noqa: B018


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = ["sqlmodel", "pydantic", "anyio", "asyncio", "pluggy", "rich", "cloudpickle"]
    code = f"import sys, covalent_core.backend; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert ran.stdout == "[]\n"


def test_every_name_has_a_section_in_the_docs() -> None:
    page = Path(__file__).parents[2] / "docs" / "backend.md"
    headings = " ".join(re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE))
    constants = " ".join(re.findall(r"^\| `(\w+)` \|", page.read_text(), re.MULTILINE))
    documented = set(re.findall(r"`(\w+)", headings)) | set(constants.split())

    assert set(backend.__all__) - documented == set()
