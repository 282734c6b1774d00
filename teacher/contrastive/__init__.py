"""Multi-view contrastive pre-training: several views of a clip, an encoder each, taught without labels to agree.

After Khaertdinov et al., on multi-view contrastive learning for speech emotion recognition: what a backbone makes of
the sound, its log-mel spectrum and its functionals (`encoders`, `functionals`) are brought together pair by pair
(`contrast`, `pretraining`), and the encoders are then a backbone that `distill train-teacher` tunes (`backbone`,
`folder`); `few_labels` measures what that brings where labels are few.
"""
