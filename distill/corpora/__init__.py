"""The label files of published corpora, read as they are handed out, as rows of a manifest.

Every row has `file` and whatever its corpus says: `arousal`, `dominance`, `valence` (0..1), `category`, `speaker`,
`sex` (female, male), `transcript`, `split` (as the corpus calls its parts). So labelling with `--teacher ratings`,
training a teacher and evaluation take a corpus where they take a CSV.
"""

from distill.corpora.recognising import Corpus, recognised

__all__ = ["Corpus", "recognised"]
