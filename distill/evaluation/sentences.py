"""Sentences of known sentiment, alike in everything but one word: to see how far a model follows the words alone.

Templates filled with words of a known sentiment, as CheckList makes its tests: Ribeiro et al. (2020), "Beyond accuracy:
behavioral testing of NLP models with CheckList" (section 2.3). Templates and words are written for this project. The
three words of an item have as many syllables as one another, stressed on the same one, so that a synthesiser gives the
three sentences one rhythm and one melody.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

#: In this order everywhere.
SENTIMENTS = ("negative", "neutral", "positive")

#: Words in the order of `SENTIMENTS`.
ADJECTIVES = (
    ("awful", "local", "lovely"),
    ("nasty", "weekly", "charming"),
    ("dreadful", "public", "pleasant"),
    ("horrible", "regular", "wonderful"),
    ("terrible", "annual", "beautiful"),
    ("pathetic", "commercial", "fantastic"),
    ("disgusting", "external", "delightful"),
    ("depressing", "recorded", "amazing"),
)
VERBS = (
    ("feared", "heard", "loved"),
    ("hated", "noted", "treasured"),
    ("despised", "observed", "enjoyed"),
    ("detested", "recorded", "commended"),
    ("resented", "expected", "respected"),
)

#: What stands around them says nothing of a mood itself.
AROUND_ADJECTIVES = (
    "We went to the {} concert.",
    "They talked about the {} service.",
    "She wrote to us after the {} dinner.",
    "I still think of that {} lesson.",
    "This was the {} journey of last year.",
)
AROUND_VERBS = (
    "Everyone {} the speech.",
    "My sister {} the visit.",
    "The guests {} his answer.",
    "In the end we {} the game.",
)


@dataclass(frozen=True)
class Sentence:
    """text: what is said. item: the number of its template and words; three sentences, one of each sentiment, have
    it in common."""

    text: str
    item: int
    sentiment: str


def sentences() -> list[Sentence]:
    """All of them, item by item in the order of `SENTIMENTS`.

    >>> [(one.text, one.sentiment) for one in sentences()[:3:2]]
    [('We went to the awful concert.', 'negative'), ('We went to the lovely concert.', 'positive')]
    >>> len(sentences())
    180
    """
    items = [*product(AROUND_ADJECTIVES, ADJECTIVES), *product(AROUND_VERBS, VERBS)]
    return [
        Sentence(template.format(word), item, sentiment)
        for item, (template, words) in enumerate(items)
        for sentiment, word in zip(SENTIMENTS, words, strict=True)
    ]
