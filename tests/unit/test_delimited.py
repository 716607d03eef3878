import csv
import io
from base64 import b64encode
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.corpus import read_documents
from raytagger.corpus.delimited import read_csv, read_tsv
from raytagger.corpus.labels import read_labels
from raytagger.corpus.records import iterate_quoted
from raytagger.corpus.report import CorpusReport
from raytagger.corpus.rows import Kind, Request
from raytagger.errors import CorpusError, SettingsError
from raytagger.settings import SourceSettings
from raytagger.store import Store

KINDS = {"id": Kind.ID, "text": Kind.TEXT, "labels": Kind.IDS}


def code(row, size):
    """An id without a pattern: some have no digit, some have signs."""
    return b64encode(blake2b(str(row).encode(), digest_size=size).digest()).decode()


ID_STYLES = {
    "number": str,
    "letters and number": "d{}".format,
    "with a blank": "doc {}".format,
    "hash": lambda row: blake2b(str(row).encode(), digest_size=8).hexdigest(),
    "base64": lambda row: code(row, 16),
    "word": lambda row: "".join(chr(97 + int(digit)) for digit in str(row)),
}
WORDS = ("loan", "credit", "rocket", "orbit", "Dear", "thanks", "moon", "2", "of")


def read(content, reader=read_csv, rows=2048, **request: object):
    """Documents as (id, text), and the lines of the rejects with their reasons."""
    data = content if isinstance(content, bytes) else content.encode()
    chunks = list(reader(io.BytesIO(data), Request("folder/d.csv", rows, KINDS, **request)))
    documents = [(row["id"], row["text"]) for chunk in chunks for row in chunk.table.to_pylist()]
    return documents, {bad.position: bad.reason for chunk in chunks for bad in chunk.bad}


def test_in_tsv_a_quote_is_a_character():
    lines = [f"{row}\ttext {row}" for row in range(2000)]
    lines[100], lines[900], lines[1500] = '100\t"begins', '900\t5" pipe and "more', '1500\tends"'
    documents, rejects = read("id\ttext\n" + "\n".join(lines), read_tsv)
    assert rejects == {}
    assert documents == [tuple(line.split("\t")) for line in lines]


def test_quotes_are_as_the_setting_says():
    assert read('id\ttext\n1\t"a\tb\nc"\n', read_tsv, quotes="always") == ([("1", "a\tb\nc")], {})
    assert read('id,text\n1,"a\n', read_csv, quotes="never") == ([("1", '"a')], {})
    with pytest.raises(SettingsError, match="sometimes"):
        read("id,text\n1,a\n", quotes="sometimes")


def test_in_csv_a_stray_quote_costs_its_own_line():
    lines = [f"{row},text {row}" for row in range(2000)]
    lines[100], lines[1500] = '100,"open', '1500,"open too'
    documents, rejects = read("id,text\n" + "\n".join(lines) + "\n")
    assert rejects == {102: "not_csv", 1502: "not_csv"}
    assert [int(row) for row, _ in documents] == [row for row in range(2000) if row not in (100, 1500)]


def test_rows_between_two_stray_quotes_are_counted_and_not_read_as_one_text():
    documents, rejects = read('id,text\n1,a\n2,"open\n3,b\n4,c\n5,closed"\n6,d\n')
    assert documents == [("1", "a"), ("6", "d")]
    assert rejects == dict.fromkeys(range(3, 7), "not_csv")


@pytest.mark.parametrize("inside", [0, 1, 2, 30])
@pytest.mark.parametrize("header", ["id,text", "text,id", "id,text,labels", "text,id,labels", "labels,text,id"])
def test_rows_between_two_stray_quotes_are_never_one_document(header, inside):
    names = header.split(",")
    rows = [{"id": f"doc {row}", "text": f"text {row}", "labels": "a"} for row in range(50)]
    rows[10]["text"] = f'"{rows[10]["text"]}'
    rows[11 + inside]["text"] += '"'
    if inside > 1:
        rows[12]["text"] += ", with a comma"  # one line that is no row by itself
    lines = [",".join(row[name] for name in names) for row in rows]
    documents, rejects = read("\n".join([header, *lines]))
    assert rejects == dict.fromkeys(range(12, 14 + inside), "not_csv")
    assert [doc_id for doc_id, _ in documents] == [
        f"doc {row}" for row in range(50) if not 10 <= row <= 11 + inside
    ]


