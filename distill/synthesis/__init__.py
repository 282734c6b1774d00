"""Speech-like audio out of nothing but arithmetic: voices, moods and a small corpus, for the demo and the tests.

Nobody is recorded and nothing is said: vowels, consonants and pauses in the rhythm and melody of speech. A glottal
pulse train and noise (the source) pass the resonances of a vocal tract (the filter), as in Klatt (1980), "Software for
a cascade/parallel formant synthesizer", JASA 67. The two dials of `manner` belong to this synthesiser: they move pitch,
rate, loudness and timbre, and are no one's rating of an emotion.

Voice and manner (`voices`) -> what is said when (`tracks`) -> source and filter (`sound`) -> a clip (`speech`) -> many
clips and their manifest (`corpus`).
"""

from distill.synthesis.corpus import COLUMNS, LICENCE, VERSION, write_corpus
from distill.synthesis.speech import HIGHEST_PEAK, speak
from distill.synthesis.tracks import VOWELS
from distill.synthesis.voices import Manner, Sex, Voice, manner, voice

__all__ = [
    "COLUMNS",
    "HIGHEST_PEAK",
    "LICENCE",
    "VERSION",
    "VOWELS",
    "Manner",
    "Sex",
    "Voice",
    "manner",
    "speak",
    "voice",
    "write_corpus",
]
