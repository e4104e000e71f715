"""What runs in the container, with nothing but Python 3.8: the start command, and the agent that it fetches.

The start command is text in the job definition. It fetches a zip with the other modules, looks that it is the one that
was sent, and runs it in its own process. The runner of the job is a fork of that: Python starts once in a container.
Only the agent speaks to S3; it needs no program of AWS.
"""
