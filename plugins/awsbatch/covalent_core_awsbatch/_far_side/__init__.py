"""What runs in the container, with nothing but Python 3.8: the start command, and the agent that it fetches.

The start command is text in the job definition. It fetches a zip with the other modules, looks that it is the one that
was sent, and becomes it. Of all that runs here only the agent speaks to S3; it needs no program of AWS.
"""
