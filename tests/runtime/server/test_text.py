"""Where sentences end, and where they don't."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxraga_runtime.server.text import LONGEST, complete_sentences, finished, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello world. How are you? Fine!", ["Hello world.", "How are you?", "Fine!"]),
        ("Dr. Smith paid $3.14 to J. S. Bach. He left.", ["Dr. Smith paid $3.14 to J. S. Bach.", "He left."]),
        ("Well... maybe. Wait… no. Now.", ["Well... maybe.", "Wait… no.", "Now."]),
        ("I came at 5 p.m. yesterday. At 6 a.m. I left.", ["I came at 5 p.m. yesterday.", "At 6 a.m.", "I left."]),
        ("See e.g. the U.S. army.", ["See e.g. the U.S. army."]),
        ('"Really?" she asked. "Yes!" he said.', ['"Really?" she asked.', '"Yes!" he said.']),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("No. 5 is alive. No. I won't.", ["No. 5 is alive.", "No.", "I won't."]),
        ("1. Open the door. 2. Close it.", ["1. Open the door.", "2. Close it."]),
        ("Version 2. Then 3.", ["Version 2.", "Then 3."]),
        ("So do I. Then we go.", ["So do I.", "Then we go."]),
        ("Visit example.com today.", ["Visit example.com today."]),
        ("One\n\nTwo\n- three\n- four", ["One", "Two", "- three", "- four"]),
        ("a line\nthat goes on", ["a line that goes on"]),
        ("今日は。元気ですか？はい！", ["今日は。", "元気ですか？", "はい！"]),
        ("「行こう。」と言った。", ["「行こう。」", "と言った。"]),
        ("z.B. das Haus. Usw.", ["z.B. das Haus.", "Usw."]),
        ("zero\u200bwidth soft\u00adhyphen", ["zerowidth softhyphen"]),
        ("... !!! 🙂 ???", []),
        ("", []),
        ("What?! No way!!! Ok", ["What?!", "No way!!!", "Ok"]),
    ],
)
def test_split(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize("text", ["word, " * 100, "word " * 200, "a" * 1000, "長い文、" * 200, "x; y: z, " * 90])
def test_long_sentences_are_cut_and_nothing_is_lost(text: str) -> None:
    pieces = split_sentences(text)
    assert all(len(p) <= LONGEST for p in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert len(pieces) <= len(text) / LONGEST * 2 + 1


def test_long_sentences_are_cut_at_clauses_first() -> None:
    text = "the first clause that is long enough, " * 5 + "the last one" + " and more" * 20
    assert split_sentences(text)[0].endswith(",")


@given(st.text(max_size=600))
def test_any_text_keeps_its_letters(text: str) -> None:
    pieces = split_sentences(text, longest=50)
    assert all(0 < len(p) <= 50 for p in pieces)


@pytest.mark.parametrize(("given", "wanted"), [("Hi", "Hi."), ("Hi!", "Hi!"), ("東京", "東京"), ("5", "5.")])
def test_unfinished_sentences_get_a_mark(given: str, wanted: str) -> None:
    assert finished(given) == wanted


@pytest.mark.parametrize(
    ("written", "over", "rest"),
    [
        ("", [], ""),
        ("Hello", [], "Hello"),
        ("Hello.", [], "Hello."),
        ("Hello. ", [], "Hello. "),  # the next word may show that it goes on
        ("Hello. Y", ["Hello."], " Y"),
        ("It costs 3. ", [], "It costs 3. "),
        ("It costs 3.1", [], "It costs 3.1"),
        ("Dr. ", [], "Dr. "),
        ("Dr. W", [], "Dr. W"),
        ("One. Two! Three? F", ["One.", "Two!", "Three?"], " F"),
        ("今日は。", ["今日は。"], ""),
        ("今日は。明日", ["今日は。"], "明日"),
        ("\n\n", [], "\n\n"),
        ("... x", [], "... x"),
    ],
)
def test_what_is_over_while_it_is_written(written: str, over: list[str], rest: str) -> None:
    assert complete_sentences(written) == (over, rest)


@pytest.mark.parametrize("step", [1, 3, 7])
def test_written_bit_by_bit_or_at_once_is_the_same(step: int) -> None:
    text = 'Dr. Who paid $3.50 for it. "Was it worth it?" he asked. Mr. J. S. Bach said: no! No. 5 is better. End'
    found, rest = [], ""
    for start in range(0, len(text), step):
        sentences, rest = complete_sentences(rest + text[start : start + step])
        found += sentences
    assert found + split_sentences(rest) == split_sentences(text)


def test_text_without_any_mark_is_spoken_all_the_same() -> None:
    over, rest = complete_sentences("word " * 100, longest=50)
    assert all(len(piece) <= 50 for piece in over)
    assert len(over) == 9
    assert " ".join([*over, rest]).split() == ["word"] * 100
    assert rest.endswith(" ")
