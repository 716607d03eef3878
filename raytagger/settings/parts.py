"""The parts that runs are made of. Each field's comment is its documentation; docs/settings.md repeats it."""

from __future__ import annotations

from dataclasses import dataclass, field

from raytagger.errors import SettingsError


@dataclass(frozen=True)
class SourceSettings:
    """Where documents and labels come from, and which of them are taken."""

    documents: str = ""  # file, directory or s3:// prefix; Parquet, JSONL, CSV or XMC-repository files
    labels: str = ""  # label file in one of the same formats
    fields: tuple[str, ...] = ()  # columns joined by ". " to a document's text; empty: the column `text`
    columns: tuple[str, ...] = ()  # further columns to carry through
    map: dict[str, str] = field(default_factory=dict)  # id, text, labels, split, title: the file's column
    format: str = ""  # of the documents; empty: by the file's ending
    label_format: str = ""  # of the label file; empty: by the file's ending
    quotes: str = "auto"  # fields in double quotes: always, never, auto (in CSV but not in TSV)
    language: str = "en"  # of a SKOS vocabulary's labels; another only where none stands in it
    normalise: str = "nfc"  # Unicode form of ids and texts: nfc, nfkc, none
    train_split: str = "train"
    validation_split: str = "val"
    holdout: float = 0.1  # share of the documents held out as `test`, by hash of the id, where none has a split
    max_bytes: int = 5_000_000  # a longer document is rejected as `too_long`
    max_reject_share: float = 0.01  # a run with a larger share of rejects fails with exit code 3

    def __post_init__(self) -> None:
        if not 0 <= self.max_reject_share <= 1:
            raise SettingsError("source.max_reject_share", got=self.max_reject_share, expected="0 to 1")


@dataclass(frozen=True)
class EncoderSettings:
    """The document encoder."""

    path: str = "sentence-transformers/all-MiniLM-L6-v2"  # Hugging Face name, local or s3:// folder, or URL
    kind: str = "transformer"  # transformer, causal, sentence-transformers, static, http, or a plugin's name
    max_tokens: int = 128
    pooling: str = "mean"  # mean, cls or last; `causal` always takes the last token
    long: str = "cut"  # cut: the first max_tokens; mean: chunks of max_tokens, pooled
    prompt: str = ""  # put before every document
    model: str = ""  # http: the model's name in the request
    batch_tokens: int = 0  # padded tokens of one forward pass; 0: 1,536 on a CPU, 16,384 on a GPU
    device: str = "auto"  # auto, cpu, cuda, mps
    batch_texts: int = 32  # http: texts of one request at most
    key_variable: str = "OPENAI_API_KEY"  # http: the environment variable that holds the bearer token


@dataclass(frozen=True)
class LabelSettings:
    """The label side."""

    encoder: str = ""  # the frozen label encoder's path; empty: the document encoder
    kind: str = "transformer"  # of the label encoder where one is named; `causal` for 7B-class embedders
    max_tokens: int = 128  # of the label encoder where one is named
    pooling: str = "mean"  # of the label encoder where one is named
    prompt: str = ""  # put before every label text
    bank: str = ""  # where label embeddings are kept; empty: `bank` beside the bundle
    unseen_in_negatives: bool = False  # labels without training documents are negatives of every document
    unseen_in_auxiliary: bool = True  # their texts take part in the auxiliary task


@dataclass(frozen=True)
class TrainSettings:
    """How a document encoder is trained."""

    seed: int = 0
    epochs: int = 3  # passes over the training documents
    max_steps: int = 0  # stop after so many steps; 0: after all epochs
    max_cpu_s: float = 0.0  # stop after so many CPU seconds of all workers together; 0: no limit
    batch_size: int = 64  # documents of a step, over all workers
    batch_tokens: int = 0  # padded tokens of a forward and backward pass; 0: by device
    learning_rate: float = 1e-4  # of the encoder
    projection_rate: float = 1e-3  # learning rate of the label projection
    weight_decay: float = 0.01
    warm_up: float = 0.1  # share of the steps in which the learning rate rises; it falls linearly after them
    clip: float = 1.0  # the gradient's largest norm
    frozen_layers: int = 0  # lower layers that are not trained; what they give is computed once and kept
    loss: str = "decoupled"  # decoupled, softmax or bce
    temperature: float = 0.05  # cosines are divided by it
    auxiliary: float = 1.0  # weight λ of the auxiliary task on label texts
    anchor: float = 1.0  # weight of keeping documents' rankings of untrained labels as they were before training
    label_chunk: int = 8192  # labels scored at once, which bounds the memory
    shard_labels: bool = False  # every worker scores its share of the labels for all documents
    evaluations: int = 8  # evaluations on the validation split; a checkpoint follows each
    patience: int = 0  # evaluations without a better nDCG@5 before training stops; 0: never
    pseudo_unseen: float = 0.05  # share of the trained labels that are hidden to measure zero-shot
    guard: str = "average"  # off, stop, or average: what to do about a loss of zero-shot
    price_node_hour: float = 0.0  # of one node, in your currency, for the estimate


@dataclass(frozen=True)
class TermSettings:
    """The word features of documents."""

    ngrams: int = 2  # 1: words; 2: words and pairs of neighbouring words
    min_frequency: int = 2  # training documents and label texts that a term must stand in
    max_terms: int = 1_048_576  # the most frequent ones are kept


