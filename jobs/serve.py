"""`raytagger serve` as a Ray job.

Example: ray job submit --working-dir . -- python jobs/serve.py jobs/serve.toml
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
