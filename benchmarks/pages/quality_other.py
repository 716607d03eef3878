"""XML0 and the label doctor: what they find."""

from typing import Any

from benchmarks.pages.tables import Block, Results, by_seed, interval, markdown, of_seeds
from raytagger.tables import percent

XML0 = ("ConSE", "label fusion", "semantic", "XML0", "XML0, equal weights")
KINDS = ("duplicate", "similar", "uninformative", "cut", "short", "title_only")


def xml0(results: Results) -> str:
    """UR@1 of every row, and the weight of fusion that was chosen."""
    sets = xml0_sets(results["xml0"])
    rows: list[list[object]] = [["documents", *(f"{seeds[0]['n_documents']:,}" for seeds in sets.values())]]
    rows.append(["unseen labels", *(f"{seeds[0]['n_unseen_labels']:,}" for seeds in sets.values())])
    for name in XML0:
        rows.append([name, *(of_seeds([one["rows"][name]["UR@1"][0] for one in seeds]) for seeds in sets.values())])
    weights = (", ".join(f"{one['weight']:g}" for one in seeds) for seeds in sets.values())
    return markdown(["UR@1", *sets], [*rows, ["weight of fusion that was chosen", *weights]])


def xml0_sets(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The seeds of each data set."""
    return by_seed({name: value for name, value in found.items() if isinstance(value, dict)})


def xml0_steps(results: Results) -> str:
    """The steps of the paper's order, paired by document, first seed."""
    sets = {name: seeds[0]["paired"] for name, seeds in xml0_sets(results["xml0"]).items()}
    steps = ("label fusion over ConSE", "semantic over label fusion", "XML0 over semantic")
    rows = []
    for step in steps:
        rows.append([step, *(interval(found[step]["UR@1"]) for found in sets.values())])
    return markdown(["UR@1", *sets], rows)


def doctor(results: Results) -> str:
    rows = [
        [name, found["encoder"].split("/")[-1], f"{found['labels']:,}", *(f"{found['counts'][k]:,}" for k in KINDS)]
        for name, found in results["label_doctor"]["sets"].items()
    ]
    return markdown(["", "encoder", "labels", *(f"`{kind}`" for kind in KINDS)], rows)


def doctor_effects(results: Results) -> str:
    """What leaving labels out changes, beside as many drawn at random."""
    rows = []
    for name, found in results["label_doctor"]["effects"].items():
        if not isinstance(found, dict):
            continue
        for figure, change in found["changes"].items():
            cells = [percent(change["before"]), percent(change["after"])]
            cells += [ends(change[part]) for part in ("difference", "others", "by_lot")]
            left_out = "all that harm" if name == "ill" else f"`{name}`"
            rows.append([left_out, found["labels"], f"{found['documents']:,}", figure, *cells])
    header = ["unseen labels", "documents", "figure", "with", "without", "change", "of the others", "at random"]
    return markdown(["left out", *header], rows)


def ends(found: dict[str, float]) -> str:
    return interval([found["value"], found["low"], found["high"]])


BLOCKS: dict[str, Block] = {
    "xml0": xml0,
    "xml0, steps": xml0_steps,
    "label_doctor": doctor,
    "label_doctor, effects": doctor_effects,
}
