"""Small programs of the kinds that scientists write: modules beside a script, caches, locks, pools, classes.

Each is the files beside the script by their names, and the script, which defines ``task()``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

#: What is added to each script.
DRIVER = """
if __name__ == "__main__":
    import json
    import os

    import covalent_core as ct

    name, options = json.loads(os.environ["EXECUTOR_OF_THE_PROGRAM"])
    step = ct.electron(executor=getattr(ct.executor, name)(**options))(task)
    alone = ct.dispatch_sync(ct.lattice(lambda: step()))()
    packed = ct.dispatch_sync(ct.lattice(lambda: [step(), step()], pack=2))()
    found = [repr(task()), *(repr(value) for value in (alone.result, *(packed.result or [packed.error])))]
    print(json.dumps([*found, alone.error]))
"""

PACKAGE = {
    "study/__init__.py": "",
    "study/model.py": "from . import constants\n\ndef area(x):\n    return constants.PI * x * x\n",
    "study/constants.py": "PI = 3\n",
}

PROGRAMS: dict[str, tuple[dict[str, str], str]] = {
    "a cache in the script": (
        {},
        """
import functools

@functools.lru_cache(maxsize=None)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

def task():
    return fibonacci(30), fibonacci.cache_info().misses
""",
    ),
    "a cache in a module": (
        {"tables.py": "import functools\n\n@functools.lru_cache\ndef table(n):\n    return list(range(n))\n"},
        "import tables\n\ndef task():\n    return tables.table(3), tables.table is tables.table\n",
    ),
    "a cache taken from a module": (
        {"tables.py": "from functools import cache\n\n@cache\ndef table(n):\n    return list(range(n))\n"},
        "from tables import table\n\ndef task():\n    return table(3)\n",
    ),
    "a cached property": (
        {},
        """
from functools import cached_property

class Data:
    @cached_property
    def content(self):
        return [1, 2, 3]

def task():
    return Data().content
""",
    ),
    "a function for each type": (
        {},
        """
from functools import singledispatch

@singledispatch
def show(value):
    return "something"

@show.register
def _(value: int):
    return "a number"

def task():
    return show(1), show("text"), show(2)
""",
    ),
    "a lock in the script": (
        {},
        "import threading\n\nLOCK = threading.Lock()\n\ndef task():\n    with LOCK:\n        return LOCK.locked()\n",
    ),
    "a lock in a class": (
        {},
        """
import threading

class Counter:
    lock = threading.RLock()
    count = 0

    def add(self):
        with self.lock:
            self.count += 1
            return self.count

def task():
    counter = Counter()
    return counter.add(), counter.add()
""",
    ),
    "a lock in a module that the function does not use": (
        {"shared.py": "import threading\n\nLOCK = threading.Lock()\n\ndef double(x):\n    return 2 * x\n"},
        "import shared\n\ndef task():\n    return shared.double(4)\n",
    ),
    "a variable of the context": (
        {},
        """
from contextvars import ContextVar

unit, other = ContextVar("unit", default="mm"), ContextVar("other")

def task():
    other.set("cm")
    return unit.get(), other.get()
""",
    ),
    "variables of the thread": (
        {"state.py": "import threading\n\nLOCAL = threading.local()\n"},
        "import state\n\ndef task():\n    state.LOCAL.x = 5\n    return state.LOCAL.x\n",
    ),
    "a logger": (
        {
            "noted.py": """
import logging

log = logging.getLogger(__name__)

def note():
    log.info("noted")
    return log.name
""",
        },
        "import noted\n\ndef task():\n    return noted.note()\n",
    ),
    "modules that import each other": (
        {
            "even.py": "import odd\n\ndef is_even(n):\n    return n == 0 or odd.is_odd(n - 1)\n",
            "odd.py": "import even\n\ndef is_odd(n):\n    return n != 0 and even.is_even(n - 1)\n",
        },
        "import even\n\ndef task():\n    return even.is_even(10), even.is_even(7)\n",
    ),
    "a package": (PACKAGE, "import study.model\n\ndef task():\n    return study.model.area(2)\n"),
    "a function of a package": (PACKAGE, "from study.model import area\n\ndef task():\n    return area(2)\n"),
    "a package that imports itself by its name": (
        {
            "study/__init__.py": "",
            "study/first.py": "import study.second\n\ndef f(x):\n    return study.second.g(x)\n",
            "study/second.py": "def g(x):\n    return x + 1\n",
        },
        "import study.first\n\ndef task():\n    return study.first.f(1)\n",
    ),
    "a package without a file": (
        {"parts/one.py": "def f():\n    return 'one'\n"},
        "import parts.one\n\ndef task():\n    return parts.one.f()\n",
    ),
    "an import in the body": (
        {"beside.py": "def double(x):\n    return 2 * x\n"},
        "def task():\n    import beside\n\n    return beside.double(4)\n",
    ),
    "an import of a part of a package in the body": (
        PACKAGE,
        "def task():\n    from study.model import area\n\n    return area(1)\n",
    ),
    "an import in the body of a function of a package": (
        {
            "study/__init__.py": "",
            "study/lazy.py": """
