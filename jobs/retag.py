"""`raytagger retag` as a Ray job.

Example: ray job submit --working-dir . -- python jobs/retag.py jobs/retag.toml
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["retag", *sys.argv[1:]])
