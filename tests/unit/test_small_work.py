"""From how much on Ray is sooner done, as the benchmark tells it from its figures."""

import pytest

from benchmarks.small_work import break_even, verdict


def sizes_of(*seconds, spread=0):
    """A size ten times the one before for each pair: seconds in this process, seconds on Ray."""
    return [
        {
            "documents": 10**row,
            "bytes": 400 * 10**row,
            "parquet_bytes": 100 * 10**row,
            "here": {"wall_s": {"median": here, "least": here - spread}},
            "ray": {"wall_s": {"median": ray, "most": ray + spread}},
        }
        for row, (here, ray) in enumerate(seconds)
    ]


def test_where_the_lines_between_two_sizes_cross():
    sizes = sizes_of(
        (1, 11), (5, 10), (30, 15)
    )  # a lead of 5 s lost, then 15 s: a quarter of the way from 10 to 100
    assert break_even(sizes) == {"documents": 32, "bytes": 13_000, "parquet_bytes": 3_250}
    assert verdict(sizes) == "Ray is sooner done above 0.013 MB, about 32 documents"


def test_it_says_where_the_ranges_do_not_tell():
    sizes = sizes_of((1, 11), (5, 10), (30, 15), spread=8)
    assert verdict(sizes).endswith(", by medians alone: at 100 the ranges overlap")


def test_ray_must_be_sooner_at_every_larger_size():
    assert break_even(sizes_of((1, 11), (12, 10), (14, 15), (30, 29))) == {
        "documents": 550,
        "bytes": 220_000,
        "parquet_bytes": 55_000,
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (((1, 11), (5, 10), (10, 10)), "Ray is not sooner done at 0.04 MB, 100 documents"),
        (((12, 11), (15, 10)), "Ray is sooner done at all sizes, from 0.0004 MB on"),
    ],
)
def test_no_figure_where_the_sizes_do_not_enclose_it(seconds, words):
    assert break_even(sizes_of(*seconds)) is None
    assert verdict(sizes_of(*seconds)) == words
