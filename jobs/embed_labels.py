"""`raytagger labels embed` as a Ray job: label texts through the frozen label encoder, into the bank.

Example: ray job submit --working-dir . -- python jobs/embed_labels.py jobs/ofde-eurlex57k.toml
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["labels", "embed", *sys.argv[1:]])
