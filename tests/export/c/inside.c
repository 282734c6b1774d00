/* What is inside the engine, for tests to ask one by one: compiled with -I of a student's folder. */
#include "student.c"

int32_t inside_log2(uint64_t x) { return log2_q16(x); }

uint32_t inside_exp2(uint32_t x) { return exp2_q20(x); }

/* Log-mel of one frame, mean in units of 2^-14. */
void inside_log_mel(const int16_t *pcm, int32_t mean, int32_t *bands)
{
    union bin bins[COMPLEX];
    log_mel(pcm, mean, bins, bands);
}

/* Level of a clip: log2 of its variance. */
int32_t inside_level(const int16_t *pcm, size_t n)
{
    struct sums sums = {0, 0, 0};
    add_samples(&sums, pcm, n);
    return level_of(&sums);
}

/* One convolution, of a window [rows + 2][bands][16] to rows [rows][bands][16]. */
void inside_conv(unsigned layer, unsigned bands, const uint8_t *in, uint8_t *out)
{
    struct kernel_conv_scratch scratch;
    kernel_conv(layer, bands, in, out, 0, &scratch);
}

int inside_rows(void) { return STUDENT_ROWS; }

/* The pooling carried over tokens of one row, all rows alike: what the head would see of row 0. */
int64_t inside_pooled(const int32_t *values, const int32_t *scores, size_t n)
{
    struct pooling pooling;
    pooling_init(&pooling);
    for (size_t i = 0; i < n; i++) {
        carry(&pooling, 0, values[i], scores[i], pooling.ramp);
        next_token(&pooling);
    }
    return pooled(&pooling, 0);
}

int64_t inside_weights_after(int32_t score, uint64_t tokens)
{
    struct pooling pooling;
    pooling_init(&pooling);
    for (uint64_t i = 0; i < tokens; i++) carry(&pooling, 0, 2721735, score, 0);
    return pooling.values[0] / pooling.weights[0];
}
