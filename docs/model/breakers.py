"""Checks the model in `sharing.py`: the scenarios in which its rules hold, and for each rule the scenario that fails without it.

python docs/model/breakers.py               # the scenarios (seconds; `all` adds the large ones: minutes)
python docs/model/breakers.py mutations     # leave out each rule and check that the model breaks (or only the named rules)
python docs/model/breakers.py show NAME     # a mutation with its (shortest, for safety) counterexample
"""

import sys

from scenarios import main
from sharing import Breakers, Scenario

SCENARIOS = {
    "a reply is lost": Scenario(faults=1, failures=1, resets=0, kinds=("lost",)),
    "a reset": Scenario(faults=0, failures=1, resets=1),
    "a name is deleted": Scenario(faults=1, failures=1, resets=0, kinds=("forget",)),
}
LARGE = {
    "a worker dies": Scenario(faults=1, failures=1, resets=0, kinds=("die",)),
    "a request is cancelled": Scenario(faults=1, failures=1, resets=0, kinds=("cancel",)),
    "the bucket is wiped": Scenario(faults=1, failures=1, resets=0, kinds=("wipe",)),
    "any fault": Scenario(faults=1, failures=1, resets=0),
    "a reset and any fault": Scenario(faults=1, failures=1, resets=1),
    "two failures": Scenario(faults=0, failures=2, resets=1),
    "two faults of connections": Scenario(faults=2, failures=1, resets=0, kinds=("lost", "away", "cancel")),
    "two deaths or lost writes": Scenario(faults=2, failures=1, resets=0, kinds=("lost", "die")),
}

# rule that is left out: scenario, expected failure
MUTATIONS = {
    "compare and set": ("a reset", "closes the record without"),
    "waits for leases": ("a reset", "overwrites the probe"),
    "leases end": ("a worker dies", "stuck"),
    "a reset bumps": ("a reset", "nothing to write"),
    "closings have a time": ("a reset", "opens again a record"),
    "trips stand": ("a reply is lost", "closes without"),
    "unknown is not done": ("a reply is lost", "nothing to write"),
    "changed meanwhile": ("a reply is lost", "nothing to write"),
    "a refused probe reads again": ("a name is deleted", "stuck"),
    "released": ("a request is cancelled", "nothing to write"),
    "unknown is not refused": ("a reply is lost", "nothing to write"),
    "written again": ("the bucket is wiped", ""),  # the next request or registration writes it
}


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:], Breakers, SCENARIOS, LARGE, MUTATIONS)))
