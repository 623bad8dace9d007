"""The batches on offer: the tutorial's two, and three that show what padding does.

Texts only: their lengths depend on the tokenizer and are known once they are tokenized.
"""

from itertools import cycle, islice

from engine.errors import Refusal
from engine.records import Batch

DEFAULT_PRESET = "tutorial-big"

_SMALL = ("Hello world", "How are you!")

# The opening of War and Peace, as the tutorial quotes it.
_WAR_AND_PEACE = """`Well, Prince, so Genoa and Lucca are now just family estates of the
Buonapartes. But I warn you, if you don't tell me that this means war,
if you still try to defend the infamies and horrors perpetrated by
that Antichrist- I really believe he is Antichrist- I will have
nothing more to do with you and you are no longer my friend, no longer
my 'faithful slave,' as you call yourself! But how do you do? I see
I have frightened you- sit down and tell me all the news.`

It was in July, 1805, and the speaker was the well-known Anna
Pavlovna Scherer, maid of honor and favorite of the Empress Marya
Fedorovna. With these words she greeted Prince Vasili Kuragin, a man
of high rank and importance, who was the first to arrive at her
reception. Anna Pavlovna had had a cough for some days. She was, as
she said, suffering from la grippe; grippe being then a new word in
St. Petersburg, used only by the elite."""

_SENTENCES = (
    "The ferry left the harbour at seven, and the gulls followed it out past the last buoy.",
    "Nobody had thought to ask the gardener, who knew where the old well had been.",
    "A small change in the recipe made the bread rise twice as high.",
    "The museum opens late on Thursdays and keeps its cellar closed in winter.",
    "She tuned the radio slowly until the voice stood clear above the noise.",
    "Two engineers measured the bridge at dawn, before the sun could warm the steel.",
    "The train was on time, but the platform had moved.",
    "Every map of the valley shows a village that was never built.",
    "He wrote the address on his hand and then washed the dishes.",
    "The orchestra rehearsed the quiet passage until it could be heard in the last row.",
    "Rain filled the footprints before anyone thought of following them.",
    "The clerk stamped the form three times and smiled for the first time that day.",
)


def _sentences(count: int, start: int) -> str:
    return " ".join(islice(cycle(_SENTENCES), start, start + count))


def _dense() -> tuple[str, ...]:
    # The same sentences in four orders after the same opening: equally long for every tokenizer, so no padding.
    opening, rest = _SENTENCES[0], _SENTENCES[1:8]
    return tuple(" ".join((opening, *rest[turn:], *rest[:turn])) for turn in range(4))


def _mixed() -> tuple[str, ...]:
    return tuple(_sentences(count, start) for start, count in enumerate((1, 2, 3, 4, 6, 8, 10, 14)))


def _skewed() -> tuple[str, ...]:
    # Most texts are short and a few are long, as in search queries beside documents.
    counts = [1] * 44 + [2] * 10 + [4] * 6 + [12] * 2 + [24] * 2
    return tuple(_sentences(count, start) for start, count in enumerate(counts))


PRESETS: dict[str, Batch] = {
    batch.name: batch
    for batch in (
        Batch(name="tutorial-small", texts=_SMALL),
        Batch(name="tutorial-big", texts=(*_SMALL, _WAR_AND_PEACE)),
        Batch(name="dense", texts=_dense()),
        Batch(name="mixed", texts=_mixed()),
        Batch(name="skewed-64", texts=_skewed()),
    )
}

PRESET_NOTES: dict[str, str] = {
    "tutorial-small": "The tutorial's small batch: two short texts, little padding.",
    "tutorial-big": "The tutorial's big batch: two short texts padded to the length of a long one.",
    "dense": "Four texts of equal length: no padding at all, so sparsity has nothing to skip.",
    "mixed": "Eight texts from one sentence to fourteen.",
    "skewed-64": "Sixty-four texts, most of them short and two of them very long: the worst case of padding.",
}


def find_preset(name: str) -> Batch:
    """The preset of this name.

    Raises:
        Refusal: no such preset.
    """
    if name not in PRESETS:
        raise Refusal(
            f"There is no batch {name!r}. Choose one of {', '.join(PRESETS)}, or give your own texts."
        )
    return PRESETS[name]
