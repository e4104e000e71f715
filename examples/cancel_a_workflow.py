"""Dispatch a workflow, look at it while it runs, cancel it, and see for yourself that nothing of it is left."""

import time
from pathlib import Path

import covalent_core as ct


@ct.electron
def task_1(x):
    time.sleep(x)
    print("Task 1")
    return x


@ct.electron
def task_2(a, b):
    c = a + b
    time.sleep(c)
    print("Task 2")
    return c


@ct.electron
def task_3(a):
    time.sleep(2)
    print("Task 3")
    return a**2


@ct.lattice
def workflow(x):
    res_2 = task_2(task_1(10), x)
    for y in range(10):
        task_1(10)
    task_3(res_2)


def task_processes(result):
    """Return the processes that run the tasks now: below the guard that a job handle names, and its supervisor."""
    handles = [result.get_node_result(node_id)["job_handle"] for _, node_id in result.nodes()]
    guards = {handle.partition(".")[0] for handle in handles if handle}
    return [worker for guard in guards for supervisor in children(guard) for worker in children(supervisor)]


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


dispatch_id = ct.dispatch(workflow)(5)

while not (processes := task_processes(result := ct.get_result(dispatch_id))):
    time.sleep(0.1)

print(result)
print(f"Running now: processes {', '.join(processes)}\n")

print(ct.cancel(dispatch_id))
result = ct.get_result(dispatch_id, wait=True)
print(result)

alive = [pid for pid in processes if Path("/proc", pid).exists()]
print(f"Of the {len(processes)} processes that ran its tasks, {len(alive)} are alive.")
raise SystemExit(1 if alive or not processes else 0)
