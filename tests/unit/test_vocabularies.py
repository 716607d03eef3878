"""SKOS and Annif's vocabularies as label sets."""

import gzip

import pytest
from rdflib import Graph

from raytagger.bundle.texts import text_settings
from raytagger.corpus import read_labels
from raytagger.corpus.documents import read_documents
from raytagger.corpus.labels import read_source_labels
from raytagger.errors import CorpusError
from raytagger.settings import SourceSettings
from raytagger.store import Store

TURTLE = """\
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix xl: <http://www.w3.org/2008/05/skos-xl#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix e: <http://example.org/thesaurus/> .

e:scheme a skos:ConceptScheme ; skos:prefLabel "The thesaurus"@en .
e:networks a skos:Concept ; skos:inScheme e:scheme ;
    skos:prefLabel "networking"@en, "tietoverkot"@fi, "réseaux"@fr ;
    skos:altLabel "computer networks"@en, "verkot"@fi, "LANs"@en ;
    skos:definition "Machines that talk."@en ;
    skos:scopeNote "Not for television."@en ;
    skos:narrower e:protocols .
e:protocols a skos:Concept ; skos:prefLabel "protokollat 🛰"@fi ; skos:altLabel "yhteyskäytännöt"@fi ;
    skos:notation "42.42" .
e:telex a skos:Concept ; skos:prefLabel "telex"@en-GB ; skos:broader e:networks, e:protocols ;
    owl:deprecated true .
e:code a skos:Concept ; skos:prefLabel "C++" ;
    xl:altLabel [ xl:literalForm "cpp"@en ] ;
    skos:definition [ rdf:value "A language" ] .
"""


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def rows_of(labels):
    columns = zip(labels.titles, labels.texts, labels.parents, labels.status, strict=True)
    return dict(zip((label.rsplit("/", 1)[-1] for label in labels.ids), columns, strict=True))


def serialised(tmp_path, syntax, ending):
    return write(tmp_path / f"v{ending}", Graph().parse(data=TURTLE).serialize(format=syntax))


EXPECTED = {
    "networks": (
        "networking",
        "computer networks, LANs. Machines that talk. Not for television",
        (),
        "active",
    ),
    "protocols": ("protokollat 🛰", "yhteyskäytännöt", ("http://example.org/thesaurus/networks",), "active"),
    "telex": (
        "telex",
        "",
        ("http://example.org/thesaurus/networks", "http://example.org/thesaurus/protocols"),
        "retired",
    ),
    "code": ("C++", "cpp. A language", (), "active"),
}


def test_a_vocabulary_in_turtle_is_a_label_set(tmp_path):
    labels = read_labels(Store(), write(tmp_path / "v.ttl", TURTLE))
    assert rows_of(labels) == EXPECTED
    assert labels.ids[0] == "http://example.org/thesaurus/networks"
    assert list(rows_of(labels)) == ["networks", "protocols", "telex", "code"]


@pytest.mark.parametrize(("syntax", "ending"), [("xml", ".rdf"), ("nt", ".nt"), ("json-ld", ".jsonld")])
def test_the_other_syntaxes_give_the_same_labels(tmp_path, syntax, ending):
    labels = read_labels(Store(), serialised(tmp_path, syntax, ending))
    found = rows_of(labels)
    assert found.keys() == EXPECTED.keys()
    for name, (title, text, parents, status) in EXPECTED.items():  # a graph has no order
        assert (found[name][0], found[name][3]) == (title, status)
        assert sorted(found[name][1]) == sorted(text)
        assert sorted(found[name][2]) == sorted(parents)


def test_a_compressed_vocabulary_under_another_name(tmp_path):
    uri = write(tmp_path / "v.xml.gz", gzip.compress(Graph().parse(data=TURTLE).serialize(format="xml").encode()))
    with pytest.raises(CorpusError, match="no reader"):
        read_labels(Store(), uri)
    assert len(read_labels(Store(), uri, "skos")) == 4


