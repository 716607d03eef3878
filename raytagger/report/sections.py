"""The sections of the report, each a heading, a sentence for the reader, and a table or chart; texts are escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from raytagger import metrics
from raytagger.metrics import RARE_AT_MOST
from raytagger.report.breakdown import best_and_worst, buckets, popularity, principal_plane
from raytagger.report.charts import Series, chart, cloud
from raytagger.report.markup import row, section, table
from raytagger.report.subject import Subject
from raytagger.tables import percent

DOCUMENTS_SHOWN = 6
POINTS_AT_MOST = 1500  # labels drawn in a plane


def headline(subject: Subject) -> str:
    """The result in plain words."""
    found = subject.figures
    lines = [
        f"<p class='lead'>{escape(subject.name)} tagged <b>{found['n_documents']:,}</b> documents whose right labels are "
        f"known, out of <b>{found['n_labels']:,}</b> labels. For <b>{percent(found['P@1'])} %</b> of the documents its "
        "first label is right.</p>"
    ]
    if found["n_unseen_labels"] and found["UR@1"] is not None:
        lines.append(
            f"<p class='lead'><b>{found['n_unseen_labels']:,}</b> of the labels are <i>unseen</i>: no training document "
            f"has them, only their description is known. On the documents that have such a label, choosing among the "
            f"unseen labels alone, its first choice finds <b>{percent(found['UR@1'])} %</b> of them.</p>"
        )
    return "".join(lines)


def glossary() -> str:
    """What the metrics mean, in a sentence each."""
    terms = {
        "P@1": "share of documents whose first label is right",
        "nDCG@5": "how many of a document's labels are among the first five, the first places counting most; 100 is "
        "perfect. Knowing only which labels are frequent already gives much of it: see the row “popularity”",
        "PSP@5": "precision among the first five in which a rare label counts more than a frequent one",
        "ZSR@10": "share of a document's unseen labels that are among its first ten of all labels; being found there "
        "takes knowledge and also scores on one scale with those of seen labels",
        "UR@1": "share of a document's unseen labels that come first when only unseen labels compete: knowledge alone",
        "chance": "what a random order of the labels would reach",
        "seen, unseen": "a label is seen when documents with it were trained on",
    }
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}.</dd>" for term, meaning in terms.items())
    return f"<details open><summary>What the figures mean</summary><dl>{items}</dl></details>"


def comparison(subject: Subject, beside: Sequence[Subject], grouped: bool) -> str:
    """This bundle beside others, popularity and chance."""
    names = ("P@1", "nDCG@5", "PSP@5", "ZSR@10", "UR@1")
    rows = [_figures_row(one, names, one is subject) for one in (subject, *beside)]
    popular = popularity(subject)
    if popular:
        rows.append(row(["popularity: the same frequent labels for every document", *popular], "other"))
    unseen = int(subject.unseen_L.sum())
    chance = subject.figures["chance_ZSR@10"]
    rows.append(row(["chance", "", "", "", percent(chance), percent(1 / unseen if unseen else None)], "other"))
    differences = [line for one in beside for line in _difference(subject, one)]
    how = "by source: documents of one source count as one draw" if grouped else "document by document"
    note = f"<p class='note'>In %, below each figure the 95 % interval of a bootstrap {how}.{_measure(beside)}</p>"
    return section(
        "Beside other taggers",
        "The higher, the better. One column alone misleads: a tagger must be good on seen and on unseen labels.",
        table(["tagger", *names], rows) + note + "".join(f"<p>{line}</p>" for line in differences),
    )


def training_curves(subject: Subject) -> str:
    """Figures against training steps, and how far labels lie apart."""
    log = subject.training
    if log is None:
        return ""
    entries = log["evaluations"]
    figures = [
        Series(
            f"{name}{where}",
            [(entry["step"], 100 * entry[name]) for entry in entries if entry[name] is not None],
        )
        for name, where in (
            ("nDCG@5", " on seen labels"),
            ("ZSR@10", " on hidden labels"),
            ("UR@1", " on hidden labels"),
        )
    ]
    parts = [chart(figures, "training steps", "%", "Quality while it was trained; step 0 is the frozen encoder.")]
    for key, title, caption in (
        (
            "effective_rank",
            "effective rank",
            "How many directions the labels fill: a fall to 1 would be a collapse.",
        ),
        ("mean_cosine", "mean cosine", "How alike the labels are to each other: a rise to 1 would be a collapse."),
    ):
        parts.append(chart(_spread_series(entries, key), "training steps", title, caption))
    intro = (
        f"Measured while training on {log['validation_documents']:,} validation documents, and on "
        f"{log['pseudo_unseen_documents']:,} documents with {log['pseudo_unseen_labels']:,} rare labels that were hidden "
        "from training, so that they stand in for labels nobody has trained on. A tagger that only learns its seen "
        "labels would rise on the first and fall on the others."
    )
    return section("While it was trained", intro, f"<div class='charts'>{''.join(parts)}</div>{_guard(log)}")


def label_planes(subject: Subject) -> str:
    """Seen and unseen labels on a plane, before and after training."""
    matrices = [
        ("before training", subject.matrix("label_start_LD")),
        ("after training", subject.matrix("label_LD")),
    ]
    matrices = [(name, matrix) for name, matrix in matrices if matrix is not None]
    if not matrices or not len(subject.labels):
        return ""
    if len(matrices) == 1:
        matrices = [("", matrices[0][1])]
    parts = [_plane(subject, name, matrix) for name, matrix in matrices if matrix is not None]
    return section(
        "Where the labels lie",
        "Every label as a point on the two directions in which the labels differ most (PCA). Unseen labels that fall "
        "together into one corner could no longer be told apart; spread among the seen ones they can.",
        f"<div class='charts'>{''.join(parts)}</div>",
    )


def label_groups(subject: Subject) -> str:
    """Frequent, rare and unseen labels."""
    rows = [
        row(
            [
                group["group"],
                f"{group['labels']:,}",
                f"{group['pairs']:,}",
                percent(group["recall"]),
                percent(group["mean_recall"]),
            ]
        )
        for group in buckets(subject)
    ]
    header = ["labels", "how many", "times right", "found among ten, %", "mean of labels, %"]
    return section(
        "Frequent, rare and unseen labels",
        f"How often a right label is among a document's first ten. Rare means {RARE_AT_MOST} training documents or "
        "fewer; the last column counts every label once, however often it occurs.",
        table(header, rows),
    )


def labels_best_worst(subject: Subject) -> str:
    """The labels that are found best and worst."""
    best, worst = best_and_worst(subject)
    if not best:
        return ""
    header = ["label", "training documents", "measured", "found among ten, %", "right of kept, %"]
    tables = [
        f"<h3>{title}</h3>" + table(header, [_label_row(label) for label in labels])
        for title, labels in (("Found best", best), ("Found worst", worst))
    ]
    return section(
        "Best and worst labels",
        "Of the labels with at least five measured documents. Look at the texts of the worst: a vague description "
        "is the usual reason.",
        "".join(tables),
    )


def documents(subject: Subject) -> str:
    """Documents that were tagged well and badly, with their text."""
    known = set(subject.labels.ids)
    rated = []
    for example in subject.examples:
        gold = set(example["gold"]) & known
        tags = [label for label, _ in example["tags"]]
        if gold and tags:
            rated.append((len(gold & set(tags)) / min(len(gold), len(tags)), example))
    if not rated:
        return ""
    rated.sort(key=lambda pair: -pair[0])
    count = min(DOCUMENTS_SHOWN, max(len(rated) // 2, 1))
    right = "".join(_document(subject, example) for _, example in rated[:count])
    wrong = "".join(_document(subject, example) for _, example in rated[::-1][:count])
    return section(
        "Documents",
        "Each with the tags it was given: ✓ right, ✗ wrong, and ○ what was missed. A wrong tag is sometimes one that "
        "nobody thought of.",
        f"<h3>Tagged well</h3>{right}<h3>Tagged badly</h3>{wrong}",
    )


def facts(subject: Subject) -> str:
    """Corpus, times, licences, versions, settings."""
    found, log, manifest = subject.figures, subject.training, subject.manifest
    rows = [
        ("bundle", found["bundle"]),
        ("kind", manifest["kind"]),
        ("split measured", found["split"] or "all documents"),
        ("documents measured", f"{found['n_documents']:,}"),
        ("left out, without gold labels", f"{found['n_without_gold']:,}"),
        ("gold labels outside the label set", f"{found['n_unknown_gold']:,}"),
        ("gold labels left out by filter_labels", f"{found['n_filtered_gold']:,}"),
        ("rejected rows", f"{found['n_rejected']:,}"),
        *((f"rejected, {why}", f"{count:,}, such as {one}") for why, (count, one) in found["rejected"].items()),
        ("labels, of them unseen", f"{found['n_labels']:,}, {found['n_unseen_labels']:,}"),
        ("unseen pairs measured", f"{found['n_unseen_pairs']:,}"),
        ("documents longer than is read", f"{percent(found['share_cut'])} %"),
        ("documents of which nothing is known, blank", f"{percent(found['share_blank'])} %"),
        ("tagging", f"{found['documents_per_s']:,.0f} documents/s"),
        ("training documents", f"{manifest['train_documents']:,}"),
    ]
    if log:
        took = f"{log['seconds']:,.0f} s on {log['workers']} workers, {log['cpu_s']:,.0f} CPU s, {log['steps']:,} steps"
        rows.append(("training", took))
    rows += [(f"licence of {model}", licence) for model, licence in found["licences"].items()]
    rows += [(f"version of {name}", version) for name, version in manifest.get("packages", {}).items()]
    listed = table(["", ""], [row([name, str(value)]) for name, value in rows])
    settings = escape(json.dumps(manifest["settings"], indent=1, ensure_ascii=False))
    return section(
        "Corpus, times, licences, settings",
        "What this report rests on.",
        f"{listed}<details><summary>All settings</summary><pre>{settings}</pre></details>",
    )


def _figures_row(one: Subject, names: Sequence[str], own: bool) -> str:
    cells = []
    for name in names:
        ends = one.figures["intervals"].get(name)
        between = f"<small>{percent(ends[0])} to {percent(ends[1])}</small>" if ends else ""
        cells.append(f"<td>{percent(one.figures[name])}{between}</td>")
    return f"<tr class='{'own' if own else ''}'><th scope='row'>{escape(one.name)}</th>{''.join(cells)}</tr>"


def _measure(beside: Sequence[Subject]) -> str:
    """What is the same for all rows, where there are several."""
    if not beside:
        return ""
    return (
        " Unseen are the labels that none of these taggers was trained on, and PSP weighs labels by the training counts "
        "of the first, so that all rows are over the same labels."
    )


def _difference(subject: Subject, other: Subject) -> list[str]:
    """How much this bundle exceeds another one on the same documents."""
    lines = []
    for name, ours, theirs, rows in (
        ("nDCG@5", subject.ndcg_B(), other.ndcg_B(), subject.ranked.in_ranking_B),
        ("ZSR@10", subject.zsr_B(), other.zsr_B(), subject.ranked.in_zero_shot_B),
    ):
        if ours.shape != theirs.shape or not np.isfinite(ours).any():
            continue
        found = metrics.paired_difference(ours, theirs, subject.ranked.group_B[rows], seed=0)
        low, value, high = (f"{100 * end:+.1f}" for end in (found.low, found.value, found.high))
        lines.append(
            f"{escape(subject.name)} against {escape(other.name)} on the same documents: {name} {value} points "
            f"(95 % interval {low} to {high})."
        )
    return lines


def _spread_series(entries: Sequence[dict[str, Any]], key: str) -> list[Series]:
    names = {"seen": "seen labels", "pseudo_unseen": "hidden labels", "unseen": "unseen labels"}
    return [
        Series(
            title,
            [(entry["step"], entry["spread"][name][key]) for entry in entries if entry["spread"].get(name)],
        )
        for name, title in names.items()
    ]


def _guard(log: dict[str, Any]) -> str:
    guard = log["guard"]
    if guard["mixture"] is not None:
        text = (
            f"The guard mixed the weights before and after training: {100 * guard['mixture']:.0f} % of the way gave the "
            "best mean of nDCG@5 and ZSR@10."
        )
    elif guard["stopped_at"] is not None:
        text = f"Training was stopped at step {guard['stopped_at']:,}; the weights of step {log['chosen_step']:,} were kept."
    else:
        text = f"The weights of step {log['chosen_step']:,} were kept."
    return f"<p class='note'>{escape(text)}</p>"


def _plane(subject: Subject, when: str, matrix: np.ndarray) -> str:
    rows = np.arange(len(matrix))
    if len(rows) > POINTS_AT_MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, POINTS_AT_MOST, replace=False))
    point_LX = principal_plane(matrix)[rows]
    unseen = subject.unseen_L[rows]
    titles = [subject.labels.titles[row] or subject.labels.ids[row] for row in rows]
    clouds = [
        cloud(name, point_LX[member], [title for title, inside in zip(titles, member, strict=True) if inside])
        for name, member in (("seen labels", ~unseen), ("unseen labels", unseen))
    ]
    return chart(clouds, "first component", "second component", f"Label embeddings {when}".strip() + ".")


def _label_row(label: dict[str, Any]) -> str:
    name = f"{label['title']}{' (unseen)' if label['unseen'] else ''}"
    cells = [
        name,
        f"{label['trained']:,}",
        f"{label['gold']:,}",
        percent(label["recall"]),
        percent(label["precision"]),
    ]
    return row(cells)


def _document(subject: Subject, example: dict[str, Any]) -> str:
    gold = set(example["gold"])
    given = [label for label, _ in example["tags"]]
    chips = [
        f"<li class='{'right' if label in gold else 'wrong'}'>{'✓' if label in gold else '✗'} {_title(subject, label)} "
        f"<small>{score:.2f}</small></li>"
        for label, score in example["tags"]
    ]
    chips += [f"<li class='missed'>○ {_title(subject, label)}</li>" for label in sorted(gold - set(given))]
    return (
        f"<article><h4>{escape(str(example['doc_id']))}</h4><p>{escape(example['text'])}</p>"
        f"<ul class='tags'>{''.join(chips)}</ul></article>"
    )


def _title(subject: Subject, label_id: str) -> str:
    row = subject.labels.index.get(label_id)
    if row is None:
        return f"{escape(label_id)} (not in the label set)"
    return escape((subject.labels.titles[row] or label_id)[:80])
