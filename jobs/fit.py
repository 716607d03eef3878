"""`raytagger fit` as a Ray job.

Example: ray job submit --working-dir . -- python jobs/fit.py jobs/frozen.toml
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["fit", *sys.argv[1:]])