@pytest.mark.parametrize("first", [0, 1, 4, 18, 40])
@pytest.mark.parametrize("size", [6, 8, 16])
@pytest.mark.parametrize("header", ["id,text", "text,id", "id,text,labels"])
def test_ids_without_a_pattern_are_known_from_the_first_row_on(header, size, first):
    """Whichever of them end the rows that two stray quotes enclose."""
    names = header.split(",")
    for start in range(0, 3000, 60):
        rows = [{"id": code(start + row, size), "text": f"text {row}", "labels": "a"} for row in range(60)]
        rows[first]["text"] = f'"{rows[first]["text"]}'
        rows[first + 5]["text"] += '"'
        documents, rejects = read("\n".join([header, *(",".join(row[name] for name in names) for row in rows)]))
        assert rejects == dict.fromkeys(range(first + 2, first + 8), "not_csv")
        assert len(documents) == 54


@pytest.mark.parametrize("style", ["base64", "hash", "number"])
def test_a_text_whose_lines_begin_with_a_word_and_a_comma_is_one_document(style):
    """Beside ids without a pattern, too, among which no word looks like one."""
    texts = [f"Dear {word}\n{word}, all is well\n{word}, and goodbye" for word in WORDS if word.isalpha()]
    rows = [(ID_STYLES[style](row), text) for row, text in enumerate(["one line"] * 30 + texts * 3)]
    file = io.StringIO()
    csv.writer(file).writerows([("id", "text"), *rows])
    assert read(file.getvalue()) == (rows, {})


def test_a_field_that_closes_before_another_rows_id_is_no_text():
    lines = [f"text {row},d{row},a" for row in range(30)]
    lines[10], lines[20] = '"text 10,d10,a', '",d20,a'
    documents, rejects = read("\n".join(["text,id,labels", *lines]))
    assert rejects == dict.fromkeys(range(12, 23), "not_csv")
    assert len(documents) == 19


def test_a_label_file_with_two_stray_quotes_is_an_error_that_names_the_line(tmp_path):
    lines = [f"big topic {row},l{row},words {row}" for row in range(30)]
    lines[3], lines[19] = '"big topic 3,l3,words 3', 'big topic 19",l19,words 19'
    (tmp_path / "labels.csv").write_text("\n".join(["title,label_id,text", *lines]))
    with pytest.raises(CorpusError, match=r"line 5 is not_csv: lines 5 to 21 stand in one quoted field"):
        read_labels(Store(), str(tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "Ingredients\nflour, and sugar\n\nmilk, and eggs",
        "one\ntwo",
        "first, second\nthird, fourth\nfifth, sixth, seventh",
        "well, yes\nBob, Alice",
    ],
)
@pytest.mark.parametrize("header", ["id,text", "text,id", "id,text,labels", "text,labels,id"])
def test_a_text_with_some_commas_and_several_lines_is_one_document(header, text):
    names, file = header.split(","), io.StringIO()
    rows = [{"id": f"d{row}", "text": f"text {row}", "labels": "a"} for row in range(20)]
    rows[0]["text"] = rows[7]["text"] = text
    csv.writer(file).writerows([names, *([row[name] for name in names] for row in rows)])
    assert read(file.getvalue()) == ([(row["id"], row["text"]) for row in rows], {})


def test_texts_over_several_lines_are_told(tmp_path):
    (tmp_path / "d.csv").write_text('id,text\n1,a\n2,"b\nc"\n3,"d, e"\n4,"f\n\ng"\n')
    report = CorpusReport()
    for chunk in read_documents(Store(), SourceSettings(documents=str(tmp_path / "d.csv")), 2):
        report.add(chunk)
    assert "texts over several lines of a CSV: 2 (2, 4)" in report.lines()


def test_a_quoted_field_of_several_lines_stays_one_document():
    text = "Dear Sir,\n\nthank you, for all\nof, it, all\nBob"
    documents, rejects = read(f'id,text\n1,"{text}"\n2,"a ""quoted"" word"\n3,5" pipe\n')
    assert documents == [("1", text), ("2", 'a "quoted" word'), ("3", '5" pipe')]
    assert rejects == {}


