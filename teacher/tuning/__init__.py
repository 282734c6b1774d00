"""Fine-tuning of speech encoders into teachers: from a backbone, by one of several methods, to a folder for `label`.

Opened strictly and frozen (`backbone`), cut into blocks that take adapters (`blocks`, `methods`), its layers merged,
pooled and answered from (`merging`, `pooling`, `network`), as one `Design` says (`design`).
"""
