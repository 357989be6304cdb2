import base64
import dataclasses
import hashlib
import re

import numpy as np
import pytest

from metaobj.common.evaluation.curves import Curves, Reference
from metaobj.common.evaluation.evaluation import Choice, Evaluation
from metaobj.common.evaluation.page.document import page
from metaobj.common.evaluation.summary import summary_table
from metaobj.common.evaluation.wording import digits, with_interval
from tests.evaluation.pages import CHOICE, Parsed, evaluation, heights, plots, svgs


def test_the_document_is_sound(methods):
    text = page(evaluation(methods))
    parsed = Parsed(text)
    assert text.startswith("<!doctype html>\n") and parsed.all("html") == [{"lang": "en"}]
    assert [name for name, _ in parsed.elements if re.fullmatch("h[1-6]", name)] == ["h1"] + 7 * ["h2"]
    assert all(heading.get("scope") in ("col", "row", "colgroup", "rowgroup") for heading in parsed.all("th"))
    assert len(parsed.captions) == len(parsed.tables) and all(parsed.captions)
    for picture in parsed.all("svg"):
        assert picture.get("aria-hidden") == "true" or (picture["role"] == "img" and picture["aria-label"])
    anchors = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert [link["href"] for link in parsed.all("a")] == [f"#{anchor}" for anchor in anchors]
    assert len(set(anchors)) == len(anchors) == 7
    assert len(plots(text)) == 4 + 2
    assert page(evaluation(methods)) == text


def test_every_line_of_a_table_fills_every_column(methods):
    def span(kind: str, attributes: str) -> int:
        found = re.search(f'{kind}span="([0-9]+)"', attributes)
        return int(found[1]) if found else 1

    for table in re.findall("<table.*?</table>", page(evaluation(methods)), re.DOTALL):
        lines = re.findall("<tr.*?</tr>", table, re.DOTALL)
        widths = [0] * len(lines)
        for number, line in enumerate(lines):
            for attributes in re.findall("<t[hd]([^>]*)>", line):
                for reached in range(number, number + span("row", attributes)):
                    widths[reached] += span("col", attributes)
        assert len(set(widths)) == 1


def test_nothing_is_fetched_and_nothing_runs(methods):
    text = page(evaluation(methods))
    parsed = Parsed(text)
    for name, attributes in parsed.elements:
        assert name not in ("script", "link", "img", "iframe", "object", "embed", "base", "form")
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style", "xlink:href")]
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"https?:|url\(|@import", text)
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    policy = next(meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_names_are_never_markup(methods):
    bad = "<script>alert('1')</script>\"&amp;"
    task, plain = '"><img src=x onerror=y>', page(evaluation(methods))
    named = [dataclasses.replace(entry, tasks=[task, "b", "c", "d"], groups=[bad] * 3 + ["e"]) for entry in methods]
    named[0] = dataclasses.replace(named[0], method=bad)
    choice = Choice(bad, bad, {bad: 1.0}, {bad: bad}, [({bad: 1.0}, 0.5)], [bad])
    strange = {"sources": {task: bad}, "provenance": {bad: bad, "command": bad}, "choices": [choice]}
    text = page(evaluation(named, suite=bad, protocol=bad, **strange))
    parsed = Parsed(text)
    assert {name for name, _ in parsed.elements} <= {name for name, _ in Parsed(plain).elements} | {"wbr"}
    assert parsed.text.count(bad) > 20 and parsed.text.count(task) >= 3
    assert any(bad in (picture.get("aria-label") or "") for picture in svgs(text))


def test_tables_tell_the_numbers_of_the_rows(methods):
    made = evaluation(methods)
    parsed = Parsed(page(made))
    results = parsed.table("Interquartile mean over")
    groups = [row for row in made.rows if (row.kind, row.statistic) == ("group", "IQM")]
    ordered = sorted(groups, key=lambda row: row.group != "all")
    for row, line in zip(ordered, [line for line in results[1:] if len(line) > 1], strict=True):
        assert line[:2] == [row.method, with_interval(row.final, row.final_low, row.final_high)]
        assert line[3:5] == [with_interval(*row.interval(name)) for name in ("area", "best")]
        assert line[5] == "none"
    assert [line[0] for line in results if len(line) == 1] == [
        "all normalised · 3 tasks × 4 seeds · score",
        "held-out grids · 2 tasks × 4 seeds · score",
        "delayed chains · 1 task × 4 seeds · score",
        "CartPole · 1 task × 4 seeds · return",
    ]
    lines = [line for line in parsed.table("Interquartile mean of the method minus that of A2C")[1:] if len(line) > 1]
    compared = [row for row in made.rows if row.kind == "comparison"]
    for at, row in enumerate(sorted(compared, key=lambda row: row.group != "all")):
        numbers = with_interval(row.final, row.final_low, row.final_high, "+")
        assert lines[2 * at] == ["LPG", "final", numbers, "", "higher", f"{row.tasks} of {row.tasks}", "100 %"]
        assert lines[2 * at + 1][:2] == ["area", with_interval(row.area, row.area_low, row.area_high, "+")]


def test_single_tasks_have_returns_beside_scores(methods):
    parsed = Parsed(page(evaluation(methods)))
    for measure, part in (("Final", slice(-2, None)), ("Area", slice(None))):
        table = parsed.table(f"{measure}: mean over seeds")
        assert table[0][:3] == ["Task", "Random", "Score 1"] and table[1] == ["return", "score"] * 2
        lines = {line[0]: line[1:] for line in table[2:]}
        assert set(lines) == {*methods[0].tasks, "held-out grids", "delayed chains", "CartPole"}
        random, optimal, *cells, source = lines["dense"]
        assert (random, optimal, source) == ("1.000", "5.000", "exact, by value iteration")
        for entry, (told_return, told_score) in zip(methods, (cells[:2], cells[2:]), strict=True):
            mean = entry.returns[0, :, part].mean()
            assert told_return.split(" [")[0] == f"{mean:.3f}"
            assert told_score.split(" [")[0] == f"{(mean - 1) / 4:.3f}"
        random, optimal, lpg, no_score, _, _, source = lines["CartPole-v1"]
        assert (random, optimal, no_score, source) == ("–", "–", "–", "–")
        mean = methods[0].returns[3, :, part].mean()
        assert lpg.split(" [")[0] == digits(mean, 100)


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (0.9, "LPG does better than A2C: it ends at a score of "),
        (0.3, "LPG does worse than A2C: it ends at a score of "),
        (0.6, "LPG and A2C are not told apart: LPG ends at a score of "),
    ],
)
def test_the_finding_is_told_in_words(make_curves, level, words):
    made = evaluation([make_curves("LPG", level), make_curves("A2C", 0.6, seed=1)])
    (difference,) = (row for row in made.rows if row.kind == "comparison" and row.group == "all")
    gap = with_interval(difference.final, difference.final_low, difference.final_high, "+")
    text = Parsed(page(made)).text
    assert words in text
    assert f"a difference of {gap} (interquartile mean over all 3 tasks that have scores, 4 seeds each" in text


