"""`raytagger fit` for OF-DE as a Ray job.

Example: ray job submit --working-dir . -- python jobs/train_ofde.py jobs/ofde.toml
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["fit", *sys.argv[1:]])
