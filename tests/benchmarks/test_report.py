"""The pages: well formed, closed to the network, and without a number of their own."""

import copy
import html
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from benchmarks import tables, units
from benchmarks.report import markdown, render, sections, where
from distill.files import read_json, write_json
from tests.benchmarks import made

VOID = {"meta", "br", "img", "hr", "link", "input"}
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?(?: [kMGT]?B\b| [kMGT]\b)?")


class Page(HTMLParser):
    """Checks that elements close in order; keeps attributes, table cells and ids."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.cells, self.ids, self.tags = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, key, value) for key, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells[-1] += data


def leaves(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


def readings(record):
    """Every way in which a number of the JSON may be written, and every text that it holds."""
    found = set()
    for leaf in leaves(record):
        if isinstance(leaf, str):
            found.update(NUMBER.findall(leaf))
        elif not isinstance(leaf, bool) and leaf is not None:
            ways = (units.significant, units.whole, units.size, units.count, units.hundredths)
            found.update(way(leaf) for way in ways)
    found.update(record["models"][0]["latency_ms"])
    return found


def coordinates(page):
    geometry = {"x", "y", "x1", "x2", "y1", "y2", "width", "height", "d", "transform", "viewbox"}
    return [value for _, key, value in page.attributes if key in geometry]


def test_the_page_is_well_formed(record):
    page = Page(render(record))
    assert page.tags.count("svg") == 6
    assert len(page.ids) == len(set(page.ids))


def test_nothing_is_fetched_and_nothing_runs(record):
    text = render(record)
    page = Page(text)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not [key for _, key, _ in page.attributes if key in ("src", "href") or key.startswith("on")]


def test_every_picture_is_announced_and_has_its_table(record):
    page = Page(render(record))
    labelled = [value.split() for tag, key, value in page.attributes if tag == "svg" and key == "aria-labelledby"]
    assert len(labelled) == page.tags.count("svg")
    assert {name for names in labelled for name in names} == set(page.ids)
    assert page.tags.count("table") == len(sections(record))


def test_coordinates_are_finite_and_inside(record):
    for value in coordinates(Page(render(record))):
        assert not re.search(r"nan|inf|None|e[+-]?\d", value, re.IGNORECASE), value
        assert all(-700 < float(number) < 2000 for number in re.findall(r"-?\d+(?:\.\d+)?", value)), value


def test_every_number_in_the_tables_is_in_the_json(record):
    known = readings(record)
    cells = [cell for section in sections(record) for row in section.table.rows for cell in row[1:]]
    unknown = [(cell, found) for cell in cells for found in NUMBER.findall(cell) if found not in known]
    assert unknown == []
    assert sum(bool(NUMBER.search(cell)) for cell in cells) > 40


def test_the_page_shows_the_cells_of_the_tables(record):
    cells = [cell for section in sections(record) for row in section.table.rows for cell in row[1:]]
    assert Page(render(record)).cells == cells


def test_figures_are_called_host_figures_with_their_conditions(record):
    for text in (render(record), markdown(record)):
        assert "Host figures, one thread" in text
        assert "4 rounds, models interleaved" in text
        assert "not figures of an edge device" in text
        assert "onnxruntime" in text


def test_text_of_the_models_is_escaped(record):
    record["models"][0].update(name='<script>alert("x")</script>|&', licence="a|b\n<i>", path="x/<u>.onnx")
    text = render(record)
    assert "<script" not in text and "<u>" not in text and "<i>" not in text
    Page(text)
    rows = [line for line in markdown(record).splitlines() if line.startswith("|")]
    assert any(r"a\|b \<i\>" in row for row in rows)
    assert not any("<script" in re.sub(r"\\<", "", row) for row in rows)


def test_markdown_tables_have_even_rows(record):
    blocks = re.findall(r"(?:^\|.*\n)+", markdown(record), re.MULTILINE)
    assert len(blocks) == len(sections(record))
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_without_truth_there_is_no_agreement(record):
    for model in record["models"]:
        model.update(ccc=None, n_truth=0)
    assert "CCC" not in render(record)
    assert "Agreement" not in markdown(record)
    assert Page(render(record)).tags.count("svg") == 5


def test_an_axis_or_an_interval_may_be_lacking(record):
    first, second = record["models"]
    del first["ccc"]["dominance"]
    first["ccc"]["arousal"] = {"value": None, "low": None, "high": None}
    second["ccc"]["valence"].update(low=None, high=None)
    assert tables.agreement(record).rows[0][1:3] == (units.NOTHING, units.NOTHING)
    assert tables.agreement(record).rows[1][3] == "0.58"
    assert not re.search(r"nan|none", " ".join(coordinates(Page(render(record)))), re.IGNORECASE)


def test_one_model(record):
    del record["models"][1]
    assert Page(render(record)).tags.count("svg") == 5, "no comparison by size"
    assert "<h1>tiny</h1>" in render(record)


def test_two_models_of_one_name(record):
    first, second = record["models"]
    second["name"] = first["name"]
    assert tables.labels(record["models"]) == ["tiny float32", "tiny int8"]
    second["precision"] = first["precision"]
    assert tables.labels(record["models"]) == ["tiny float32 (small.onnx)", "tiny float32 (large.onnx)"]
    second["path"] = first["path"]
    assert len(set(tables.labels(record["models"]))) == 2
    Page(render(record))


def test_a_length_that_a_model_does_not_take(record):
    record["models"][0]["latency_ms"]["0.5"] = None
    record["models"][0]["ratio_to_first"]["0.5"] = None
    assert tables.by_length(record).rows[0] == ("tiny", "0.5", *[units.NOTHING] * 6)
    Page(render(record))


def test_no_length_was_timed_at_all(record):
    for model in record["models"]:
        model["latency_ms"] = dict.fromkeys(model["latency_ms"])
        model["ratio_to_first"] = dict.fromkeys(model["ratio_to_first"])
    assert Page(render(record)).tags.count("svg") == 4


@pytest.mark.parametrize("factor", [0.0, 1e-6, 1e6])
def test_models_of_very_different_size(record, factor):
    for key in ("parameters", "macs_per_second", "trainable"):
        record["models"][1][key] *= factor
    for timed in record["models"][1]["latency_ms"].values():
        timed.update({key: timed[key] * factor for key in ("median", "p10", "p90")})
    for value in coordinates(Page(render(record))):
        assert not re.search(r"nan|inf", value, re.IGNORECASE), value


def test_many_models(record):
    many = [{**copy.deepcopy(record["models"][0]), "path": f"{place}/a_rather_long_name.onnx"} for place in range(12)]
    record["models"] = many
    assert len(set(tables.labels(many))) == 12
    Page(render(record))


def test_the_room_needs_no_torch_and_no_onnx():
    code = "import sys, benchmarks.benchmark; print({'torch', 'onnx', 'matplotlib', 'pandas'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("count", "title"), [(1, "a"), (2, "a, b"), (3, "a, b, c"), (4, "a and 3 more"), (7, "a and 6 more")]
)
def test_the_title_names_few_models_and_counts_many(count, title):
    known = made.record(*(made.model(name=name) for name in "abcdefg"[:count]))
    assert f"<h1>{title}</h1>" in render(known) and f"<title>{title}</title>" in render(known)
    assert markdown(known).splitlines()[0] == f"# distill benchmark: {title}"


def test_the_head_says_what_the_figures_were_taken_on():
    said = where(made.record(threads=4, cpu="a fast chip"))
    assert said.startswith("Host figures, 4 threads: a fast chip, onnxruntime 1.20.0, Linux 6 x86_64, 2026-01-02")
    assert f"onnxruntime {units.NOTHING}, " in where(made.record(onnxruntime=None))


def test_sections_stand_in_their_order_on_both_pages():
    known = made.record(made.model(ccc=made.rated(0.5, 0.4, 0.6)), made.other(ccc=made.rated(0.6, 0.5, 0.7)))
    titles = ["At a glance", "Agreement", "Latency by file size", "Latency by clip length", "Peak resident memory",
              "Parameters", "Computation", "Licences and files", "Conditions"]  # fmt: skip
    assert re.findall(r"<h2>(.*)</h2>", render(known)) == titles
    assert re.findall(r"^## (.*)$", markdown(known), re.MULTILINE) == titles


def test_a_section_without_a_picture_has_no_empty_frame():
    known = made.record(made.model(), made.other())
    assert render(known).count("<figure>") == sum(section.picture is not None for section in sections(known)) == 5
    assert "None" not in re.sub(r"<style>.*</style>", "", render(known), flags=re.DOTALL)


def test_the_notes_say_how_it_was_measured():
    known = made.record()
    known["settings"].update(rounds=1200, memory_seconds=8.0, seconds=[1, 2])
    known["models"][0]["latency_ms"]["2"] = made.timed(2.0)
    known["models"][0]["ratio_to_first"]["2"] = 1.0
    notes = {section.title: section.note for section in sections(known)}
    assert "Medians of 1,200 interleaved rounds" in notes["Latency by clip length"]
    assert "answering 8 s of audio" in notes["Peak resident memory"]
    assert "the median for a clip of 2 s" in notes["At a glance"]


@pytest.mark.parametrize("licence", ["CC-BY-NC-SA-4.0", "MSP-Podcast academic licence (restricted)", "<unknown> & co"])
def test_licences_stand_on_both_pages_as_they_were_given(licence):
    known = made.record(made.model(licence=licence), made.other(data_licence=licence))
    assert html.escape(licence) in render(known)
    assert render(known).count(html.escape(licence)) == 2
    rows = [line for line in markdown(known).splitlines() if line.startswith("|")]
    assert sum(tables.plain_markdown(licence) in row for row in rows) == 2


def test_text_is_to_the_left_and_numbers_are_to_the_right():
    page = render(made.record())
    kinds = re.findall(r'<table class="(\w+)"><caption>(.*)</caption>', page)
    assert {title for kind, title in kinds if kind == "text"} == {"Licences and files", "Conditions"}
    assert page.count('<th scope="row">w2s</th>') == len(kinds) - 1 + 1, (
        "a row a model, two by length, none of conditions"
    )


def test_pages_are_the_same_again_from_the_file_alone(record, tmp_path):
    """Whoever has benchmark.json can draw the pages anew."""
    write_json(tmp_path / "benchmark.json", record)
    again = read_json(tmp_path / "benchmark.json")
    assert render(again) == render(record) and markdown(again) == markdown(record)


def test_devices_say_what_their_figures_are_and_are_not(record):
    first = record["models"][0]
    native = made.native(latency_ms=first["latency_ms"], ratio_to_first=first["ratio_to_first"])
    record["devices"] = {"cortex-m4": made.device(), "host": native}
    record["profile"] = {"title": "a thing", "core": "cortex-m4", "clock_hz": 64e6, "flash_bytes": 512_000,
                         "ram_bytes": 64_000, "source": "a brief", "verdict": "fits"}  # fmt: skip
    for text in (render(record), markdown(record)):
        assert "they are not cycles, nor time, nor power" in text
        for title in ("Does it fit?", "Emulated cores", "Where the instructions go", "In C on this host"):
            assert title in text
    test_every_number_in_the_tables_is_in_the_json(record)


def test_without_devices_there_is_no_word_of_them(record):
    assert "Emulated" not in render(record) and "Does it fit" not in markdown(record)