def test_the_finding_when_the_baseline_itself_was_evaluated(make_curves):
    made = evaluation([make_curves("A2C", 0.6), make_curves("PPO", 0.9)])
    assert "PPO does better than A2C" in page(made) and "<title>PPO against A2C on held-out</title>" in page(made)


def test_groups_without_scores_are_told_after_the_finding(methods):
    assert "By final return, where there is no score, it is higher on CartPole." in page(evaluation(methods))


def test_one_method_without_a_baseline(make_curves):
    text = Parsed(page(evaluation([make_curves("LPG")], baseline=None))).text
    assert "LPG ends at a score of" in text and "Against the baseline" not in text


def test_no_references(methods):
    bare = [dataclasses.replace(entry, reference=None) for entry in methods]
    parsed = Parsed(page(evaluation(bare, sources={})))
    assert "No group of tasks has scores" in parsed.text
    assert "On held-out grids, LPG does better than A2C: it ends at a return" in parsed.text
    assert "it is higher on delayed chains, CartPole." in parsed.text
    assert "random" not in [word.text for picture in plots(page(evaluation(bare))) for word in picture.iter("text")]


def test_one_seed_cannot_tell_a_difference_from_chance(make_curves):
    text = Parsed(page(evaluation([make_curves("LPG", seeds=1), make_curves("A2C", 0.6, seeds=1)]))).text
    assert "one seed cannot tell this from chance" in text and "does better" not in text
    assert "higher" not in [cell for table in Parsed(text).tables for line in table for cell in line]


def test_one_bin_and_one_value(make_curves):
    flat = [dataclasses.replace(make_curves("LPG", bins=1), returns=np.full((4, 4, 1), 2.0))]
    text = page(evaluation(flat, baseline=None))
    assert all(len(picture.findall("circle")) == 1 for picture in plots(text)[:4])


def test_pictures_name_what_they_show(methods):
    text = page(evaluation(methods))
    first = plots(text)[0]
    assert [word.text for word in first.iter("text") if word.get("class") == "halo"] == ["random", "score 1"]
    assert first.get("aria-label", "").startswith("Learning curves on dense. Mean return at the end: LPG ")
    strips = [title.text for title in first.iter("title")]
    assert len(strips) == 20 and strips[-1].splitlines()[0] == "20k environment steps"
    ends = methods[0].returns[0, :, -1].mean()
    assert strips[-1].splitlines()[1].startswith(f"LPG: {ends:.3f} [")
    for picture in plots(text):
        places = " ".join(part.get(name, "") for part in picture.iter() for name in ("points", "x", "y", "width", "y1"))
        assert max(map(len, re.findall(r"\.(\d+)", places))) == 1
        for line in picture.iter("polyline"):
            assert all(0 <= height <= 230 for height in heights(line))


