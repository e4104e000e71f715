"""Amazon Braket on this machine, as unkind as the real one: see README.md beside this."""
