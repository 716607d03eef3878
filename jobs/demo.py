"""`raytagger demo` as a Ray job.

Example: python jobs/demo.py --output demo
"""

import sys

from raytagger.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
