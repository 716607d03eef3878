"""Frozen rows, OF-DE and the blend: what they find."""

from collections.abc import Sequence
from typing import Any

from benchmarks.pages.tables import Block, Results, by_seed, interval, markdown, of_seeds, points, three
from raytagger.tables import percent

AXES = ("nDCG@5", "ZSR@10", "UR@1")
HEADER = ["", "nDCG@5", "PSP@5", "ZSR@10", "UR@1"]
SHOWN = (-0.04, 0.0, 0.04, 0.08, 0.12, 0.16, 0.2)  # biases of a front
MIXTURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def debtags(results: Results) -> str:
    """All kinds of rows on one data set, whoever leads."""
    frozen, linear, blends = results["frozen"]["rows"], results["xrlinear"]["debtags"]["rows"], blend_rows(results)
    rows: list[list[object]] = [
        ["popularity", *figures([frozen["popularity"]])],
        ["BM25", *figures([frozen["BM25"]])],
        ["frozen: mean of TF-IDF and MiniLM", *figures(blends["frozen"])],
        ["OF-DE", *figures(blends["ofde"])],
        ["PECOS, three trees", *figures([linear["PECOS, 3 trees"]])],
        ["napkinXC", *figures([linear["napkinXC PLT"]])],
        ["Omikuji, Parabel", *figures([linear["Omikuji Parabel"]])],
        ["Omikuji, Bonsai", *figures([linear["Omikuji Bonsai"]])],
        ["XR-Linear, words", *figures([linear["terms"]])],
        ["XR-Linear, words and MiniLM", *figures([linear["terms and MiniLM"]])],
        ["blend of XR-Linear and frozen", *figures(blends["blend"])],
        ["blend of XR-Linear, frozen and OF-DE", *figures(blends["blend with OF-DE"])],
    ]
    return markdown(HEADER, rows)


def figures(seeds: Sequence[dict[str, Any]]) -> list[str]:
    return [of_seeds([row[key] for row in seeds]) for key in HEADER[1:]]


def blend_rows(results: Results) -> dict[str, list[dict[str, Any]]]:
    """The seeds of each row of debtags: frozen, xrlinear, ofde, and three blends."""
    return by_seed(results["blend"]["debtags"]["rows"])


def frozen(results: Results) -> str:
    rows = results["frozen"]["rows"]
    cells = [[name, *figures([row])] for name, row in rows.items()]
    chance = percent(next(iter(rows.values()))["chance_ZSR@10"])
    return markdown(HEADER, [*cells, ["chance", "", "", chance, ""]])


def ofde(results: Results) -> str:
    cells = [
        [name if len(seeds) == 1 else f"{name}, {len(seeds)} seeds", *figures(seeds)]
        for name, seeds in by_seed(results["ofde"]["rows"]).items()
    ]
    return markdown(HEADER, cells)


def ofde_differences(results: Results) -> str:
    """Seed 0 against the other rows, paired by document."""
    found: dict[str, list[str]] = {}
    for name, value in results["ofde"]["paired"].items():
        found.setdefault(name.split(" over ")[1], []).append(interval(value))
    return markdown(["ours, seed 0, less", *AXES], [[name, *values] for name, values in found.items()])


def ofde_mixtures(results: Results) -> str:
    """With and without the anchor at equal mixtures, on validation documents and hidden labels."""
    rows = []
    for name in ("ours, seed 0", "ours without the anchor, seed 0"):
        guard = results["ofde"]["training"][name]["guard"]
        at = {round(point["mixture"], 1): point for point in guard["points"]}
        rows.append([name, *(three(at[mixture]) for mixture in MIXTURES), f"{guard['mixture']:g}"])
    return markdown(["mixture", *(f"{mixture:g}" for mixture in MIXTURES), "chosen"], rows)


def ofde_front(results: Results) -> str:
    """nDCG@5 / ZSR@10 by a bias that is added to the scores of unseen labels."""
    rows = []
    for name, front in results["ofde"]["front"].items():
        if "seed" not in name or name.endswith("seed 0"):
            at = {round(bias, 2): f"{percent(seen)} / {percent(unseen)}" for bias, seen, unseen in front}
            rows.append([name, *(at[bias] for bias in SHOWN)])
    return markdown(["bias of unseen labels", *(f"{bias:+g}" for bias in SHOWN)], rows)


def ofde_cost(results: Results) -> str:
    seconds = [row["cpu_s"] / 60 for row in results["ofde"]["training"].values()]
    steps = [row["steps"] for row in results["ofde"]["training"].values()]
    least, most = min(seconds), max(seconds)
    return f"A training takes {min(steps)} to {max(steps)} steps and {least:.0f} to {most:.0f} CPU minutes."


def collapse(results: Results) -> str:
    rows = [
        [name, *(percent(curve[-1][key]) for key in AXES)] for name, curve in results["collapse"]["curves"].items()
    ]
    return markdown(["", *AXES], rows)


def switches(results: Results) -> str:
    found: dict[str, dict[str, str]] = {}
    for name, row in results["switches"]["rows"].items():
        data, way = name.split(": ")
        found.setdefault(way, {})[data] = three(row)
    sets = list(next(iter(found.values())))
    return markdown(["", *sets], [[way, *(row[data] for data in sets)] for way, row in found.items()])


