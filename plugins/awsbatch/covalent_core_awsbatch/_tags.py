"""The tags of jobs, by which AWS can say what a dispatch has cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from covalent_core import Job
from covalent_core.errors import ExecutorOptionError

#: What AWS Batch takes as a tag.
MOST, KEY_LENGTH, VALUE_LENGTH = 50, 128, 256
_FORBIDDEN = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")

#: Our own tags.
DISPATCH, LATTICE, NODES = OWN = ("covalent:dispatch_id", "covalent:lattice", "covalent:node_ids")


def tags_of(tags: Mapping[str, str], job: Job, node_ids: Sequence[int]) -> dict[str, str]:
    """Return the tags of a job; which nodes it has is left out where that does not fit.

    Args:
        job: One of those that share them.
        node_ids: None of an array, whose jobs share their tags.
    """
    nodes = " ".join(map(str, node_ids))
    fits = {NODES: nodes} if nodes and len(nodes) <= VALUE_LENGTH else {}
    lattice = _FORBIDDEN.sub("_", job.lattice)[:VALUE_LENGTH]
    return {**tags, DISPATCH: job.dispatch_id, LATTICE: lattice, **fits}


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise unless AWS takes these tags beside ours.

    Raises:
        ExecutorOptionError: It does not.
    """
    if len(tags) > MOST - len(OWN):
        raise ExecutorOptionError(
            f"tags has {len(tags)} entries, and AWS takes {MOST - len(OWN)} beside those of Covalent Core"
        )

    for key, value in tags.items():
        if key.lower().startswith(("aws:", "covalent:")):
            raise ExecutorOptionError(f"the tag {key!r} in tags is reserved; give it another prefix")

        if _FORBIDDEN.search(key + value) or not 0 < len(key) <= KEY_LENGTH or len(value) > VALUE_LENGTH:
            raise ExecutorOptionError(
                f"the tag {key!r}={value!r} in tags is none that AWS takes: letters, digits, blanks and "
                f"+ - = . _ : / @, at most {KEY_LENGTH} of them before it and {VALUE_LENGTH} after it"
            )
