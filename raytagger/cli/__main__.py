"""`python -m raytagger.cli`, for jobs that have no console script."""

from raytagger.cli import main

if __name__ == "__main__":
    main()