def test_labels_are_taken_in_the_language_that_is_asked_for(tmp_path):
    source = SourceSettings(labels=write(tmp_path / "v.ttl", TURTLE), language="fi")
    found = rows_of(read_source_labels(Store(), source))
    assert found["networks"][:2] == ("tietoverkot", "verkot")
    assert found["telex"][0] == "telex"  # in none but British English
    assert found["code"][0] == "C++"


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("v.ttl", TURTLE + "e:x a skos:Concept ; skos:prefLabel ,\n", "line 21"),
        ("v.nt", '<http://a/b> <http://a/c> "open .\n', "<http://a/b>|open"),
        ("v.rdf", "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\n<a>", "2:3"),
        ("v.jsonld", '[{"@id": "http://a/b",\n}]', "line 2"),
        ("v.ttl", b"@prefix e: <http://\xff/> .", "utf-8|UTF-8"),
        ("v.ttl", "@prefix e: <http://e/> . e:a e:b e:c .", "no skos:Concept"),
        ("v.jsonld", '{"@context": "https://example.org/context.jsonld", "@id": "http://a/b"}', "lies elsewhere"),
        ("v.jsonld", '{"@context": [{"@import": "https://example.org/c"}]}', "lies elsewhere"),
        ("v.ttl", "[] a <http://www.w3.org/2004/02/skos/core#Concept> .", "no_id"),
    ],
)
def test_a_vocabulary_that_cannot_be_read_is_one_error_with_the_place(tmp_path, name, content, place):
    uri = write(tmp_path / name, content)
    with pytest.raises(CorpusError, match=place) as caught:
        read_labels(Store(), uri)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_entities_of_rdf_xml_cannot_grow_without_end(tmp_path):
    bomb = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    uri = write(tmp_path / "v.rdf", f"<!DOCTYPE x [{bomb}]><x>&l9;</x>")
    with pytest.raises(CorpusError):
        read_labels(Store(), uri)


def test_an_odd_uri_is_kept_and_nobody_is_warned(tmp_path, caplog):
    content = "<http://e/a b> a <http://www.w3.org/2004/02/skos/core#Concept> ."
    labels = read_labels(Store(), write(tmp_path / "v.ttl", content))
    assert labels.ids == ("http://e/a b",)
    assert not caplog.records


def test_a_vocabulary_holds_no_documents(tmp_path):
    for name, content, source in [
        ("v.ttl", TURTLE, {}),
        ("v.tsv", "<http://a>\tb\n", {"format": "annif-vocabulary"}),
    ]:
        with pytest.raises(CorpusError, match="holds no documents"):
            list(read_documents(Store(), SourceSettings(documents=write(tmp_path / name, content), **source)))


def test_annifs_tsv_has_no_header(tmp_path):
    content = '\ufeff<http://e/1>\tnetworking\t42.42\n\n<http://e/2>\tça "va" 🛰\n<http://e/3>\n'
    labels = read_labels(Store(), write(tmp_path / "v.tsv", content), "annif-vocabulary")
    assert labels.ids == ("http://e/1", "http://e/2", "http://e/3")
    assert labels.titles == ("networking", 'ça "va" 🛰', "")
    assert labels.status == ("active", "active", "retired")


def test_annifs_csv_has_a_column_a_language(tmp_path):
    content = (
        'uri,label_fi,label_en,notation\nhttp://e/1,verkot,"networks, all",42\nhttp://e/2,koodi,,\nhttp://e/3,,,\n'
    )
    uri = write(tmp_path / "v.csv", content)
    labels = read_labels(Store(), uri, "annif-vocabulary")
    assert labels.titles == ("networks, all", "koodi", "")
    assert labels.status == ("active", "active", "retired")
    assert read_labels(Store(), uri, "annif-vocabulary", language="fi").titles == ("verkot", "koodi", "")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("v.csv", "uri,label_en\nhttp://e/1,a,b\n", "line 2 is wrong_width"),
        ("v.csv", "id,title\n1,a\n", "no vocabulary of Annif"),
        ("v.tsv", b"<http://e/1>\ta\n<http://e/2>\t\xff\n", "line 2 is not_utf8"),
    ],
)
def test_a_bad_row_of_annifs_vocabulary_is_named(tmp_path, name, content, what):
    with pytest.raises(CorpusError, match=what):
        read_labels(Store(), write(tmp_path / name, content), "annif-vocabulary")


def test_a_corpus_holds_no_labels(tmp_path):
    uri = write(tmp_path / "d.tsv", "A text\t<http://e/1>\n")
    with pytest.raises(CorpusError, match=r"source\.label_format"):
        read_labels(Store(), uri, "annif-tsv")


def test_a_bundle_reads_newer_labels_in_the_language_of_its_own():
    kept = {"settings": {"source": {"documents": "d", "language": "fi"}}}
    assert text_settings(kept, SourceSettings()).language == "fi"
    assert text_settings(kept, SourceSettings(language="fr")).language == "fr"
    assert text_settings({"settings": {"source": {"documents": "d"}}}, SourceSettings()).language == "en"
