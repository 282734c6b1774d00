/* Kernels in plain C: what every target computes, and computes itself where it has nothing better.
 *
 * A target's own file is included before this one, and replaces what it defines KERNEL_... for. The layout of windows is
 * one such thing: here a row is STUDENT_LANES bytes a band, 13 channels and three zeros.
 *
 * 3x3 convolutions are Winograd's (Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks"), F(2x2,
 * 3x3): four by four inputs give two by two outputs with 16 products for 36. In whole numbers they are exact: weights
 * are transformed at four times their size, and a scale of requantisation is a quarter of what it would be.
 */
#ifndef STUDENT_KERNELS_PORTABLE_H
#define STUDENT_KERNELS_PORTABLE_H

#include "arithmetic.h"
#include "pooling.h"

#define CHANNELS 13

/* Channels in Winograd's domain: 13 and one of zeros, in the order in which pairs are taken out of words. */
#define PAIRED 14

#ifndef KERNEL_WINDOWS

static uint8_t *row_of(uint8_t *window, unsigned bands, unsigned row)
{
    return window + row * bands * STUDENT_LANES;
}

/* Let a row be zero. */
static void kernel_clear(uint8_t *window, unsigned bands, unsigned row)
{
    memset(row_of(window, bands, row), 0, bands * STUDENT_LANES);
}

/* The two rows from row `by` on become the first ones. */
static void kernel_slide(uint8_t *window, unsigned bands, unsigned by)
{
    memmove(window, row_of(window, bands, by), 2 * bands * STUDENT_LANES);
}
#endif

#ifndef KERNEL_FIRST
/* The first convolution, of log-mel rows [STUDENT_WINDOW_ROWS][STUDENT_MEL_ROW] with a level of zero at both ends of
 * each. Its STUDENT_ROWS rows go to the window out, from row `at` on. */
static void kernel_first(const uint8_t *mel, uint8_t *out, unsigned at)
{
    for (unsigned row = 0; row < STUDENT_ROWS; row++) {
        const uint8_t *in = mel + row * STUDENT_MEL_ROW;
        uint8_t *to = row_of(out, STUDENT_BANDS, at + row);
        for (unsigned band = 0; band < STUDENT_BANDS; band++, in++, to += STUDENT_LANES) {
            const uint8_t *second = in + STUDENT_MEL_ROW, *third = second + STUDENT_MEL_ROW;
            int32_t a0 = in[0], a1 = in[1], a2 = in[2], b0 = second[0], b1 = second[1], b2 = second[2];
            int32_t c0 = third[0], c1 = third[1], c2 = third[2];
            for (unsigned channel = 0; channel < CHANNELS; channel++) {
                const int16_t *w = FIRST_WEIGHTS[channel];
                int32_t sum = FIRST_BIAS[channel] + a0 * w[0] + a1 * w[6] + a2 * w[1];
                sum += b0 * w[2] + b1 * w[7] + b2 * w[3];
                sum += c0 * w[4] + c1 * w[8] + c2 * w[5];
                to[channel] = requantised(sum, FIRST_SCALE[channel]);
            }
        }
    }
}
#endif

#ifndef KERNEL_CONV

/* Four rows of one band, transformed along time: [4][PAIRED]. */
typedef int16_t column[4][PAIRED];

struct kernel_conv_scratch {
    column columns[4];         /* the last four bands, by band modulo 4 */
    int32_t sums[CHANNELS][16]; /* in Winograd's domain */
};

#ifndef KERNEL_COLUMN
/* A band of four rows into Winograd's domain, along time. */
static void column_of(const uint8_t *in, unsigned stride, column to)
{
    static const uint8_t order[PAIRED] = {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14};
    for (unsigned place = 0; place < PAIRED; place++) {
        const uint8_t *x = in + order[place];
        int32_t first = x[0], second = x[stride], third = x[2 * stride], fourth = x[3 * stride];
        to[0][place] = (int16_t)(first - third);
        to[1][place] = (int16_t)(second + third);
        to[2][place] = (int16_t)(third - second);
        to[3][place] = (int16_t)(second - fourth);
    }
}
#endif

#ifndef KERNEL_PRODUCTS
/* At one place, for four outputs at a time: what is loaded of x serves all of them. sums: one in 16. */
static void products_at(const int16_t *x, const int16_t *weights, int32_t *sums)
{
    for (unsigned channel = 0; channel < CHANNELS - 1; channel += 4, weights += 4 * PAIRED, sums += 64) {
        int32_t first = 0, second = 0, third = 0, fourth = 0;
        for (unsigned place = 0; place < PAIRED; place++) {
            int32_t of = x[place];
            first += of * weights[place];
            second += of * weights[PAIRED + place];
            third += of * weights[2 * PAIRED + place];
            fourth += of * weights[3 * PAIRED + place];
        }
        sums[0] = first;
        sums[16] = second;
        sums[32] = third;
        sums[48] = fourth;
    }
    int32_t last = 0;
    for (unsigned place = 0; place < PAIRED; place++) last += x[place] * weights[place];
    *sums = last;
}

