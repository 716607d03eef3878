"""`raytagger fit` for XML0 as a Ray job.

Example: ray job submit --working-dir . -- python jobs/train_xml0.py jobs/xml0.toml
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["fit", *sys.argv[1:]])
