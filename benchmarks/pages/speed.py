"""Time and memory."""

from collections.abc import Sequence
from statistics import median

from benchmarks.pages.tables import Block, Results, markdown
from raytagger.tables import percent

TEXT = "raw text to ten tags with PECOS's own model: PECOS's pipeline, scikit-learn with PECOS"
OWN = "the same with our own model, which also searches the texts of untrained labels"
LAYERS = ("BINARY_SEARCH_CHUNKED", "HASH_CHUNKED")
PIPELINES = {
    "the imported model, same answers": ("imported",),
    "our own recipe's model, with untrained labels next to the trained ones": ("trained",),
    "PECOS: its TF-IDF and beam search": tuple(f"pecos {layer}" for layer in LAYERS),
    "scikit-learn's TF-IDF and PECOS's beam search": tuple(f"sklearn {layer}" for layer in LAYERS),
}
SUBSETS, INPUTS = (4, 8, 12, 14, 16, 20, 25, 30), ("labels", "apart", "tied")


def speed_ups(results: Results) -> str:
    """CPU seconds of the baseline over ours, but where latency is said."""
    beam, single, dense = results["beam"], results["beam_single"], results["beam_dense"]
    text, tfidf, ranker = results["text_to_tags"], results["tfidf"], results["ranker"]
    p50 = [single[f"p50_us_{size}"]["ours"] for size in ("20k", "200k")]
    both = ("ratio_20k", "ratio_200k")
    alone = f"the same, one document a call: median latency of {p50[0]:.0f} and {p50[1]:.0f} µs"
    rows = [
        ["beam", "PECOS's own weights, batches; 20,000 and 200,000 labels", times(beam, *both)],
        ["beam_single", alone, times(single, *both)],
        ["beam_dense", "batches with 384 dense features next to the words", times(dense, *both)],
        ["text_to_tags", TEXT, times(text, "ratio_pecos", "ratio_sklearn_pecos")],
        ["text_to_tags", OWN, times(text, "ratio_pecos_trained", "ratio_sklearn_pecos_trained")],
        ["tfidf", "1-2-gram TF-IDF: scikit-learn, PECOS", times(tfidf, "ratio_sklearn", "ratio_pecos")],
        ["ranker", "training rankers: PECOS's whole model, its leaves", times(ranker, "ratio", "ratio_leaf")],
    ]
    return markdown(["benchmark", "what", "speed-up"], rows)


def times(found: dict[str, float], *keys: str) -> str:
    return ", ".join(f"{found[key]:.1f}" for key in keys)


def text_to_tags(results: Results) -> str:
    """Raw text to ten tags, PECOS by the better of its two layer types."""
    found = results["text_to_tags"]
    rows = []
    for name, kinds in PIPELINES.items():
        rate, p50 = (
            max(found["rate_docs_cpu_s"][kind] for kind in kinds),
            min(found["p50_us"][kind] for kind in kinds),
        )
        rows.append([name, f"{rate:,.0f}", f"{p50:,.0f}"])
    return markdown(["", "documents a CPU s", "one text, median, µs"], rows)


def train_step(results: Results) -> str:
    found = results["train_step"]
    peer = "sentence-transformers"
    theirs = found["step_cpu_s"][peer]
    rows = [
        [
            "ours, λ = 0" if name == "ours" else name,
            f"{seconds:.2f}",
            ends(found["turns"][name]),
            f"{theirs / seconds:.2f}",
        ]
        for name, seconds in found["step_cpu_s"].items()
    ]
    return markdown(["a training step", "CPU s, median", "least and most", "speed-up over theirs"], rows)


