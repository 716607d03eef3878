"""What the first page says: five sentences, each with a figure."""

from benchmarks.pages.quality import blend_rows
from benchmarks.pages.tables import Block, Results
from raytagger.tables import percent


def highlights(results: Results) -> str:
    blends = blend_rows(results)["blend"]
    keys = ("ZSR@10", "nDCG@5", "ECE_seen", "ECE_unseen", "ECE_rare")
    unseen, seen, *errors = (percent(sum(row[key] for row in blends) / len(blends)) for key in keys)
    beam = results["beam"]
    small, big = results["stream_memory"]["rows"]
    sentences = {
        "New labels work at once": f"On Debian's packages the demo's blend finds {unseen} % of the tags that "
        f"nobody trained on among its first ten, with an nDCG@5 of {seen} over all tags.",
        "The fastest beam search we know of": f"It takes PECOS {beam['ratio_20k']:.1f} and "
        f"{beam['ratio_200k']:.1f} times as many CPU seconds with the same weights (20,000 and 200,000 labels), "
        "for the same tags but for ties.",
        "One probability for all labels": f"The blend's calibration errors are {errors[0]} points for seen and "
        f"{errors[1]} for unseen labels; for labels with at most ten training documents {errors[2]}.",
        "Memory hardly grows with the corpus": f"The driver takes {small['peak_mb']} MB for "
        f"{small['documents']:,} documents and {big['peak_mb']} MB for {big['documents']:,}.",
        "Models open at once": f"One of 200,000 labels is mapped in {results['tree_memory']['open_ms']:.0f} ms, "
        "and processes share its pages.",
    }
    return "\n".join(f"- **{first}.** {then}" for first, then in sentences.items())


BLOCKS: dict[str, Block] = {"highlights": highlights}
