"""The blend without Ray: its ranking beside its members', what it does with labels to come, and what it refuses."""

import dataclasses
import json
import shutil
from hashlib import sha256

import numpy as np
import pytest
from scipy.special import expit

from raytagger import metrics
from raytagger.bundle import load
from raytagger.bundle.blend import BlendTagger
from raytagger.bundle.moments import moments_by_rank
from raytagger.bundle.panel import raised
from raytagger.calibration import Thresholds
from raytagger.corpus import LabelSet, read_labels
from raytagger.corpus.output import SMALL
from raytagger.corpus.report import CorpusReport
from raytagger.errors import BundleError, CorpusError, SettingsError
from raytagger.evaluate import Asked, evaluate
from raytagger.progress import silent, unsaid
from raytagger.recipes.blend_learn import learn
from raytagger.recipes.fit import fit
from raytagger.recipes.reading import to_matrix
from raytagger.schema import PAD, Scores
from raytagger.settings import (
    BlendSettings,
    FitRun,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    ThresholdSettings,
    Xml0Settings,
)
from raytagger.store import Store
from tests.corpora import STATIC, small_bundle
from tests.equal import CLOSE, assert_same_ranking, assert_same_scores, ranking

SOURCE = SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl"))
KINDS = ("tfidf", "bm25", "popularity")
TEXTS = ["Prune plums in high summer.", "Sauerkraut needs salt, cabbage and patience.", "A loaf of sourdough", ""]
OLD = read_labels(Store(), SOURCE.labels)
NEWER = LabelSet(
    (*OLD.ids, "new/saffron"),
    (*OLD.titles, "Saffron"),
    (*OLD.texts, "Growing the saffron crocus and drying its stigmas."),
)
SAFFRON = "The saffron crocus flowers in October; its stigmas are dried."


def lines_of(name):
    return [json.loads(line) for line in (SMALL / name).read_text(encoding="utf-8").splitlines()]


def source_of(folder, documents):
    """A corpus of some documents with the small corpus's labels."""
    path = folder / "docs.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in documents), encoding="utf-8")
    return dataclasses.replace(SOURCE, documents=str(path))


def run_over(members, out, source=SOURCE, blend=None, **parts) -> FitRun:
    return FitRun(
        method="blend",
        source=source,
        encoder=STATIC,
        blend=BlendSettings(members=tuple(members), documents=100, **(blend or {})),
        output=OutputSettings(str(out)),
        **parts,
    )


def opened(uri) -> BlendTagger:
    tagger = load(str(uri))
    assert isinstance(tagger, BlendTagger)
    return tagger


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    return {kind: small_bundle(str(folder / kind), kind) for kind in (*KINDS, "mean")}


@pytest.fixture(scope="module")
def three(members):
    return [members[kind] for kind in KINDS]


@pytest.fixture(scope="module")
def made(three, tmp_path_factory):
    out = tmp_path_factory.mktemp("blend") / "out"
    fit(run_over(three, out))
    return out


@pytest.fixture(scope="module")
def tagger(made):
    return opened(made)


@pytest.fixture(scope="module")
def cascade(members, tmp_path_factory):
    """The run of a blend with a cascade, fitted."""
    out = tmp_path_factory.mktemp("cascade") / "out"
    run = run_over([members["tfidf"], members["mean"]], out, blend={"cascade": True})
    fit(run)
    return run


def ndcg(tagger, texts, gold, allowed_L):
    return metrics.mean_defined(metrics.ndcg_at(tagger.search(tagger.encode(texts), 5, allowed_L), gold, 5))


def test_more_labels_than_there_are_is_all_of_them(tagger):
    texts = ["Pruning plum trees in summer.", "A bread of rye."]
    found, labels = tagger.tag(texts, 10**12), len(tagger.labels)
    assert found.label_BK.shape == (2, labels)
    assert_same_scores(found, tagger.search(tagger.encode(texts), labels))


def test_a_blend_is_not_worse_than_its_best_member(tagger):
    """On documents that neither its members nor the blend were fitted on."""
    documents = [one for one in lines_of("docs.jsonl") if one.get("split") == "test"]
    gold = to_matrix(
        [[tagger.labels.index[label] for label in one["labels"]] for one in documents], len(tagger.labels)
    )
    texts = [one["text"] for one in documents]
    alone = [ndcg(member, texts, gold, tagger.seen_L) for member in tagger.members]
    assert ndcg(tagger, texts, gold, tagger.seen_L) >= max(alone)
    assert max(alone) > 1.5 * min(alone) > 0
    joined = tagger.manifest["joined"]
    assert joined["way"] in joined["nDCG@5"]
    assert joined["nDCG@5"][joined["way"]] >= max(joined["nDCG@5"][kind] for kind in KINDS)
    assert tagger.manifest["calibrated"]


