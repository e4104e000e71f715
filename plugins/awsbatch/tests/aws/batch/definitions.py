"""Job definitions: revisions, and the rules that AWS has for what they say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .errors import require
from .rules import check_container, check_name, check_tags

MOST_BYTES = 24 * 1024


@dataclass(eq=False)
class Definition:
    """One revision of a job definition."""

    name: str
    revision: int
    arn: str
    request: dict[str, Any]
    active: bool = True

    @property
    def is_fargate(self) -> bool:
        """Whether it is for Fargate; EC2 is what a definition is for that does not say."""
        return "FARGATE" in self.request.get("platformCapabilities", [])

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeJobDefinitions does."""
        return {
            "jobDefinitionArn": self.arn,
            "revision": self.revision,
            "status": "ACTIVE" if self.active else "INACTIVE",
            "containerOrchestrationType": "ECS",
            **self.request,
        }


class Definitions:
    """The job definitions of one region."""

    def __init__(self, arn_prefix: str) -> None:
        self._prefix = arn_prefix
        self.revisions: dict[str, list[Definition]] = {}

    def register(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer RegisterJobDefinition."""
        name = request["jobDefinitionName"]
        check_name(name, "Job definition")
        check_tags(request.get("tags", {}))
        require(len(json.dumps(request)) <= MOST_BYTES, "Request size exceeds the limit of 24 KiB")
        require(request["type"] == "container", "this endpoint runs definitions of type container only")
        _check_properties(request)
        revisions = self.revisions.setdefault(name, [])
        number = len(revisions) + 1
        revisions.append(Definition(name, number, f"{self._prefix}:job-definition/{name}:{number}", request))
        return {"jobDefinitionName": name, "jobDefinitionArn": revisions[-1].arn, "revision": number}

    def deregister(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer DeregisterJobDefinition, which needs a revision."""
        found = self._exactly(request["jobDefinition"])
        require(found, f"JobDefinition {request['jobDefinition']} not found.")
        assert found is not None
        found.active = False
        return {}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer DescribeJobDefinitions: by ARN or name:revision, by name, or all."""
        chosen = self._asked_for(request)

        if "status" in request:
            chosen = [d for d in chosen if d.active == (request["status"] == "ACTIVE")]

        first, most = int(request.get("nextToken", 0)), request.get("maxResults", 100)
        page = {"jobDefinitions": [d.describe() for d in chosen[first : first + most]]}
        return {**page, "nextToken": str(first + most)} if first + most < len(chosen) else page

    def of(self, name: str) -> Definition:
        """Return the one to submit: the latest active revision where no revision is named.

        Raises:
            ApiError: There is none, or it is not active.
        """
        if ":" in name.rpartition("/")[2]:
            found = self._exactly(name)
            require(found, f"JobDefinition {name} not found.")
            assert found is not None
            require(found.active, f"{found.arn} is not in ACTIVE status.")
            return found

        active = [d for d in self.revisions.get(name.rpartition("/")[2], []) if d.active]
        require(active, f"Job Definition {name} has no active revision.")
        return active[-1]

    def _asked_for(self, request: dict[str, Any]) -> list[Definition]:
        everything = [d for revisions in self.revisions.values() for d in reversed(revisions)]

        if names := request.get("jobDefinitions"):
            return [d for name in names if (d := self._exactly(name)) is not None]

        if name := request.get("jobDefinitionName"):
            return [d for d in everything if d.name == name]

        return everything

    def _exactly(self, name: str) -> Definition | None:
        name, _, revision = name.rpartition("/")[2].partition(":")
        return next((d for d in self.revisions.get(name, []) if str(d.revision) == revision), None)


def _check_properties(request: dict[str, Any]) -> None:
    kinds = [key for key in ("containerProperties", "ecsProperties", "eksProperties") if key in request]
    require(len(kinds) == 1, f"exactly one of containerProperties, ecsProperties, eksProperties is required: {kinds}")
    require(kinds[0] != "eksProperties", "this endpoint runs no eksProperties")
    fargate = "FARGATE" in request.get("platformCapabilities", [])

    if kinds[0] == "containerProperties":
        container = request["containerProperties"]
        check_container(container, container, fargate)
        return

    task = request["ecsProperties"]["taskProperties"][0]
    require(len(request["ecsProperties"]["taskProperties"]) == 1, "only one task is allowed in ecsProperties")
    require(len(task["containers"]) == 1, "this endpoint runs one container in a task")
    check_container(task["containers"][0], task, fargate)