def blend(results: Results) -> str:
    keys = ("nDCG@5", "R@10", "ZSR@10", "UR@1", "micro_F1", "ECE_seen", "ECE_rare", "ECE_unseen")
    rows = []
    for name, seeds in blend_rows(results).items():
        values = [[row[key] for row in seeds if row[key] is not None] for key in keys]
        rows.append([name, *(of_seeds(some) if some else "" for some in values), biases(results, name)])
    header = ["nDCG@5", "R@10", "ZSR@10", "UR@1", "micro-F1", "ECE seen", "ECE rare", "ECE unseen", "bias"]
    return markdown(["", *header], rows)


def biases(results: Results, name: str) -> str:
    """The bias of each seed of a blend; "" of its members."""
    found = by_seed(results["blend"]["debtags"]["fitted"]).get(name, [])
    return ", ".join(f"{value['unseen_bias']:g}" for value in found)


def blend_differences(results: Results) -> str:
    rows = []
    for data in blend_sets(results):
        for name, axes in results["blend"][data]["over the best member"].items():
            cells = ["" if axes[axis] is None else difference(axes[axis]) for axis in AXES]
            rows.append([f"{data}: {name}", *cells])
    return markdown(["less the best member", *AXES], rows)


def difference(found: dict[str, Any]) -> str:
    return f"{interval(found['difference'])}, {found['member'].split('-')[0]}"


def blend_sets(results: Results) -> list[str]:
    return [name for name, value in results["blend"].items() if isinstance(value, dict) and "rows" in value]


def blend_others(results: Results) -> str:
    sets = [name for name in blend_sets(results) if name != "debtags"]
    rows: dict[str, list[str]] = {}
    for data in sets:
        found = results["blend"][data]
        for name, row in found["rows"].items():
            label = name.split(", seed")[0]
            rows.setdefault(label, []).append(three(row))
        row = found["rows"]["blend, seed 0"]
        rows.setdefault("ECE seen, unseen", []).append(f"{percent(row['ECE_seen'])}, {percent(row['ECE_unseen'])}")
        rows.setdefault("micro-F1 of xrlinear, frozen, blend", []).append(
            ", ".join(percent(one["micro_F1"]) for one in found["rows"].values())
        )
    return markdown(["", *sets], [[name, *values] for name, values in rows.items()])


def blend_hybrid(results: Results) -> str:
    """At the hybrid's nDCG@5 on validation documents: what both find on test documents."""
    curve = results["blend"]["debtags"]["beside the plain hybrid"]["blend with OF-DE, seed 0"]
    rows = [
        [
            f"{point['added']:+g}",
            f"{point['bias']:g}",
            *(percent(point[axis][whose]) for axis in ("nDCG@5", "ZSR@10") for whose in ("hybrid", "blend")),
            interval(point["ZSR@10"]["difference"]),
        ]
        for point in curve
    ]
    header = ["nDCG@5: hybrid", "blend", "ZSR@10: hybrid", "blend", "difference"]
    return markdown(["added to the hybrid's log odds", "bias of the blend", *header], rows)


def blend_seen(results: Results) -> str:
    """How many places unseen labels take, and what that costs the seen ones."""
    rows = []
    for data in blend_sets(results):
        for name, found in results["blend"][data]["seen labels"].items():
            if name.startswith("blend") and name.endswith("seed 0"):
                shares = [percent(found[f"share of {k} places"]) for k in (1, 5, 10)]
                with_unseen, without = percent(found["R@10"]), percent(found["R@10 without unseen labels"])
                rows.append([f"{data}: {name}", *shares, with_unseen, without])
    header = ["of 1 place", "of 5", "of 10", "R@10 of seen labels", "without unseen ones"]
    return markdown(["share that unseen labels take", *header], rows)


def blend_thresholds(results: Results) -> str:
    lost = [row for data in blend_sets(results) for row in results["blend"][data]["loss of micro-F1"].values()]
    best = [row["to the best threshold of test"] for row in lost]
    validation = [row["to validation"] for row in lost if row["to validation"] is not None]
    return (
        f"Over all blends of all sets, the threshold chosen on validation documents loses {100 * min(best):.1f} to "
        f"{100 * max(best):.1f} points of micro-F1 to the best one of the test documents, where micro-F1 is "
        f"{points(-max(validation))} to {points(-min(validation))} points from that of the validation documents."
    )


BLOCKS: dict[str, Block] = {
    "debtags": debtags,
    "frozen": frozen,
    "ofde": ofde,
    "ofde, differences": ofde_differences,
    "ofde, mixtures": ofde_mixtures,
    "ofde, front": ofde_front,
    "ofde, cost": ofde_cost,
    "collapse": collapse,
    "switches": switches,
    "blend": blend,
    "blend, differences": blend_differences,
    "blend, other sets": blend_others,
    "blend, hybrid": blend_hybrid,
    "blend, seen labels": blend_seen,
    "blend, thresholds": blend_thresholds,
}
