"""`raytagger fit` for the blend as a Ray job.

Example: ray job submit --working-dir . -- python jobs/train_blend.py jobs/blend.toml
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["fit", *sys.argv[1:]])