@dataclass(frozen=True)
class TreeSettings:
    """Label trees and their linear rankers."""

    embedding: str = "pifa"  # what clusters the labels: pifa, label2vec, text, or several joined by "+"
    preset: str = "eurlex-4k"  # label2vec's settings, by the paper's data sets
    splits: int = 256  # children of an inner node at most, 256 at most
    leaf: int = 64  # labels of a leaf at most, 256 at most
    features: tuple[str, ...] = ("all",)  # feature sets of an ensemble: all, terms (without the encoder's vectors)
    trees: int = 0  # of each feature set, each with a seed of its own; 0: 3 above 2,000 trained labels, else 1
    combine: str = "average"  # of an ensemble: average, softmax_average, sigmoid_average, rank_average
    dense_weight: float = 0.0  # weight of `encoder.path`'s document vectors beside the terms; 0: terms alone
    negatives: str = "tfn+man"  # documents that train a node's children: tfn, man, tfn+man
    cost_positive: float = 1.0  # penalty of an error on a document that has the label
    cost_negative: float = 1.0  # penalty of an error on one that has not
    cost_sensitive: bool = False  # a document's labels share its weight
    threshold: float = 0.1  # smaller weights are left out
    eps: float = 0.1  # the solver stops below this violation
    transform: str = "l3-hinge"  # of a margin: noop, sigmoid, log-sigmoid, l1-hinge to l4-hinge
    combiner: str = ""  # of the levels' scores: product, sum, none (the last alone); empty: as fits the transform


@dataclass(frozen=True)
class SearchSettings:
    """How labels are found for a document, and which of them are kept as its tags."""

    kind: str = "mean"  # dense, tfidf, mean (of both cosines), bm25, popularity
    index: str = "auto"  # dense: exact, hnsw, ivf (faiss); terms: flat (one-vs-rest), tree; auto: by label count
    beam: int = 10  # nodes kept a level of a label tree; 0: all of them, which is exact
    k: int = 0  # tags a document at most, 100 at most; 0: what 99 % of the training documents have, at least 5
    threshold: float | None = None  # keep only tags with at least this score


@dataclass(frozen=True)
class BlendSettings:
    """Several taggers as one."""

    members: tuple[str, ...] = ()  # bundles to blend; empty: those of `methods` are fitted first
    methods: tuple[str, ...] = ("xrlinear", "frozen")  # fitted with this run's settings where no members are named
    documents: int = 1500  # training documents, drawn at random, by which unseen labels are calibrated
    unseen_bias: float | None = None  # how far unlikely unseen labels are raised; unset: chosen on validation
    most_error: float = 0.06  # calibration error that the chosen bias may leave
    seen_loss: float = 0.01  # nDCG@5, and R@10, on validation documents that the chosen bias may cost
    cascade: bool = False  # ask members with an encoder only about documents whose ranking would gain
    cascade_loss: float = 0.002  # nDCG@5 on validation documents that skipping them may cost


@dataclass(frozen=True)
class Xml0Settings:
    """Unseen labels found by fusing the seen labels that a base gives a document."""

    base: str = ""  # a bundle that knows the seen labels; empty: one is fitted first
    base_method: str = "xrlinear"  # the method that fits it, with this run's settings: xrlinear, ofde, frozen
    combination: str = "xml0"  # of unseen labels' scores: xml0 (fusion and semantic), fusion, semantic, conse
    threshold: float = 0.1  # seen labels with a higher probability may be fused
    labels_at_most: int = 12  # of these the most probable ones, 30 at most
    pairs: int = 0  # (document, label) pairs that the sentence encoder is fine-tuned on; 0: it stays as it is
    learning_rate: float = 2e-5  # of the fine-tuning


@dataclass(frozen=True)
class ThresholdSettings:
    """Which labels of a tagger's ranking are kept as tags."""

    mode: str = "micro_F1"  # micro_F1, macro_F1, precision, count (the search.k best, no threshold), fixed
    value: float = 0.5  # of mode `fixed`, and of calibrated taggers where too little is known to choose one
    precision: float = 0.8  # mode `precision`: the lowest threshold whose validation precision is at least that
    least: int = 0  # tags a document at least
    most: int = 0  # tags a document at most; 0: search.k
    abstain: float = 0.0  # documents whose best score is below get no tags, whatever `least` says
    per_label: str = "auto"  # auto: offsets of labels where they surely help (F1 modes); never
    propensity: bool = False  # rare labels' errors weigh 1 / propensity; macro_F1 weighs labels alike anyway


@dataclass(frozen=True)
class ClusterSettings:
    """What a run takes of the cluster."""

    workers: int = 0  # tagging processes of one CPU or GPU each; 0: as many as the cluster carries, and grows to
    use_gpu: bool = False
    chunk_documents: int = 1024  # documents that are tagged and written as one unit
    small_bytes: int = 20_000_000  # smaller input goes without Ray where no cluster is named; 0: never
    address: str = ""  # a running Ray; empty: RAY_ADDRESS, else one started for the run


@dataclass(frozen=True)
class StorageSettings:
    """Object storage where the environment does not say."""

    endpoint: str = ""  # empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS itself
    region: str = ""  # empty: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1


@dataclass(frozen=True)
class OutputSettings:
    """Where the result lands."""

    bundle: str = ""
