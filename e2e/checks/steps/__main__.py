"""The command that the Makefile runs its goals with:
  python3 e2e/checks/steps run GOAL COMMAND [ARGUMENT...]    runs the command that makes a goal, and reports
  python3 e2e/checks/steps times                             prints the last report again
"""

import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("error: Python 3.11 or newer is needed")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps import runner  # noqa: E402

match sys.argv[1:]:
    case ["run", goal, *command] if command:
        sys.exit(runner.run_goal(goal, command))
    case ["times"]:
        sys.exit(runner.print_times())
    case _:
        sys.exit(__doc__)
