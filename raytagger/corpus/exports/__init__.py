"""Files that other tools export, read as documents or labels; each a format as `raytagger.corpus.formats` has them.

`EXPORTS` holds the formats by their names, `EXPORT_ENDINGS` what is recognised without a name: only what cannot be
anything else.
"""

from __future__ import annotations

from raytagger.corpus.exports.annif import read_annif_fulltext, read_annif_tsv, read_annif_vocabulary
from raytagger.corpus.exports.annif_tables import read_annif_csv, read_annif_jsonl
from raytagger.corpus.exports.argilla import read_argilla
from raytagger.corpus.exports.doccano import read_doccano
from raytagger.corpus.exports.huggingface import read_huggingface
from raytagger.corpus.exports.label_studio import read_label_studio
from raytagger.corpus.exports.skos import read_skos
from raytagger.corpus.exports.stackexchange import read_stackexchange
from raytagger.corpus.exports.svmlight import read_svmlight
from raytagger.corpus.rows import Format

__all__ = ["EXPORTS", "EXPORT_ENDINGS", "VOCABULARIES"]

EXPORTS: dict[str, Format] = {
    "annif-csv": read_annif_csv,
    "annif-fulltext": read_annif_fulltext,
    "annif-jsonl": read_annif_jsonl,
    "annif-tsv": read_annif_tsv,
    "annif-vocabulary": read_annif_vocabulary,
    "argilla": read_argilla,
    "doccano": read_doccano,
    "huggingface": read_huggingface,
    "label-studio": read_label_studio,
    "skos": read_skos,
    "stackexchange": read_stackexchange,
    "svmlight": read_svmlight,
}

EXPORT_ENDINGS = {
    ".ttl": "skos",
    ".rdf": "skos",
    ".nt": "skos",
    ".jsonld": "skos",
    ".arrow": "huggingface",
    ".svm": "svmlight",
    ".libsvm": "svmlight",
    "posts.xml": "stackexchange",
    "tags.xml": "stackexchange",
}

VOCABULARIES = ("skos", "annif-vocabulary")  # formats of label sets alone