/* The products of one tile, along the bands as well: columns a, b, c, d. */
static void products(int16_t (*a)[PAIRED], int16_t (*b)[PAIRED], int16_t (*c)[PAIRED], int16_t (*d)[PAIRED],
                     const int16_t *weights, int32_t (*sums)[16])
{
    int32_t *to = sums[0];
    for (unsigned time = 0; time < 4; time++) {
        int16_t x[4][PAIRED];
        for (unsigned place = 0; place < PAIRED; place++) {
            x[0][place] = (int16_t)(a[time][place] - c[time][place]);
            x[1][place] = (int16_t)(b[time][place] + c[time][place]);
            x[2][place] = (int16_t)(c[time][place] - b[time][place]);
            x[3][place] = (int16_t)(b[time][place] - d[time][place]);
        }
        for (unsigned band = 0; band < 4; band++, weights += CHANNELS * PAIRED) products_at(x[band], weights, to++);
    }
}
#endif

#ifndef KERNEL_OUTPUTS
/* A tile's two by two outputs of every channel; the right ones only where there is such a band. */
static void outputs(const int32_t (*sums)[16], const int32_t (*requant)[2], uint8_t *above, uint8_t *below, int right)
{
    for (unsigned channel = 0; channel < CHANNELS; channel++, above++, below++) {
        const int32_t *m = sums[channel];
        int32_t bias = requant[channel][0], scale = requant[channel][1], left[4], second[4];
        for (unsigned time = 0; time < 4; time++, m += 4) {
            left[time] = m[0] + m[1] + m[2];
            second[time] = m[1] - m[2] - m[3];
        }
        above[0] = requantised(bias + left[0] + left[1] + left[2], scale);
        below[0] = requantised(bias + left[1] - left[2] - left[3], scale);
        if (right) {
            above[STUDENT_LANES] = requantised(bias + second[0] + second[1] + second[2], scale);
            below[STUDENT_LANES] = requantised(bias + second[1] - second[2] - second[3], scale);
        }
    }
}
#endif

/* The 3x3 convolution of that number, of the window in; its STUDENT_ROWS rows go to the window out, from row `at` on. */
static void kernel_conv(unsigned layer, unsigned bands, const uint8_t *in, uint8_t *out, unsigned at,
                        struct kernel_conv_scratch *scratch)
{
    column *columns = scratch->columns;
    unsigned stride = bands * STUDENT_LANES;
    for (unsigned row = 0; row < STUDENT_ROWS; row += 2, in += 2 * stride) {
        uint8_t *above = row_of(out, bands, at + row), *below = above + stride;
        memset(columns[3], 0, sizeof(column)); /* left of the first band */
        column_of(in, stride, columns[0]);
        for (unsigned band = 0; band < bands; band += 2) {
            for (unsigned next = band + 1; next < band + 3; next++) {
                if (next < bands) {
                    column_of(in + next * STUDENT_LANES, stride, columns[next & 3]);
                } else {
                    memset(columns[next & 3], 0, sizeof(column));
                }
            }
            products(columns[(band + 3) & 3], columns[band & 3], columns[(band + 1) & 3], columns[(band + 2) & 3],
                     CONV_WEIGHTS[layer][0][0], scratch->sums);
            outputs(scratch->sums, CONV_REQUANT[layer], above + band * STUDENT_LANES, below + band * STUDENT_LANES,
                    band + 1 < bands);
        }
    }
}
#endif

#ifndef KERNEL_POOL
/* Max-pooling of three rows by three bands at every second of both, from row `from` of the window in on; STUDENT_ROWS / 2
 * rows go to the window out, from row `at` on. Beyond the edges is nothing: no level is below zero. */
static void kernel_pool(const uint8_t *in, unsigned from, uint8_t *out, unsigned at)
{
    const unsigned stride = STUDENT_BANDS * STUDENT_LANES;
    for (unsigned row = 0; row < STUDENT_ROWS / 2; row++) {
        const uint8_t *x = in + (from + 2 * row) * stride;
        uint8_t *to = row_of(out, STUDENT_HALF, at + row);
        for (unsigned band = 0; band < STUDENT_HALF; band++) {
            unsigned first = band ? 2 * band - 1 : 0, end = 2 * band + 2 > STUDENT_BANDS ? STUDENT_BANDS : 2 * band + 2;
            for (unsigned channel = 0; channel < CHANNELS; channel++) {
                uint8_t most = 0;
                for (unsigned near = first; near < end; near++) {
                    const uint8_t *y = x + near * STUDENT_LANES + channel;
                    if (y[0] > most) most = y[0];
                    if (y[stride] > most) most = y[stride];
                    if (y[2 * stride] > most) most = y[2 * stride];
                }
                to[band * STUDENT_LANES + channel] = most;
            }
        }
    }
}
#endif

