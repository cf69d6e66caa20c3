"""Checks the model in `window.py`: the scenarios in which its rules hold, and for each rule the scenario that fails without it.

python docs/model/suspects.py               # the scenarios (seconds)
python docs/model/suspects.py all           # the large ones too
python docs/model/suspects.py mutations     # leave out each rule and check that the model breaks (or only the named rules)
python docs/model/suspects.py show NAME     # a mutation with its (shortest) counterexample
"""

import sys

from scenarios import main
from window import Scenario, Window

SCENARIOS = {
    "one poison": Scenario(neighbours=3, poisons=1, retries=3),
    "two poisons": Scenario(neighbours=2, poisons=2, retries=3),
    "a poison that nobody knows yet": Scenario(neighbours=2, poisons=1, retries=2, fresh=True),
    "two crashes for another reason": Scenario(neighbours=3, poisons=0, retries=3, crashes=2),
}
LARGE = {
    "three poisons": Scenario(neighbours=3, poisons=3, retries=3),
    "two poisons that nobody knows yet": Scenario(neighbours=3, poisons=2, retries=2, fresh=True),
    "poisons and crashes": Scenario(neighbours=3, poisons=2, retries=3, crashes=2, fresh=True),
}

# rule that is left out: scenario, expected failure
MUTATIONS = {
    "alone on the last try": ("two poisons", "a dead letter"),
    "others wait for it": ("two poisons", "a dead letter"),
    "here until settled": ("one poison", "a dead letter"),
    "unclaimed": ("one poison", "a dead letter"),
    "grows": ("one poison", ""),  # one at a time: slow, and nothing breaks
}

if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:], Window, SCENARIOS, LARGE, MUTATIONS)))
