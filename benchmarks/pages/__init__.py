"""Figures of the documentation, made from `benchmarks/results/*.json`.

A document marks where figures stand: `<!-- results: NAME -->`, what the block of that name makes of the results,
`<!-- end of results -->`. `python -m benchmarks.pages` makes all blocks again; a test fails where one differs.
"""