def test_training_documents_with_hidden_labels_tell_of_the_gain_of_a_bias(tagger):
    assert tagger.manifest["pseudo_unseen"] > 0
    assert tagger.manifest["gain_documents"] > sum(one.get("split") == "val" for one in lines_of("docs.jsonl"))


def test_scores_are_probabilities_that_fall(tagger):
    found = tagger.tag(TEXTS, 70)
    filled_BK = found.label_BK != PAD
    assert filled_BK.sum(axis=1).tolist() == [60, 60, 60, 0]  # nothing is known of the last one
    assert ((found.score_BK[filled_BK] >= 0) & (found.score_BK[filled_BK] <= 1)).all()
    assert np.isneginf(found.score_BK[~filled_BK]).all()
    assert (np.diff(found.score_BK[:3, :60], axis=1) <= 0).all()
    for row in found.label_BK[:3]:
        assert sorted(row[:60].tolist()) == list(range(60))


def test_one_text_is_tagged_as_in_a_batch(tagger):
    batch = tagger.tag(TEXTS)
    for row, text in enumerate(TEXTS):
        assert_same_ranking(ranking(tagger.tag([text])), ranking(batch, row))


def test_many_documents_are_ranked_as_few(tagger):
    many, few = tagger.tag(TEXTS * 70, 5), tagger.tag(TEXTS, 5)
    assert_same_scores(many, Scores.concatenate([few] * 70))


def test_only_allowed_labels_are_named_with_the_scores_they_have(tagger):
    features = tagger.encode(TEXTS)
    everything = tagger.search(features, 60)
    allowed_L = np.arange(60) % 7 == 0
    assert (allowed_L & ~tagger.seen_L).any()
    assert (allowed_L & tagger.seen_L).any()
    found = tagger.search(features, 60, allowed_L)
    assert found.empty_B.tolist() == features.blank_B.tolist() == [False, False, False, True]
    for row in range(3):
        named = found.label_BK[row][found.label_BK[row] != PAD]
        assert set(named.tolist()) == set(np.flatnonzero(allowed_L).tolist())
    assert set(everything.label_BK[0].tolist()) > set(named.tolist())
    assert (tagger.search(features, 3, np.zeros(60, bool)).label_BK == PAD).all()


@pytest.mark.parametrize("label_id", ["garden/pruning", None])
def test_what_members_add_is_the_score(tagger, label_id):
    unseen = [tagger.labels.ids[label] for label in np.flatnonzero(~tagger.seen_L)]
    for one in [label_id] if label_id else unseen:
        explained = tagger.explain(TEXTS[0], one)
        label = tagger.labels.index[one]
        assert explained.seen is bool(tagger.seen_L[label])
        assert [said.member for said in explained.members] == list(KINDS)
        total = sum(said.adds for said in explained.members) + explained.rest
        if explained.seen:
            expected = expit(tagger.full.curve.odds(total) + tagger.full.offset_L[label])
        else:
            expected = raised(expit(np.array(total)), tagger.unseen_bias)
        expected = tagger.full.told(np.asarray(expected))
        assert explained.score == pytest.approx(float(expected), abs=CLOSE)
        found = tagger.tag(TEXTS[:1], 60)
        assert found.score_BK[found.label_BK == label] == pytest.approx(explained.score, abs=CLOSE)
        assert one in explained.lines()[0]
    with pytest.raises(SettingsError, match="no such label"):
        tagger.explain(TEXTS[0], "no/such")


def test_tags_are_those_that_reach_their_thresholds(tagger):
    texts = [one["text"] for one in lines_of("docs.jsonl")[:60]]
    scores = tagger.tag(texts, 12)
    limit, offset_L = (
        float(np.median(scores.score_BK[:, :4])),
        np.where(np.arange(60) % 2, 0.01, 0).astype(np.float32),
    )
    tagger = dataclasses.replace(tagger, thresholds=Thresholds(limit, offset_L))
    assert tagger.threshold == limit
    kept = tagger.keep(scores, 4)
    dropped = 0
    for row in range(len(texts)):
        expected = []
        for label, score in zip(scores.label_BK[row, :4].tolist(), scores.score_BK[row, :4].tolist(), strict=True):
            if score >= np.float32(limit) + offset_L[label]:
                expected.append(label)
        dropped += 4 - len(expected)
        assert [label for label in kept.label_BK[row].tolist() if label != PAD] == expected
    assert dropped
    assert (kept.label_BK != PAD).any()