def ends(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def stream(results: Results) -> str:
    found = results["stream"]
    rows = [
        [n + 1, f"{turn['ours_docs_s']:.1f}", f"{turn['bare_docs_s']:.1f}", f"{turn['ratio']:.2f}"]
        for n, turn in enumerate(found["turns"])
    ]
    ratios = [turn["ratio"] for turn in found["turns"]]
    rows.append(["median", "", "", f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"])
    return markdown(["turn", "the stream, documents/s", "the bare loop, documents/s", "ratio"], rows)


def dense_index(results: Results) -> str:
    found = results["dense_index"]
    rows = [
        [
            f"{int(size):,}",
            *(f"{row[kind]['cpu_us']:,.0f}" for kind in ("exact", "hnsw")),
            *(f"{row[kind]['single_us']:,.0f}" for kind in ("exact", "hnsw")),
            percent(row["exact"]["cpu_us"] / found["encode_us"]),
            percent(row["recall@10"]),
            f"{row['build_cpu_s']:.0f}",
        ]
        for size, row in found["rows"].items()
    ]
    header = ["exact, CPU µs a document", "HNSW", "exact, one document, µs", "HNSW", "exact, % of encoding"]
    return markdown(["labels", *header, "found by HNSW, %", "building, CPU s"], rows)


def small_work(results: Results) -> str:
    """Wall seconds, medians with the least and the most."""
    rows = []
    for name, found in results["small_work"]["bundles"].items():
        for size in found["sizes"]:
            walls = (size[way]["wall_s"] for way in ("here", "ray"))
            cells = (f"{wall['median']:.1f} ({wall['least']:.1f} to {wall['most']:.1f})" for wall in walls)
            rows.append([name, f"{size['documents']:,}", f"{size['bytes'] / 1e6:.2f}", *cells])
    return markdown(["bundle", "documents", "MB", "one process, s", "on Ray, s"], rows)


def subsets(results: Results) -> str:
    """CPU microseconds a document and unseen label."""
    found = {(row["inputs"], row["n"]): row for row in results["subsets"]["rows"]}
    rows = []
    for n in SUBSETS:
        cells = [found.get((inputs, n), {}) for inputs in INPUTS]
        plain = micros(cells[0].get("plain_us"))
        pairs = (f"{micros(cell.get('exhaustive_us'))} / {micros(cell.get('tree_us'))}" for cell in cells)
        proven = ", ".join(percent(cell["proven"]) if cell else "" for cell in cells)
        rows.append([n, plain, *pairs, proven])
    header = [f"`{inputs}`: exhaustive / tree" for inputs in INPUTS]
    return markdown(["labels", "`labels`: plain", *header, "proven, %"], rows)


def micros(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def growth(results: Results) -> str:
    """CPU microseconds a document in batches, as label sets grow."""
    found = results["growth"]["rows"]
    kinds = list(dict.fromkeys(kind for row in found.values() for kind in row))
    rows = [
        [f"{int(size):,}", *(micros(row[kind]["cpu_us"]) if kind in row else "" for kind in kinds)]
        for size, row in found.items()
    ]
    return markdown(["labels", *kinds], rows)


def memory(results: Results) -> str:
    """What processes take."""
    tree, cut, driver, large = (
        results[name] for name in ("tree_memory", "cluster_labels", "stream_memory", "large_labels")
    )
    process = tree["processes"][0]
    dense = cut["rows"]["dense"]
    small, big = driver["rows"]
    rows = [
        [
            "`tree_memory`",
            f"each of two processes that serve one 200,000-label model maps {process['rss_mb']:.0f} MB",
            f"{process['pss_mb']:.0f} MB of it are charged to one",
        ],
        ["`tree_memory`", "opening that model", f"{tree['open_ms']:.1f} ms"],
        [
            "`tree_memory`",
            "compiling the kernels: once, and ever after from the cache",
            f"{tree['compilation']['first_wall_s']:.1f} s, {tree['compilation']['cached_wall_s']:.1f} s",
        ],
        [
            "`cluster_labels`",
            f"cutting {dense['labels']:,} labels into a tree",
            f"{dense['peak_gb']:.2f} GB at the peak, {dense['cpu_s']:.0f} CPU s",
        ],
        [
            "`stream_memory`",
            f"the driver's peak with {small['documents']:,} and {big['documents']:,} documents",
            f"{small['peak_mb']} MB, {big['peak_mb']} MB",
        ],
        [
            "`large_labels`",
            f"{large['labels']:,} labels: the largest process, a worker's",
            f"{large['peak_mb']:,} MB, {large['peak_worker_mb']:,} MB",
        ],
        *(["`large_labels`", stage, f"{seconds:.0f} s"] for stage, seconds in large["stages_s"].items()),
    ]
    return markdown(["benchmark", "what", "figure"], rows)


BLOCKS: dict[str, Block] = {
    "speed-ups": speed_ups,
    "text_to_tags": text_to_tags,
    "train_step": train_step,
    "stream": stream,
    "dense_index": dense_index,
    "small_work": small_work,
    "subsets": subsets,
    "growth": growth,
    "memory": memory,
}
