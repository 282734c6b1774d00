"""Where audio comes from: a folder, a manifest, tars here or behind an address, as a stream of segments.

What a source names (`manifest`) -> the samples of its tars (`shards`, `tars`), fetched if they lie elsewhere (`remote`)
-> the recording that a name means (`naming`). Decoding is not of this room: `distill.audio`.
"""
