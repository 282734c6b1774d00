/* Softmax pooling over time, carried on: for every row the sums of exp(score) and of value * exp(score).
 *
 * Both are kept over 2^reference, a whole number above every score so far; when a higher one comes, they are shifted.
 * They are shifted as well before a long clip could make them overflow. A stream forgets: every token's scores count
 * `FORGETTING` more than those before it, and what that adds up to beyond whole numbers is taken off the references.
 */
#ifndef STUDENT_POOLING_H
#define STUDENT_POOLING_H

#include "arithmetic.h"

struct pooling {
    int64_t values[STUDENT_POOLED];
    int64_t weights[STUDENT_POOLED];
    int32_t reference[STUDENT_POOLED];
    uint32_t ramp; /* of the token that comes, in units of 2^-24 */
};

/* Below every score that is cut off at +-60 nepers. */
#define LOWEST_REFERENCE (-100)

static void pooling_init(struct pooling *pooling)
{
    for (unsigned row = 0; row < STUDENT_POOLED; row++) {
        pooling->values[row] = pooling->weights[row] = 0;
        pooling->reference[row] = LOWEST_REFERENCE;
    }
    pooling->ramp = 0;
}

static inline void raise(struct pooling *pooling, unsigned row, int32_t by)
{
    pooling->reference[row] += by;
    pooling->values[row] = by > 62 ? 0 : pooling->values[row] >> by;
    pooling->weights[row] = by > 62 ? 0 : pooling->weights[row] >> by;
}

/* One token of a row: sums of products of lin and of sof; the ramp that the token stands at. */
static inline void carry(struct pooling *pooling, unsigned row, int32_t value, int32_t score, uint32_t ramp)
{
    int32_t at = (int32_t)(((int64_t)score * SCORE_SCALE[row % STUDENT_LIN_PLACES]) >> 16);
    at = (at < -SCORE_LIMIT ? -SCORE_LIMIT : at > SCORE_LIMIT ? SCORE_LIMIT : at) + (int32_t)(ramp >> 8);
    int32_t above = ((at + 65535) >> 16) - pooling->reference[row];
    if (above > 0) raise(pooling, row, above);
    uint32_t weight = exp2_q20((uint32_t)(pooling->reference[row] * 65536 - at));
    pooling->values[row] += (int64_t)value * weight;
    pooling->weights[row] += weight;
    if (pooling->weights[row] >> 41) raise(pooling, row, 1);
}

/* Behind every token. */
static inline void next_token(struct pooling *pooling)
{
#if STUDENT_CAUSAL
    pooling->ramp += FORGETTING_Q24;
    if (pooling->ramp >> 24) {
        pooling->ramp &= 0xFFFFFF;
        for (unsigned row = 0; row < STUDENT_POOLED; row++) pooling->reference[row]--;
    }
#else
    (void)pooling;
#endif
}

/* What the head sees of a row, in units of 2^-16. */
static int64_t pooled(const struct pooling *pooling, unsigned row)
{
    int64_t weights = pooling->weights[row], whole = pooling->values[row] / weights;
    int64_t rest = pooling->values[row] % weights, mean = whole * 256 + rest * 256 / weights;
    return (mean * VALUE_SCALE[row % STUDENT_LIN_PLACES]) >> VALUE_SHIFT;
}

#endif