def test_a_higher_return_is_drawn_higher(methods):
    lpg, a2c = plots(page(evaluation(methods)))[0].iter("polyline")
    assert heights(lpg)[-1] < heights(a2c)[-1] < heights(a2c)[0]


def test_what_diverged_is_told_and_does_not_squash_the_others(methods):
    returns, lost = methods[0].returns.copy(), np.zeros(methods[0].returns.shape, bool)
    lost[1, :3, 5:] = True
    returns[lost] = -1e9
    broken = dataclasses.replace(methods[0], returns=returns, diverged=lost)
    made = evaluation([broken, methods[1]])
    text = page(made)
    parsed = Parsed(text)
    assert parsed.text.count("LPG: 3 of 4 diverged") == 1
    sparse = next(line for line in parsed.table("Final: mean over seeds") if line[0] == "sparse")
    assert sparse[3].endswith("3 of 4 diverged")
    assert parsed.table("Interquartile mean over")[2][5] == "3 of 12"
    _, other = plots(text)[1].iter("polyline")
    assert max(heights(other)) - min(heights(other)) > 60


def test_long_curves_are_drawn_at_some_of_their_bins(make_curves):
    text = page(evaluation([make_curves("LPG", bins=1000)], baseline=None))
    assert "Drawn at 100 of 1000 bins." in text
    (line,) = plots(text)[0].iter("polyline")
    assert len(heights(line)) == 100


def test_settings_tell_edges_and_what_was_tried(methods):
    parsed = Parsed(page(evaluation(methods)))
    chosen = parsed.table("Marked values")[1]
    values = "learning_rate 0.004 highest triedentropy_weight 0.01"
    assert chosen == ["LPG", "dense 64-64", values, "3", "grid/any_small, grid/survive"]
    little = dataclasses.replace(CHOICE, little=True)
    *_, where = Parsed(page(evaluation(methods, choices=[little]))).table("Marked values")[1]
    assert where == "grid/any_small, grid/survive little was learnt there by any"
    tried = parsed.table("LPG, dense 64-64")
    assert tried[0] == ["learning_rate", "entropy_weight", "score", ""]
    assert tried[1:] == [
        ["0.004", "0.01", "1.25", "chosen"],
        ["0.002", "0.01", "0.75", ""],
        ["0.001", "0.01", "0.5", ""],
    ]


def test_what_it_was_made_with_and_the_command(methods):
    text = page(evaluation(methods))
    assert Parsed(text).table("What this was made with.") == [["version", "metaobj 1.2.3"]]
    assert "<code>metaobj evaluate x --suite held-out</code>" in text


def test_other_statistics_are_folded(methods):
    made = evaluation(methods)
    more = [row._replace(statistic="median", final=0.123) for row in made.rows if row.kind == "group"]
    parsed = Parsed(page(dataclasses.replace(made, rows=[*more, *made.rows])))
    assert parsed.table("Median over tasks and seeds")[2][1].startswith("0.123 [")
    assert parsed.table("Interquartile mean over")[2][1] != parsed.table("Median over tasks and seeds")[2][1]


def test_twelve_methods_look_different(make_curves):
    twelve = [make_curves(f"method {number}", seeds=2, bins=3, seed=number) for number in range(12)]
    text = page(evaluation(twelve, baseline="method 0"))
    assert all(Parsed(text).text.count(f"method {number}") >= 4 for number in range(12))
    looks = {(line.get("stroke"), line.get("stroke-dasharray")) for line in plots(text)[0].iter("polyline")}
    assert len(looks) == 12


@pytest.mark.slow
def test_a_large_evaluation_stays_small():
    rng = np.random.default_rng(0)
    tasks, bins = [f"family/{index}_with_a_name" for index in range(40)], 25
    many = [
        Curves(
            f"method {number}",
            tasks,
            rng.normal(100, 20, (40, 2, bins)),
            np.arange(1, bins + 1) * 4000.0,
            Reference(np.zeros(40), np.full(40, 120.0)),
            [f"group {index % 5}" for index in range(40)],
        )
        for number in range(12)
    ]
    rows = summary_table(many, "method 1", repetitions=10)
    text = page(Evaluation("suite", "", many, rows, "method 1", [], {}, {}))
    assert len(text.encode()) < 3e6
    told = Parsed(text).text
    assert all(name in told for name in [*tasks, *(entry.method for entry in many)])