def test_saved_and_loaded_a_blend_is_what_was_learnt(cascade, store):
    theirs = [load(place) for place in cascade.blend.members]
    learnt = learn(cascade, store, OLD, theirs, ["tfidf", "mean"], CorpusReport(OLD), silent, unsaid).tagger
    loaded = opened(cascade.output.bundle)
    assert loaded.names == ("tfidf", "mean")
    for one, other in ((learnt, loaded), (learnt.with_labels(NEWER), loaded.with_labels(NEWER))):
        first, second = one.tag([*TEXTS, SAFFRON]), other.tag([*TEXTS, SAFFRON])
        np.testing.assert_allclose(first.score_BK, second.score_BK, atol=1e-3)
        assert (first.label_BK[:, 0] == second.label_BK[:, 0]).all()


def test_a_blend_from_before_other_scripts_sees_label_words_as_it_did(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    file, manifest = (next(copy.glob(f"*/{name}.json")) for name in ("blend", "manifest"))
    told = manifest.read_text(encoding="utf-8").replace(sha256(file.read_bytes()).hexdigest(), "SHA")
    file.write_bytes(file.read_bytes().replace(b'"words"', b'"other"'))  # a key that older ones lack
    manifest.write_text(told.replace("SHA", sha256(file.read_bytes()).hexdigest()), encoding="utf-8")
    hindi = LabelSet((*OLD.ids, "new/words"), (*OLD.titles, "हिन्दी"), (*OLD.texts, ""))
    for place, words in ((made, 1), (copy, 0)):  # its consonants stand alone where vowel signs part them
        assert opened(place).with_labels(hindi).overlap.words(["हिन्दी"]).nnz == words


def test_new_labels_are_found_at_once(tagger):
    grown = tagger.with_labels(NEWER)
    place = len(tagger.labels)
    found = grown.tag([SAFFRON, *TEXTS], 61)
    assert found.label_BK[0, 0] == place
    others = np.where(found.label_BK[1:] == place, found.score_BK[1:], -1).max(axis=1)
    assert (others < found.score_BK[0, 0]).all()
    before = tagger.tag(TEXTS, 60)
    for row in range(len(TEXTS)):
        old = found.label_BK[row + 1][found.label_BK[row + 1] != place]
        assert old[:3].tolist() == before.label_BK[row, :3].tolist()
    assert len(tagger.labels) == place


def test_usual_scores_are_those_of_all_that_is_ranked(members, tagger):
    label_J = np.flatnonzero(~tagger.seen_L)
    for kind in members:
        member = load(members[kind]).forgetting(~tagger.seen_L)
        features = member.encode([*(one["text"] for one in lines_of("docs.jsonl")[:40]), ""])
        found = member.moments(features, label_J)
        ranked = moments_by_rank(member.rank, features, label_J, len(member.labels))
        np.testing.assert_allclose(found, ranked, atol=1e-6)
        assert (found[1] > 0).all()


def test_a_blend_forgets_what_its_members_forget(tagger):
    hidden_L = np.arange(60) < 2
    forgetful = tagger.forgetting(hidden_L)
    assert forgetful is not None
    assert not forgetful.seen_L[:2].any()
    assert (forgetful.seen_L[2:] == tagger.seen_L[2:]).all()


def test_the_cascade_asks_dear_members_about_doubtful_documents(cascade):
    tagger = opened(cascade.output.bundle)
    assert tagger.cheap is not None
    assert tagger.cheap.members == (0,)
    assert tagger.cheap.cascade is not None
    texts = [one["text"] for one in lines_of("docs.jsonl")[:30]]
    whole = dataclasses.replace(tagger, cheap=None).tag(texts)
    assert_same_scores(tagger.tag(texts), whole)  # too few documents to skip any
    cheap = tagger.cheap._replace(cascade=tagger.cheap.cascade._replace(least_gain=np.inf))
    quick = dataclasses.replace(tagger, cheap=cheap).tag(texts)
    gain_B = tagger.cheap.cascade.gain(quick)
    middle = float(np.median(gain_B))
    cheap = tagger.cheap._replace(cascade=tagger.cheap.cascade._replace(least_gain=middle))
    mixed = dataclasses.replace(tagger, cheap=cheap)
    asked = mixed.encode(texts).asked
    assert asked is not None
    assert asked.tolist() == np.flatnonzero(gain_B > middle).tolist()
    assert 0 < len(asked) < len(texts)
    found = mixed.tag(texts)
    for row in range(len(texts)):
        assert_same_ranking(ranking(found, row), ranking(whole if row in asked else quick, row))


# Members of members


@pytest.mark.slow
@pytest.mark.parametrize("base", ["tfidf", "mean"])
def test_label_fusion_can_be_a_member(members, tmp_path, base):
    fused = str(tmp_path / "fused")
    fit(
        FitRun(
            method="xml0",
            source=SOURCE,
            encoder=STATIC,
            xml0=Xml0Settings(members[base]),
            output=OutputSettings(fused),
        )
    )
    fit(run_over([members["bm25"], fused], tmp_path / "out"))
    tagger = opened(tmp_path / "out")
    assert tagger.names == ("bm25", "fused")
    assert (tagger.tag(TEXTS, 5).label_BK[:3] != PAD).all()
    dear = run_over([members["bm25"], fused], tmp_path / "cascade", blend={"cascade": True})
    fit(dear)
    cheap = opened(tmp_path / "cascade").cheap
    assert cheap is not None
    assert cheap.members == (0,)


def test_a_forgotten_label_is_found_by_its_text(tagger):
    """As well as a label that was never seen: among unseen ones it counts by how unusual its score is."""
    documents = [one for one in lines_of("docs.jsonl") if one.get("split") == "val"]
    index = tagger.labels.index
    hidden_L = np.zeros(60, bool)
    hidden_L[np.flatnonzero(tagger.seen_L)[::4]] = True
    some = [one for one in documents if any(hidden_L[index[label]] for label in one["labels"])]
    gold = to_matrix([[index[label] for label in one["labels"]] for one in some], 60)
    forgetful = tagger.forgetting(hidden_L)
    assert forgetful is not None
    assert not (forgetful.seen_L & hidden_L).any()
    found = forgetful.search(forgetful.encode([one["text"] for one in some]), 5, ~forgetful.seen_L)
    assert metrics.mean_defined(metrics.ur_at(found, gold, ~forgetful.seen_L, 5)) > 0.5
    changed_L = (forgetful.usual_M2L != tagger.usual_M2L).any(axis=(0, 1))
    assert not (changed_L & ~hidden_L).any()
    assert changed_L[hidden_L].mean() > 0.8


def test_a_label_that_comes_back_is_found_as_if_it_had_stayed(three, made, tmp_path):
    stayed = opened(made)
    gone = np.flatnonzero(~stayed.seen_L)[:2]
    status = tuple("retired" if label in gone else "active" for label in range(60))
    retired = dataclasses.replace(OLD, status=status)
    back = stayed.with_labels(retired).with_labels(OLD)
    np.testing.assert_allclose(back.usual_M2L[:, :, gone], stayed.usual_M2L[:, :, gone], rtol=0.02, atol=0.02)
    retired_usual = stayed.usual_M2L.copy()
    retired_usual[:, 0, gone], retired_usual[:, 1, gone] = 0, 1  # as if the blend had been fitted without them
    fitted = dataclasses.replace(stayed.with_labels(retired), usual_M2L=retired_usual)
    again = fitted.with_labels(OLD)
    np.testing.assert_allclose(again.usual_M2L[:, :, gone], stayed.usual_M2L[:, :, gone], rtol=0.02, atol=0.02)


def test_unseen_labels_of_validation_documents_are_judged_themselves(tmp_path):
    """Half of the labels have no training document, and validation documents have them."""
    away, documents = {one["label_id"] for one in lines_of("labels.jsonl")[::2]}, []
    for one in lines_of("docs.jsonl"):
        if one.get("split") in ("train", "zeroshot"):
            one |= {"split": "val" if away & set(one["labels"]) else "train"}
        documents.append(one)
    source, places, said = source_of(tmp_path, documents), [str(tmp_path / kind) for kind in KINDS[:2]], []
    for kind, place in zip(KINDS, places, strict=False):
        fit(FitRun(source=source, search=SearchSettings(kind=kind), output=OutputSettings(place)))
    fit(run_over(places, tmp_path / "out", source), say=said.append)
    tagger = opened(tmp_path / "out")
    assert tagger.manifest["judged_by"] == "unseen labels of validation documents"
    assert tagger.manifest["pseudo_unseen"] == 0
    assert 0 < tagger.manifest["gain_documents"] <= sum(one.get("split") == "val" for one in documents)
    assert tagger.manifest["calibrated"]
    assert any("unseen labels" in line and "by which these are judged" in line for line in said)
    test = [one for one in documents if one.get("split") == "test"]
    gold = to_matrix([[tagger.labels.index[label] for label in one["labels"]] for one in test], len(tagger.labels))
    scores = tagger.search(tagger.encode([one["text"] for one in test]), 10)
    unseen_BK = (scores.label_BK != PAD) & ~tagger.seen_L[np.maximum(scores.label_BK, 0)]
    right, believed = metrics.hits(scores, gold)[unseen_BK].sum(), scores.score_BK[unseen_BK].sum()
    assert 0.6 * right < believed < 1.6 * right


# What is too little to learn from


def test_without_labels_to_hide_unseen_ones_are_answered_all_the_same(tmp_path):
    """No label has three training documents."""
    count, documents = dict.fromkeys([one["label_id"] for one in lines_of("labels.jsonl")], 0), []
    for one in lines_of("docs.jsonl"):
        if one.get("split") == "train":
            if not one["labels"] or max(count[label] for label in one["labels"]) >= 2:
                continue
            for label in one["labels"]:
                count[label] += 1
        documents.append(one)
    source = source_of(tmp_path, documents)
    places = [str(tmp_path / kind) for kind in ("tfidf", "bm25")]
    for place in places:
        kind = place.rsplit("/", 1)[-1]
        fit(FitRun(source=source, search=SearchSettings(kind=kind), output=OutputSettings(place)))
    fit(run_over(places, tmp_path / "out", source))
    tagger = opened(tmp_path / "out")
    assert tagger.manifest["pseudo_unseen"] == 0
    assert tagger.manifest["calibrated"] is False
    assert tagger.manifest["guessed"]["way"] == "mean of members, not calibrated"
    assert tagger.unseen_bias == 0
    found = tagger.search(tagger.encode(TEXTS), 5, ~tagger.seen_L)
    assert (found.label_BK[:3] != PAD).all()
    newer = tagger.with_labels(NEWER)
    assert newer.search(newer.encode([SAFFRON]), 1, ~newer.seen_L).label_BK[0, 0] == 60


def test_no_bias_is_chosen_by_fewer_than_twenty_right_pairs(three, tmp_path):
    documents, some = lines_of("docs.jsonl"), ("garden/pruning", "kitchen/knives", "first-aid/bleeding")
    train = [one | {"labels": [some[row % 3]]} for row, one in enumerate(documents) if one.get("split") == "train"]
    val = [one for one in documents if one.get("split") == "val" and not set(one["labels"]) & set(some)]
    source = source_of(tmp_path, train[:12] + val)
    fit(run_over(three, tmp_path / "out", source))
    tagger = opened(tmp_path / "out")
    assert tagger.manifest["pseudo_unseen"] > 0
    assert tagger.manifest["guessed"]["way"] == "mean of members, not calibrated"
    assert tagger.unseen_bias == 0
    assert tagger.manifest["calibrated"] is False


def test_usual_scores_come_from_validation_documents_where_there_are_no_others(three, tmp_path):
    source = source_of(tmp_path, [one for one in lines_of("docs.jsonl") if one.get("split") == "val"])
    fit(run_over(three, tmp_path / "out", source))
    tagger = opened(tmp_path / "out")
    unseen = np.flatnonzero(~tagger.seen_L)
    assert len(tagger.samples[0].cut_B) > 20
    deviation_J = tagger.usual_M2L[0, 1, unseen]
    assert (deviation_J < 1).mean() > 0.8  # 1 is that of labels whose score never changes
    assert (deviation_J > 0).all()


def test_few_validation_documents_join_members_by_rank(three, tmp_path):
    documents = lines_of("docs.jsonl")
    few = [one for one in documents if one.get("split") == "val"][:5]
    source = source_of(tmp_path, [one for one in documents if one.get("split") != "val"] + few)
    fit(run_over(three, tmp_path / "out", source, threshold=ThresholdSettings(mode="fixed", value=0.3)))
    tagger = opened(tmp_path / "out")
    assert tagger.threshold == 0.3
    assert tagger.manifest["joined"]["way"] == "ranks of members"
    assert tagger.manifest["calibrated"] is False
    features = tagger.encode(TEXTS)
    found = tagger.search(features, 5, tagger.seen_L)
    places = []
    for member, part in zip(tagger.members, features.members, strict=True):
        said = member.rank(part, 100, tagger.seen_L).label_BK[0].tolist()
        places.append({label: 1 / (1 + place) for place, label in enumerate(said) if label != PAD})
    total = {label: sum(one.get(label, 0) for one in places) for label in np.flatnonzero(tagger.seen_L).tolist()}
    best = sorted(total, key=lambda label: (-total[label], label))[:5]
    assert found.label_BK[0].tolist() == best


def test_a_blend_that_is_not_calibrated_has_no_threshold(three, tmp_path):
    documents = lines_of("docs.jsonl")
    few = [one for one in documents if one.get("split") == "val"][:5]
    source = source_of(tmp_path, [one for one in documents if one.get("split") != "val"] + few)
    line = fit(run_over(three, tmp_path / "out", source)).line()
    tagger = opened(tmp_path / "out")
    assert not tagger.manifest["calibrated"]
    assert tagger.threshold is None
    assert "no threshold" in line
    assert not tagger.keep(tagger.tag(TEXTS[:3])).empty_B.any()
    assert evaluate(tagger, Store(), source, Asked("test"))["micro_F1"] is None


# What is refused


def test_a_blend_without_one_of_its_members_does_not_open(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    shutil.rmtree(next(copy.glob("*/members/1")))
    with pytest.raises(BundleError, match="members/1"):
        load(str(copy))


def test_a_member_with_another_label_set_is_refused(three, tmp_path):
    lines = (SMALL / "labels.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "labels.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    source = dataclasses.replace(SOURCE, documents="", labels=str(tmp_path / "labels.jsonl"))
    other = str(tmp_path / "other")
    fit(FitRun(source=source, search=SearchSettings(kind="popularity"), output=OutputSettings(other)))
    with pytest.raises(SettingsError, match="other has another label set"):
        fit(run_over([three[0], other], tmp_path / "out"))


def test_a_member_that_is_not_there_is_refused(three, tmp_path):
    with pytest.raises(BundleError, match="no bundle there"):
        fit(run_over([three[0], str(tmp_path / "nothing")], tmp_path / "out"))


def test_without_a_labelled_validation_document_there_is_nothing_to_fit_on(three, tmp_path):
    documents = [one | ({"labels": []} if one.get("split") == "val" else {}) for one in lines_of("docs.jsonl")]
    with pytest.raises(CorpusError, match=r"no validation document.*validation_split"):
        fit(run_over(three, tmp_path / "out", source_of(tmp_path, documents)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("blend", "message"),
    [
        ({"methods": ("xrlinear", "tarot")}, r"blend\.methods.*tarot.*frozen"),
        ({"methods": ()}, "nothing to blend"),
        ({"most_error": 1.0}, r"blend\.most_error"),
        ({"unseen_bias": 1.5}, r"blend\.unseen_bias"),
        ({"seen_loss": -0.1}, r"blend\.seen_loss"),
        ({"cascade_loss": 2.0}, r"blend\.cascade_loss"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, blend, message):
    with pytest.raises(SettingsError, match=message):
        fit(run_over((), tmp_path / "out", blend=blend))


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (ThresholdSettings(least=3, most=2), r"threshold\.least = 3 contradicts threshold\.most = 2"),
        (ThresholdSettings(most=101), r"threshold\.most = 101 contradicts search\.k = 100"),
    ],
)
def test_thresholds_that_contradict_are_refused(three, tmp_path, threshold, message):
    with pytest.raises(SettingsError, match=message):
        fit(run_over(three, tmp_path / "out", threshold=threshold))


@pytest.mark.parametrize(
    ("search", "threshold", "message"),
    [
        (SearchSettings(threshold=7.0), ThresholdSettings(), r"search\.threshold.*7\.0.*0 to 1"),
        (SearchSettings(threshold=0.4), ThresholdSettings(mode="precision"), r"0\.4 contradicts threshold\.mode"),
    ],
)
def test_a_threshold_that_is_none_or_set_twice_is_refused(three, tmp_path, search, threshold, message):
    with pytest.raises(SettingsError, match=message):
        fit(run_over(three, tmp_path / "out", search=search, threshold=threshold))


@pytest.mark.parametrize("kinds", [("tfidf", "bm25"), ("mean",)])
def test_a_cascade_needs_cheap_and_dear_members(members, tmp_path, kinds):
    with pytest.raises(SettingsError, match=r"blend\.cascade needs members"):
        fit(run_over([members[kind] for kind in kinds], tmp_path / "out", blend={"cascade": True}))
