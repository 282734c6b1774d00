/* How loud: of a whole clip by its sums, or of what a stream has heard until now. */
#ifndef STUDENT_LEVEL_H
#define STUDENT_LEVEL_H

#include "arithmetic.h"

/* Of clips: samples, their sum, and that of their squares. */
struct sums {
    int64_t sum;
    uint64_t squares;
    uint32_t count;
};

static void add_samples(struct sums *sums, const int16_t *pcm, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sums->sum += pcm[i];
        sums->squares += (uint32_t)(pcm[i] * pcm[i]);
    }
    sums->count += (uint32_t)n;
}

#if !STUDENT_CAUSAL
/* The mean, in units of 2^-16. */
static int64_t mean_q16(const struct sums *sums)
{
    return sums->count ? sums->sum * 65536 / (int64_t)sums->count : 0;
}

/* Log2 of the variance and the floor on it, in units of 2^-16. */
static int32_t level_of(const struct sums *sums)
{
    if (sums->count == 0) return log2_q16(VARIANCE_FLOOR_Q16) - 16 * 65536;
    uint64_t whole = sums->squares / sums->count, rest = sums->squares % sums->count;
    int64_t mean = mean_q16(sums), square = (mean * mean) >> 16;
    int64_t variance = (int64_t)(whole << 16 | (rest << 16) / sums->count) - square;
    return log2_q16((uint64_t)(variance < 0 ? 0 : variance) + VARIANCE_FLOOR_Q16) - 16 * 65536;
}

#else
/* Of a stream: the power of frames, averaged with weights of their own power that fade, and the sum of these weights, both
 * in units of 2^-16. Powers are at most 2^30, and what does not fade is 313 of them: 55 bits. */
struct running {
    int64_t power;
    uint64_t weights;
};

/* What is left of x, of which 2^32 parts `lost` go. */
static uint64_t faded(uint64_t x, uint32_t lost)
{
    return x - ((x >> 32) * lost + (((x & 0xFFFFFFFFu) * lost) >> 32));
}

/* How far the average moves towards a power of this weight. What is far away needs no fractions. */
static int64_t pulled(const struct running *level, int64_t power, uint64_t weight)
{
    int spare = 32 - leading_zeros(level->weights);
    if (spare < 0) spare = 0;
    int64_t share = (int64_t)(((weight >> spare) << 24) / (level->weights >> spare)), off = power - level->power;
    if (off > -(1LL << 38) && off < 1LL << 38) return (share * off + (1 << 23)) >> 24;
    return (share * (off / 256) + (1 << 15)) >> 16;
}

static void level_init(struct running *level)
{
    level->power = LEVEL_FLOOR_Q16;
    level->weights = LEVEL_FLOOR_Q16;
}

/* Hear a frame; returns its mean in units of 2^-14. */
static int32_t level_frame(struct running *level, const int16_t *pcm)
{
    struct sums frame = {0, 0, 0};
    add_samples(&frame, pcm, STUDENT_FFT);
    /* Of n samples, n^2 times their variance; n is 256: exact in units of 2^-16. */
    int64_t power = (int64_t)frame.squares * STUDENT_FFT - frame.sum * frame.sum;
    level->weights = faded(level->weights, LEVEL_LOST) + (uint64_t)power + FLOOR_ADDED_Q16;
    int64_t moved = pulled(level, power, (uint64_t)power) + pulled(level, LEVEL_FLOOR_Q16, FLOOR_ADDED_Q16);
    level->power += moved;
    return (int32_t)(frame.sum * (16384 / STUDENT_FFT));
}

static int32_t running_level(const struct running *level)
{
    return log2_q16((uint64_t)level->power + LEVEL_FLOOR_Q16) - 16 * 65536;
}

typedef char student_frames_have_256_samples[STUDENT_FFT == 256 ? 1 : -1];
#endif

#endif