#ifndef KERNEL_ATTEND

/* Values of a token that lin and sof see at once, filled up to whole words of weights. */
#define WORD_WEIGHTS (32 / ATTENTION_BITS)
#define TOKEN_FILLED (TOKEN_WORDS * WORD_WEIGHTS)

/* Two tokens, or parts of them, as lin and sof take them: two values of the one, two of the other. */
struct tokens {
    int16_t x[TOKEN_FILLED / 2][2][2];
    int32_t sum[2];
};

struct kernel_attend_scratch {
    struct tokens tokens;
};

/* Part `part` of the token in row `row` of a window becomes the one or the other. */
static void token_of(const uint8_t *window, unsigned row, unsigned part, struct tokens *to, unsigned which)
{
    const uint8_t *in = window + (row * STUDENT_HALF + part) * STUDENT_LANES;
    int32_t sum = 0;
    unsigned n = 0;
    for (unsigned band = 0; band < STUDENT_HALF / STUDENT_TOKEN_PARTS; band++, in += STUDENT_LANES) {
        for (unsigned channel = 0; channel < CHANNELS; channel++, n++) {
            to->x[n / 2][which][n & 1] = in[channel];
            sum += in[channel];
        }
    }
    for (; n < TOKEN_FILLED; n++) to->x[n / 2][which][n & 1] = 0;
    to->sum[which] = sum;
}

/* A row of lin and one of sof times two tokens. */
struct attended {
    int32_t values[2], scores[2];
};

#ifndef KERNEL_ATTEND_ROW
static inline int32_t weight_in(uint32_t word, unsigned place)
{
#if ATTENTION_BITS == 4
    return (int32_t)(word >> place & 15);
#else
    return (int8_t)(word >> place & 255);
#endif
}

/* Row of words, one of lin and one of sof in turn. Of 4 bits the codes are multiplied: a level is 2 code - 15. */
static void attend_row(const uint32_t (*words)[2], const struct tokens *tokens, struct attended *to)
{
    static const uint8_t places[WORD_WEIGHTS] = ATTENTION_PLACES;
    int32_t values[2] = {0, 0}, scores[2] = {0, 0};
    const int16_t (*x)[2][2] = tokens->x;
    for (unsigned word = 0; word < TOKEN_WORDS; word++) {
        uint32_t lin = words[word][0], sof = words[word][1];
        for (unsigned pair = 0; pair < WORD_WEIGHTS / 2; pair++, x++) {
            for (unsigned one = 0; one < 2; one++) {
                int32_t of_lin = weight_in(lin, places[2 * pair + one]), of_sof = weight_in(sof, places[2 * pair + one]);
                values[0] += of_lin * x[0][0][one];
                values[1] += of_lin * x[0][1][one];
                scores[0] += of_sof * x[0][0][one];
                scores[1] += of_sof * x[0][1][one];
            }
        }
    }
    for (unsigned token = 0; token < 2; token++) {
        to->values[token] = values[token];
        to->scores[token] = scores[token];
    }
}
#endif

/* Sum of products with codes of weights, as one with levels. */
static inline int32_t of_levels(int32_t sum, int32_t inputs)
{
    return ATTENTION_BITS == 4 ? 2 * sum - 15 * inputs : sum;
}

/* lin and sof of the tokens in the rows first to end - 1 of a window, carried on by the pooling in their order. */
static void kernel_attend(const uint8_t *window, unsigned first, unsigned end, struct pooling *pooling,
                          struct kernel_attend_scratch *scratch)
{
    for (unsigned row = first; row < end; row += 2) {
        int both = row + 1 < end;
        uint32_t ramp = pooling->ramp;
        for (unsigned part = 0; part < STUDENT_TOKEN_PARTS; part++) {
            struct tokens *tokens = &scratch->tokens;
            token_of(window, row, part, tokens, 0);
            token_of(window, row + (unsigned)both, part, tokens, 1);
            for (unsigned of_lin = 0; of_lin < STUDENT_LIN_ROWS; of_lin++) {
                struct attended found;
                unsigned at = part * STUDENT_LIN_ROWS + of_lin;
                attend_row(ATTENTION[of_lin], tokens, &found);
                for (unsigned token = 0; token <= (unsigned)both; token++) {
                    int32_t value = of_levels(found.values[token], tokens->sum[token]);
                    int32_t score = of_levels(found.scores[token], tokens->sum[token]);
                    carry(pooling, at, value, score, ramp + token * FORGETTING_Q24);
                }
            }
        }
        next_token(pooling);
        if (both) next_token(pooling);
    }
}
#endif

#endif