def test_what_follows_a_broken_record_is_not_read_as_a_document_of_its_own():
    documents, rejects = read('id,text\n1,"said "hello"\nworld\nmore, again"\n2,"a\nb"\n3,c\n')
    assert documents == [("2", "a\nb"), ("3", "c")]
    assert rejects == {2: "not_csv", 3: "wrong_width", 4: "not_csv"}


def test_a_record_of_several_lines_and_the_wrong_width_swallows_none():
    documents, rejects = read('id,text\n1,"two\nlines",extra\n2,a\n')
    assert documents == [("2", "a")]
    assert rejects == {2: "wrong_width", 3: "not_csv"}


@pytest.mark.parametrize("reader", [read_csv, read_tsv])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_way(reader, end):
    comma = "," if reader is read_csv else "\t"
    lines = [f"id{comma}text", f"1{comma}a", "", "   ", f"2{comma}b"]
    assert read(end.join(lines), reader) == ([("1", "a"), ("2", "b")], {})
    assert read(end.join([*lines, "short", ""]), reader) == ([("1", "a"), ("2", "b")], {6: "wrong_width"})


def test_a_text_of_several_lines_in_a_file_of_old_macs():
    assert read('id,text\r1,"a\nb"\r2,c\r') == ([("1", "a\nb"), ("2", "c")], {})


@pytest.mark.parametrize("reader", [read_csv, read_tsv])
def test_nul_characters_are_rejected(reader):
    comma = b"," if reader is read_csv else b"\t"
    content = b"id,text\n1,a\0b\n2,c\n\0\0\0\0\n".replace(b",", comma)
    assert read(content, reader) == ([("2", "c")], {2: "not_csv", 4: "not_csv"})


@pytest.mark.parametrize("mark", ["sep=;", '"sep=;"', "\ufeffsep=;"])
def test_the_first_line_of_excel_names_the_separator(mark):
    assert read(f"{mark}\r\nid;text\r\n1;a,b\r\nbad\r\n") == ([("1", "a,b")], {4: "wrong_width"})


def test_a_header_without_the_separator_tells_another():
    assert read("id;text\n1;a,b\n") == ([("1", "a,b")], {})
    assert read("id\ttext\n1\ta\n") == ([("1", "a")], {})
    assert read("id,text\n1,a\n", read_tsv) == ([("1", "a")], {})


def test_utf16_is_named_with_the_remedy():
    with pytest.raises(CorpusError, match=r"UTF-16.*iconv"):
        read("id\ttext\n1\ta\n".encode("utf-16"), read_tsv)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("['a', 'b']", ["a", "b"]),
        ("['a' 'b']", ["a", "b"]),
        ("['it\\'s'\n \"x, y\"]", ["it's", "x, y"]),
        ("[1 2]", ["1", "2"]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("[]", []),
        ("a; b;", ["a", "b"]),
    ],
)
def test_lists_that_pandas_and_numpy_wrote_are_lists(cell, labels):
    file = io.StringIO()
    csv.writer(file).writerows([["id", "text", "labels"], ["1", "a", cell]])
    (chunk,) = read_csv(io.BytesIO(file.getvalue().encode()), Request("d.csv", 9, KINDS))
    assert chunk.table["labels"].to_pylist() == [labels]


@pytest.mark.parametrize("cell", ["[a, b]", "['a' b]", "['a', ...]", "[__import__('os')]", "['a'"])
def test_what_begins_as_a_list_and_is_none_is_rejected(cell):
    file = io.StringIO()
    csv.writer(file).writerows([["id", "text", "labels"], ["1", "a", cell]])
    assert read(file.getvalue()) == ([], {2: "wrong_type"})


FIELD = st.text(st.sampled_from('ab" \r,;\té'), max_size=6)


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=15))
def test_every_line_of_a_tsv_is_a_document_or_a_reject(lines):
    content = b"\n".join([b"id\ttext", *lines])
    documents, rejects = read(content, read_tsv)
    blank = sum(not line.decode("utf-8", "surrogateescape").strip() for line in lines)
    assert len(documents) + len(rejects) == len(lines) - blank


