"""The smallest workflow: two tasks, the second of which takes what the first returns."""

import covalent_core as ct


@ct.electron
def add(x, y):
    return x + y


@ct.electron
def square(x):
    return x**2


@ct.lattice
def workflow(x, y):
    return square(add(x, y))


print(ct.dispatch_sync(workflow)(2, 3).result)
