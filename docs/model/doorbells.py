"""Checks the model in `carried.py`: the scenarios in which its rules hold, and for each rule the scenario that fails without it.

python docs/model/doorbells.py               # the scenarios (seconds)
python docs/model/doorbells.py all           # the large ones too
python docs/model/doorbells.py mutations     # leave out each rule and check that the model breaks (or only the named rules)
python docs/model/doorbells.py show NAME     # a mutation with its (shortest) counterexample
"""

import sys

from carried import Carried, Scenario
from scenarios import main

SCENARIOS = {
    "three tasks, one slot each": Scenario(tasks=3, cancels=1),
    "three tasks, two faults": Scenario(tasks=3, faults=2),
    "three tasks, two slots, a fault": Scenario(tasks=3, slots=2, faults=1, cancels=1),
}
LARGE = {
    "five tasks, three workers, two faults": Scenario(tasks=5, workers=3, faults=2, cancels=1),
}

# rule that is left out: scenario, expected failure
MUTATIONS = {
    "all are decided": ("three tasks, one slot each", "stuck"),
    "not only taken": ("three tasks, two faults", "stuck"),
    "claims check the row": ("three tasks, one slot each", "starts twice"),
}

if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:], Carried, SCENARIOS, LARGE, MUTATIONS)))