@settings(max_examples=400, deadline=None)
@given(lines=st.lists(st.text(st.sampled_from('ab",é'), min_size=1, max_size=8), max_size=12))
def test_every_line_of_a_csv_is_part_of_a_document_or_a_reject(lines):
    documents, rejects = read("\n".join(["id,text", *lines]))
    breaks = sum(cell.count("\n") for row in documents for cell in row)
    assert len(documents) + breaks + len(rejects) == len(lines)


@settings(max_examples=200, deadline=None)
@given(
    content=st.lists(
        st.sampled_from([b"id", b"text", b",", b"\n", b"\r", b'"', b"\0", b"\xff", b"sep=", b"\t", b"a"])
    ),
    reader=st.sampled_from([read_csv, read_tsv]),
    rows=st.integers(1, 3),
)
def test_any_bytes_are_read_the_same_in_any_chunks(content, reader, rows):
    data = (b"id,text\n" if reader is read_csv else b"id\ttext\n") + b"".join(content)
    assert read(data, reader, rows=rows) == read(data, reader)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(FIELD, st.text(max_size=9)), max_size=8), chunk=st.integers(1, 4))
def test_what_csv_writes_is_read_back(rows, chunk):
    rows = [
        (f"{row}{name}".replace("\r", "").replace("\t", ""), text.replace("\0", ""))
        for row, (name, text) in enumerate(rows)
    ]
    file = io.StringIO()
    csv.writer(file).writerows([["id", "text"], *rows])
    documents, rejects = read(file.getvalue(), rows=chunk)
    assert (documents, rejects) == (rows, {})


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(data=st.data(), style=st.sampled_from(sorted(ID_STYLES)))
def test_two_stray_quotes_anywhere_are_rejects(data, style):
    names = data.draw(st.permutations(["id", "text", "labels"]))[: data.draw(st.integers(2, 3))]
    names = names if "id" in names and "text" in names else ["id", "text"]
    texts = data.draw(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), min_size=4, max_size=30))
    # Enough rows before, so that it shows what an id looks like.
    rows = [
        {"id": ID_STYLES[style](row), "text": " ".join(words), "labels": "a;b"}
        for row, words in enumerate([["loan"]] * 30 + texts)
    ]
    first = data.draw(st.integers(30, len(rows) - 2))
    last = data.draw(st.integers(first + 1, len(rows) - 1))
    lines = [[row[name] for name in names] for row in rows]
    at = data.draw(st.integers(0, len(names) - 1))
    lines[first][at], lines[last][at] = f'"{lines[first][at]}', f'{lines[last][at]}"'
    documents, rejects = read("\n".join(map(",".join, [names, *lines])))
    assert rejects == dict.fromkeys(range(first + 2, last + 3), "not_csv")
    assert documents == [(row["id"], row["text"]) for place, row in enumerate(rows) if not first <= place <= last]


PARAGRAPH = st.lists(st.sampled_from(("loan", "rocket", "thanks,", "moon", "Dear", "of")), max_size=6).map(" ".join)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.lists(PARAGRAPH, min_size=1, max_size=6).map("\n".join), max_size=6), data=st.data())
def test_texts_of_several_lines_with_commas_are_read_back(texts, data):
    names = data.draw(st.permutations(["id", "text", "labels"]))
    rows = [{"id": f"d{row}", "text": text or "none", "labels": "a;b"} for row, text in enumerate(texts)]
    file = io.StringIO()
    csv.writer(file).writerows([names, *([row[name] for name in names] for row in rows)])
    assert read(file.getvalue()) == ([(row["id"], row["text"]) for row in rows], {})


def test_reading_again_is_bounded(monkeypatch):
    """Each line opens a field that the next ones never close: without a bound the time is quadratic."""
    monkeypatch.setattr("raytagger.corpus.records.READ_AGAIN", 1000)
    lines = ["a,b\n", *['c","d\n'] * 500]
    records = list(iterate_quoted(iter(lines), ",", 1))
    assert [record.line for record in records] == list(range(1, 502))
    assert all(record.reason for record in records[1:])
