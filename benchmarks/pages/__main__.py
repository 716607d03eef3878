"""Makes the documentation's figures from the results.

Example: python -m benchmarks.pages
"""

from benchmarks.pages.fill import write_pages

print("\n".join(write_pages()) or "all figures are those of the results")
