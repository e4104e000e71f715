"""The agent: what runs on the far side for all jobs of one connection, with nothing but Python 3.8.

It comes through the session that starts it and speaks lines of JSON over its standard input and output: a request
``{"id": 1, "do": "start", ...}`` comes in, its answer goes out with the same id as soon as it is known. All truth is in
the files of the jobs and in /proc, so an agent may end at any time, and does when its line closes; the next one knows
as much as the first. The jobs live on.

Beside the agent is the nursery: it has the runner in memory and forks a process for each job, which costs a tenth of
starting an interpreter. How processes and the files of jobs are looked at is the core's: its modules travel with these.
"""