def f(x):
    from . import other
    from .other import g

    return g(x), other.g(x)
""",
            "study/other.py": "def g(x):\n    return x + 1\n",
        },
        "from study.lazy import f\n\ndef task():\n    return f(1)\n",
    ),
    "a pool over a function of the script": (
        {},
        """
import multiprocessing

def square(x):
    return x * x

def task():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(4))
""",
    ),
    "a pool in a module": (
        {
            "parallel.py": """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

def cube(x):
    return x ** 3

def cubes(n):
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        return list(pool.map(cube, range(n)))
""",
        },
        "from parallel import cubes\n\ndef task():\n    return cubes(4)\n",
    ),
    "a class that is pickled by the task": (
        {"shapes.py": "class Point:\n    def __init__(self, x):\n        self.x = x\n"},
        "import pickle\nfrom shapes import Point\n\ndef task():\n    return pickle.loads(pickle.dumps(Point(3))).x\n",
    ),
    "a dataclass": (
        {},
        """
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Sample:
    name: str
    values: list = field(default_factory=list)

def task():
    return repr(Sample("a", [1])), Sample("a") == Sample("a")
""",
    ),
    "an enumeration": (
        {"colours.py": "from enum import Enum\n\nclass Colour(Enum):\n    RED = 1\n    BLUE = 2\n"},
        "from colours import Colour\n\ndef task():\n    return Colour(1) is Colour.RED, [c.name for c in Colour]\n",
    ),
    "a class with a parent in another module": (
        {"base.py": "class Base:\n    def name(self):\n        return type(self).__name__\n"},
        """
from base import Base

class Child(Base):
    def name(self):
        return "child of " + super().name()

def task():
    return Child().name(), isinstance(Child(), Base)
""",
    ),
    "an abstract class": (
        {},
        """
from abc import ABC, abstractmethod

class Shape(ABC):
    @abstractmethod
    def area(self): ...

class Square(Shape):
    def area(self):
        return 4

def task():
    return Square().area(), isinstance(Square(), Shape)
""",
    ),
    "a registry that decorators fill": (
        {"plugins.py": "FOUND = {}\n\ndef register(f):\n    FOUND[f.__name__] = f\n    return f\n"},
        """
import plugins

@plugins.register
def first():
    return 1

def task():
    return sorted(plugins.FOUND), plugins.FOUND["first"]()
""",
    ),
    "a decorator of its own": (
        {
            "wrapping.py": """
import functools

def twice(f):
    @functools.wraps(f)
    def g(*args):
        return f(f(*args))

    return g
""",
        },
        """
from wrapping import twice

@twice
def add(x):
    return x + 1

def task():
    return add(1), add.__name__
""",
    ),
    "a context manager of its own": (
        {},
        """
from contextlib import contextmanager

@contextmanager
def opened():
    yield "inside"

def task():
    with opened() as place:
        return place
""",
    ),
    "a partial function": (
        {"sums.py": "def add(a, b):\n    return a + b\n"},
        """
from functools import partial

import sums

add_two = partial(sums.add, 2)

def task():
    return add_two(3)
""",
    ),
    "a generator": ({}, "def numbers():\n    yield from range(3)\n\ndef task():\n    return list(numbers())\n"),
    "a constant that another function has changed": (
        {"settings.py": "LIMIT = 1\n\ndef limit():\n    return LIMIT\n"},
        "import settings\n\nsettings.LIMIT = 5\n\ndef task():\n    return settings.limit()\n",
    ),
    "a compiled expression": (
        {},
        "import re\n\nWORD = re.compile(r'\\\\w+')\n\ndef task():\n    return WORD.findall('one two')\n",
    ),
    "an asynchronous function": (
        {"waits.py": "import asyncio\n\nasync def wait():\n    await asyncio.sleep(0)\n    return 'waited'\n"},
        "import asyncio\nimport waits\n\ndef task():\n    return asyncio.run(waits.wait())\n",
    ),
    "a named tuple and a typed one": (
        {},
        """
from collections import namedtuple
from typing import NamedTuple

Point = namedtuple("Point", "x y")

class Sample(NamedTuple):
    name: str
    size: int = 2

def task():
    return Point(1, 2).y, Sample("a").size
""",
    ),
    "functions of numpy": (
        {},
        """
import numpy as np

square = np.vectorize(lambda x: x * x)

def task():
    return square(np.arange(3)).tolist()
""",
    ),
}


def check(name: str, folder: Path, executor: str, **options: Any) -> None:
    """Run a program as it is, and its task alone and in a pack; all give the same."""
    files, script = PROGRAMS[name]

    for file, content in {**files, "script.py": script + DRIVER}.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(content)

    environment = {**os.environ, "EXECUTOR_OF_THE_PROGRAM": json.dumps([executor, options])}
    done = subprocess.run([sys.executable, folder / "script.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plain, *others, error = json.loads(done.stdout)

    assert others == [plain] * 3, error
