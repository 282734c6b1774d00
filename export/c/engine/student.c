/* The student's engine: see student.h. */
#include "student.h"

#include <math.h> /* NAN alone */

#include "level.h"

#include "layers.h"

#include "head.h"

struct student_state {
    struct layers layers;
    struct pooling pooling;
#if STUDENT_GLANCES
    struct pooling glanced;
#endif
#if STUDENT_CAUSAL
    struct running level;
#else
    struct sums sums;
    int32_t mean, level; /* of the clip, once it is known */
    uint8_t level_known;
#endif
    uint8_t ended;
    uint16_t held;   /* samples */
    uint16_t frames; /* whole ones among them, a hop apart, and the mean and the level that each is heard at */
    int32_t means[STUDENT_FRAMES], levels[STUDENT_FRAMES];
    int16_t samples[STUDENT_SAMPLES];
    union scratch scratch;
#if STUDENT_BUFFERED
    int32_t buffered; /* frames */
    int16_t buffer[STUDENT_MAX_FRAMES][STUDENT_BANDS];
#endif
};

typedef char student_memory_is_enough[sizeof(struct student_state) <= STUDENT_MEMORY_BYTES ? 1 : -1];

size_t student_memory_bytes(void) { return STUDENT_MEMORY_BYTES; }

void student_init(student *s, void *memory)
{
    struct student_state *state = (struct student_state *)memory;
    s->state = state;
    layers_init(&state->layers);
    pooling_init(&state->pooling);
#if STUDENT_CAUSAL
    level_init(&state->level);
#else
    memset(&state->sums, 0, sizeof state->sums);
    state->level_known = 0;
#endif
    state->ended = 0;
    state->held = state->frames = 0;
#if STUDENT_BUFFERED
    state->buffered = 0;
#endif
}

static void hear_levels(struct student_state *state, const int32_t *bands, int32_t level)
{
    uint8_t *row = next_row(&state->layers);
    for (unsigned band = 0; band < STUDENT_BANDS; band++) row[band] = mel_level(bands[band], level);
    row_given(&state->layers, &state->pooling, &state->scratch);
}

#if STUDENT_TWO_PASSES
int student_level_push(student *s, const int16_t *pcm, size_t n)
{
    if (s->state->level_known) return STUDENT_ENDED;
    add_samples(&s->state->sums, pcm, n);
    return STUDENT_OK;
}
#endif

#if !STUDENT_CAUSAL
static void know_level(struct student_state *state)
{
    if (state->level_known) return;
    state->mean = (int32_t)((mean_q16(&state->sums) + 2) >> 2);
    state->level = level_of(&state->sums);
    state->level_known = 1;
}
#endif

/* Hear the frames that stand in samples; what the next one shares with them stays. */
static void hear_frames(struct student_state *state)
{
    int32_t bands[STUDENT_FRAMES][STUDENT_BANDS];
    log_mels(state->samples, state->means, state->frames, state->scratch.bins, bands);
    for (unsigned frame = 0; frame < state->frames; frame++) {
#if STUDENT_BUFFERED
        for (unsigned band = 0; band < STUDENT_BANDS; band++) {
            state->buffer[state->buffered][band] = (int16_t)((bands[frame][band] + 64) >> 7);
        }
        state->buffered++;
#else
        hear_levels(state, bands[frame], state->levels[frame]);
#endif
    }
    unsigned past = state->frames * STUDENT_HOP;
    state->held = (uint16_t)(state->held - past);
    memmove(state->samples, state->samples + past, state->held * sizeof *state->samples);
    state->frames = 0;
}

/* One more whole frame stands in samples. */
static int frame_given(struct student_state *state)
{
    unsigned frame = state->frames++;
#if STUDENT_CAUSAL
    state->means[frame] = level_frame(&state->level, state->samples + frame * STUDENT_HOP);
    state->levels[frame] = running_level(&state->level);
#elif STUDENT_BUFFERED
    state->means[frame] = (int32_t)((mean_q16(&state->sums) + 2) >> 2);
    if (state->buffered + state->frames > STUDENT_MAX_FRAMES) {
        state->frames = (uint16_t)frame;
        hear_frames(state);
        state->held = STUDENT_FFT - STUDENT_HOP;
        return STUDENT_FULL;
    }
#else
    state->means[frame] = state->mean;
    state->levels[frame] = state->level;
#endif
    if (state->frames == STUDENT_FRAMES) hear_frames(state);
    return STUDENT_OK;
}

int student_push(student *s, const int16_t *pcm, size_t n)
{
    struct student_state *state = s->state;
    int status = STUDENT_OK;
    if (state->ended) return STUDENT_ENDED;
#if STUDENT_TWO_PASSES
    if (n == 0) return STUDENT_OK;
    if (state->sums.count == 0) return STUDENT_NO_LEVEL;
    know_level(state);
#endif
    while (n) {
        size_t wanted = STUDENT_FFT + state->frames * (size_t)STUDENT_HOP - state->held;
        size_t taken = wanted < n ? wanted : n;
        memcpy(state->samples + state->held, pcm, taken * sizeof *pcm);
#if STUDENT_BUFFERED
        add_samples(&state->sums, pcm, taken);
#endif
        pcm += taken;
        n -= taken;
        state->held = (uint16_t)(state->held + taken);
        if (taken == wanted && frame_given(state) != STUDENT_OK) status = STUDENT_FULL;
    }
    return status;
}

#if !STUDENT_CAUSAL
static void end_clip(struct student_state *state)
{
    if (state->ended) return;
    state->ended = 1;
    know_level(state);
    hear_frames(state);
#if STUDENT_BUFFERED
    for (int32_t frame = 0; frame < state->buffered; frame++) {
        int32_t bands[STUDENT_BANDS];
        for (unsigned band = 0; band < STUDENT_BANDS; band++) bands[band] = state->buffer[frame][band] * 128;
        hear_levels(state, bands, state->level);
    }
#endif
    finish(&state->layers, &state->pooling, &state->scratch);
}
#endif

int32_t student_result_q16(student *s, int32_t adv[3])
{
    struct student_state *state = s->state;
    const struct pooling *pooling = &state->pooling;
#if STUDENT_GLANCES
    hear_frames(state);
    state->glanced = state->pooling;
    int64_t heard = glance(&state->layers, &state->glanced, &state->scratch);
    pooling = &state->glanced;
#else
#if !STUDENT_CAUSAL
    end_clip(state);
#endif
    int64_t heard = state->layers.heard;
#endif
    if (heard > 0) {
        answer(pooling, adv);
    } else {
        adv[0] = adv[1] = adv[2] = STUDENT_UNTAUGHT;
    }
    return heard > INT32_MAX ? INT32_MAX : (int32_t)heard;
}

int32_t student_result(student *s, float adv[3])
{
    /* Added, not chosen: of a conversion under a condition GCC 12 makes one for Cortex-M55 that binutils 2.40 cannot
     * read. */
    static const float known[2] = {0, NAN};
    int32_t found[3], heard = student_result_q16(s, found);
    for (unsigned axis = 0; axis < 3; axis++) {
        adv[axis] = (float)found[axis] * (1.0f / 65536) + known[found[axis] == STUDENT_UNTAUGHT];
    }
    return heard;
}
