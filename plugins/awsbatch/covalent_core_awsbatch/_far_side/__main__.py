"""The beginning of the agent."""

from agent import main

main()
