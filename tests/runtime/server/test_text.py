"""Where sentences end, and where they don't."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from voxraga_runtime.server.text import LONGEST, clean, complete_sentences, finished, split_sentences


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
        ("The U.S. Army left the U.S. He stayed.", ["The U.S. Army left the U.S.", "He stayed."]),
        ("J.R.R. Tolkien has a Ph.D. He is proud.", ["J.R.R. Tolkien has a Ph.D.", "He is proud."]),
        ("Take vitamin C. It helps. Plan B. Then C.", ["Take vitamin C.", "It helps.", "Plan B.", "Then C."]),
        ("A. The first. B. The second.", ["A. The first.", "B. The second."]),
        ("Am 3. Mai kam er. Am 12. Dezember ging er.", ["Am 3. Mai kam er.", "Am 12. Dezember ging er."]),
        ("Kap. 3, Abs. 2, Nr. 7. Ende.", ["Kap. 3, Abs. 2, Nr. 7.", "Ende."]),
        ("Prof. Dr. h.c. Maier kam um 10:30. Er ging.", ["Prof. Dr. h.c. Maier kam um 10:30.", "Er ging."]),
        ("It costs 1.000,50 or 3.14. Cheap!", ["It costs 1.000,50 or 3.14.", "Cheap!"]),
        ("Prices rose 3.1. Wages did not.", ["Prices rose 3.1.", "Wages did not."]),
        ("Mail a.b@c.de or see https://x.org/a.b?c=d! Now.", ["Mail a.b@c.de or see https://x.org/a.b?c=d!", "Now."]),
        ("v2.0.1 is out at 10.0.0.1. Get it.", ["v2.0.1 is out at 10.0.0.1.", "Get it."]),
        ("„Nein.“ Er ging. »Ja.« Sie auch.", ["„Nein.“", "Er ging.", "»Ja.«", "Sie auch."]),
        ("« Non ! » dit-il. «Oui.» Il part.", ["« Non ! » dit-il.", "«Oui.»", "Il part."]),
        ("(This is it.) [See there.] Done.", ["(This is it.)", "[See there.]", "Done."]),
        ("¿Qué? ¡Hola! Sí.", ["¿Qué?", "¡Hola!", "Sí."]),
        ("Well . . . maybe. Yes.", ["Well … maybe.", "Yes."]),
        ("他说：“你好。”然后走了。", ["他说：“你好。”", "然后走了。"]),
        ("यह है।वह है॥ और?", ["यह है।", "वह है॥", "और?"]),
        ("كيف حالك؟أنا بخير. شكرا", ["كيف حالك؟", "أنا بخير.", "شكرا"]),
        ("یہ ہے۔وہ ہے۔", ["یہ ہے۔", "وہ ہے۔"]),
        ("ሰላም። እንዴት። Հայ։ Բարեւ։", ["ሰላም።", "እንዴት።", "Հայ։", "Բարեւ։"]),
        ("می\u200cروم. क्\u200dष", ["می\u200cروم.", "क्\u200dष"]),  # joiners that shape letters
        ("👍 Great! 😀 Yes.", ["👍 Great!", "😀 Yes."]),
        ("a\x00b\x07 c\ud800", ["ab c"]),
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


@pytest.mark.parametrize("mark", ["1,000", "10:30", "https://x.org/a,b;c:d", "1.000,50"])
def test_cuts_lie_beside_numbers_and_addresses(mark: str) -> None:
    pieces = split_sentences(f"word {mark} " * 60)
    assert "".join(pieces).count(mark) == 60


@pytest.mark.parametrize("grapheme", ["e\u0323\u0302\u0301", "नि", "각", "ก็"])
def test_cuts_lie_between_characters_as_they_are_seen(grapheme: str) -> None:
    pieces = split_sentences(grapheme * 100, longest=51)
    assert len(pieces) > 1
    assert all(len(p) <= 51 and set(regex.findall(r"\X", p)) == {clean(grapheme)} for p in pieces)


WRITTEN = st.text(
    st.one_of(st.characters(), st.sampled_from(" .,!?…。！？।؟:;\n\"'“”„»()\u0301\u200dabcABC123東京")), max_size=600
)


@given(WRITTEN, st.integers(10, 80))
def test_nothing_is_lost_and_nothing_doubled(text: str, longest: int) -> None:
    pieces = split_sentences(text, longest)
    assert all(0 < len(p) <= longest for p in pieces)
    assert [c for p in pieces for c in p if c.isalnum()] == [c for c in clean(text) if c.isalnum()]


@given(WRITTEN, st.integers(1, 40))
def test_nor_while_it_is_written(text: str, step: int) -> None:
    found, rest = [], ""
    for start in range(0, len(text), step):
        sentences, rest = complete_sentences(rest + text[start : start + step])
        found += sentences
    found += split_sentences(rest)
    assert [c for p in found for c in p if c.isalnum()] == [c for c in clean(text) if c.isalnum()]


def test_a_very_long_text() -> None:
    assert len(split_sentences("He said so. " * 100_000)) == 100_000


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
        ("the U.S. He", [], "the U.S. He"),  # Henry, perhaps
        ("the U.S. He w", ["the U.S."], " He w"),
        ("Am 3. M", [], "Am 3. M"),
        ("यह है।", ["यह है।"], ""),
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
    text = (
        "Dr. Who left the U.S. Henry paid $3.50 on the 3. He had a Ph.D. In May. "
        '"Was it worth it?" he asked. Mr. J. S. Bach said: no! No. 5 is better. End'
    )
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
