"""A language model as a teacher, over HTTP: words, level and pitch of a clip in, three numbers out.

After Latif et al., "Can Large Language Models Aid in Annotating Speech Emotional Data?": the words alone generalise
poorly; with mean energy, pitch, the speaker's sex, discrete audio codes and a few examples it goes best.
"""
