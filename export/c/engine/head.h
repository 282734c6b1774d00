/* From what was pooled to arousal, dominance, valence. */
#ifndef STUDENT_HEAD_H
#define STUDENT_HEAD_H

#include "pooling.h"

/* No feature is further from zero (units of 2^-16): what follows cannot overflow. */
#define FEATURE_LIMIT (1 << 29)

static int32_t within(int64_t x)
{
    return (int32_t)(x < -FEATURE_LIMIT ? -FEATURE_LIMIT : x > FEATURE_LIMIT ? FEATURE_LIMIT : x);
}

#if STUDENT_GRAM
/* Feature `row` of channels by (bands, channels): what was pooled of a band, or two channels' product over the bands. */
static int32_t channel_at(const struct pooling *pooling, unsigned channel, unsigned band)
{
    return within(pooled(pooling, band * STUDENT_LIN_PLACES + channel) + LIN_BIAS[channel]);
}

static int32_t feature(const struct pooling *pooling, unsigned row)
{
    unsigned channel = row / (STUDENT_HALF + STUDENT_LIN_ROWS), place = row % (STUDENT_HALF + STUDENT_LIN_ROWS);
    if (place < STUDENT_HALF) return channel_at(pooling, channel, place);
    int64_t sum = 0;
    for (unsigned band = 0; band < STUDENT_HALF; band++) {
        int64_t one = channel_at(pooling, channel, band);
        sum += (one * channel_at(pooling, place - STUDENT_HALF, band)) >> 16;
    }
    return within(sum);
}
#else
static int32_t feature(const struct pooling *pooling, unsigned row)
{
    return within(pooled(pooling, row));
}
#endif

/* In units of 2^-16. */
static void answer(const struct pooling *pooling, int32_t adv[3])
{
    int64_t sums[3] = {0, 0, 0};
    for (unsigned row = 0; row < HEAD_INPUTS; row++) {
        int32_t x = feature(pooling, row);
        for (unsigned axis = 0; axis < 3; axis++) sums[axis] += (int64_t)HEAD[axis][row] * x;
    }
    for (unsigned axis = 0; axis < 3; axis++) {
        int64_t found = ((sums[axis] * HEAD_SCALE[axis]) >> HEAD_SHIFT) + HEAD_BIAS[axis];
        adv[axis] = HEAD_TAUGHT[axis] ? within(found) : STUDENT_UNTAUGHT;
    }
}

#endif
