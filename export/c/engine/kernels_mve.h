/* Kernels of Helium, the vectors of Armv8.1-M (Cortex-M55, M85).
 *
 * VMLADAV multiplies 16 bytes by 16 and adds up all products in one instruction. Two patches by four outputs are taken
 * at once, so that what is loaded serves several products: eight sums, in all the registers that the instruction takes.
 * Levels are made signed on the way, less 128; the biases make up for it.
 */
#ifndef STUDENT_KERNELS_MVE_H
#define STUDENT_KERNELS_MVE_H

#include <arm_mve.h>


/* Bytes of a band of three rows, and of the three bands that an output is of; of the first convolution's, with zeros. */
#define COLUMN 39
#define PATCH 117
#define FIRST_PATCH 16

/* q0, q1: 16 values of two patches, `apart` bytes from each other; q2 to q5: 16 weights each of four outputs, `rows`
 * bytes from each other. */
#define STUDENT_LOADS(apart, rows)                                                                                     \
    "vldrb.8 q1, [%[x], #" apart "]\nvldrb.8 q0, [%[x]], #16\n"                                                        \
    "vldrb.8 q3, [%[w], #" rows "]\nvldrb.8 q2, [%[w]], #16\n"                                                         \
    "vldrb.8 q5, [%[v], #" rows "]\nvldrb.8 q4, [%[v]], #16\n"

/* Their products: new sums, or (a) on top of those so far. */
#define STUDENT_SUMS(a)                                                                                                \
    "vmladav" a ".s8 r0, q0, q2\nvmladav" a ".s8 r2, q0, q3\nvmladav" a ".s8 r4, q0, q4\nvmladav" a ".s8 r6, q0, q5\n" \
    "vmladav" a ".s8 r8, q1, q2\nvmladav" a ".s8 r10, q1, q3\nvmladav" a ".s8 r12, q1, q4\nvmladav" a ".s8 lr, q1, q5\n"

/* The sums as a vector of each patch. */
#define STUDENT_VECTORS                                                                                                \
    "vmov %q[p][2], %q[p][0], r0, r4\nvmov %q[p][3], %q[p][1], r2, r6\n"                                               \
    "vmov %q[q][2], %q[q][0], r8, r12\nvmov %q[q][3], %q[q][1], r10, lr\n"

/* What the assembly below takes for itself; GCC knows the predicate by its name. */
#if defined(__clang__)
#define STUDENT_VECTORS_TAKEN "q0", "q1", "q2", "q3", "q4", "q5", "memory"
#else
#define STUDENT_VECTORS_TAKEN "q0", "q1", "q2", "q3", "q4", "q5", "p0", "memory"
#endif
#define STUDENT_TAKEN "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", STUDENT_VECTORS_TAKEN

/* Two patches that are a column apart by four outputs. 117 values are seven vectors and five values: of the last vector
 * the rest counts as zero. */
static inline void four_outputs(const int8_t *x, const int8_t *w, int32x4_t *first, int32x4_t *second)
{
    const int8_t *v = w + 2 * PATCH;
    int32x4_t p, q;
    __asm__("mov r0, #5\nvctp.8 r0\n"
            STUDENT_LOADS("39", "117") STUDENT_SUMS("")
            ".rept 6\n" STUDENT_LOADS("39", "117") STUDENT_SUMS("a") ".endr\n"
            "vpstttt\nvldrbt.8 q2, [%[w]]\nvldrbt.8 q3, [%[w], #117]\nvldrbt.8 q4, [%[v]]\nvldrbt.8 q5, [%[v], #117]\n"
            "vldrb.8 q0, [%[x]]\nvldrb.8 q1, [%[x], #39]\n" STUDENT_SUMS("a")
            STUDENT_VECTORS
            : [p] "=w"(p), [q] "=w"(q), [x] "+r"(x), [w] "+r"(w), [v] "+r"(v)
            :
            : STUDENT_TAKEN);
    *first = p;
    *second = q;
}

/* The same in the first convolution, whose nine values are one vector. */
static inline void four_first(const int8_t *x, const int8_t *w, int32x4_t *first, int32x4_t *second)
{
    const int8_t *v = w + 2 * FIRST_PATCH;
    int32x4_t p, q;
    __asm__(STUDENT_LOADS("3", "16") STUDENT_SUMS("") STUDENT_VECTORS
            : [p] "=w"(p), [q] "=w"(q), [x] "+r"(x), [w] "+r"(w), [v] "+r"(v)
            :
            : STUDENT_TAKEN);
    *first = p;
    *second = q;
}

/* Eight patches, each a column behind the one before, by one output: the last of 13. */
static inline void eight_patches(const int8_t *x, const int8_t *w, int32x4_t *first, int32x4_t *second)
{
    const int8_t *y = x + 4 * COLUMN;
    int32x4_t p, q;
#define STUDENT_EIGHT(a)                                                                                               \
    "vldrb.8 q1, [%[x], #39]\nvldrb.8 q2, [%[x], #78]\nvldrb.8 q3, [%[x], #117]\nvldrb.8 q0, [%[x]], #16\n"            \
    "vmladav" a ".s8 r0, q0, q4\nvmladav" a ".s8 r2, q1, q4\nvmladav" a ".s8 r4, q2, q4\nvmladav" a ".s8 r6, q3, q4\n" \
    "vldrb.8 q1, [%[y], #39]\nvldrb.8 q2, [%[y], #78]\nvldrb.8 q3, [%[y], #117]\nvldrb.8 q0, [%[y]], #16\n"            \
    "vmladav" a ".s8 r8, q0, q4\nvmladav" a ".s8 r10, q1, q4\nvmladav" a ".s8 r12, q2, q4\nvmladav" a ".s8 lr, q3, q4\n"
    __asm__("mov r0, #5\nvctp.8 r0\n"
            "vldrb.8 q4, [%[w]], #16\n" STUDENT_EIGHT("")
            ".rept 6\nvldrb.8 q4, [%[w]], #16\n" STUDENT_EIGHT("a") ".endr\n"
            "vpst\nvldrbt.8 q4, [%[w]]\n" STUDENT_EIGHT("a")
            STUDENT_VECTORS
            : [p] "=w"(p), [q] "=w"(q), [x] "+r"(x), [w] "+r"(w), [y] "+r"(y)
            :
            : STUDENT_TAKEN);
    *first = p;
    *second = q;
}

/* Sums to levels, 0 to 255. */
static inline uint32x4_t levels_of(int32x4_t sums, int32x4_t bias, int32x4_t scale)
{
    int32x4_t level = vrmulhq_s32(vaddq_s32(sums, bias), scale);
    return vshrq_n_u32(vqshluq_n_s32(level, 24), 24);
}

static inline int8x16_t less_128(const uint8_t *levels)
{
    return vreinterpretq_s8_u8(veorq_u8(vldrbq_u8(levels), vdupq_n_u8(0x80)));
}

#define KERNEL_FIRST
/* Three rows with a level of zero at both ends of each become columns of three: STUDENT_MEL_ROW of them. */
static inline void first_columns(const uint8_t *in, int8_t *to)
{
    uint8x16_t places = vmulq_n_u8(vidupq_n_u8(0, 1), 3);
    for (unsigned row = 0; row < 3; row++, in += STUDENT_MEL_ROW) {
        vstrbq_scatter_offset_s8(to + row, places, less_128(in));
        vstrbq_scatter_offset_s8(to + 3 * (STUDENT_MEL_ROW - 16) + row, places, less_128(in + STUDENT_MEL_ROW - 16));
    }
}

static void kernel_first(const uint8_t *mel, uint8_t *out, unsigned at)
{
    int8_t columns[3 * STUDENT_MEL_ROW + 16];
    for (unsigned row = 0; row < STUDENT_ROWS; row++, mel += STUDENT_MEL_ROW) {
        first_columns(mel, columns);
        for (unsigned channel = 0; channel < 13; channel = channel == 8 ? 9 : channel + 4) {
            int32x4_t bias = vldrwq_s32(FIRST_BIAS + channel), scale = vldrwq_s32(FIRST_SCALE + channel), p, q;
            uint8_t *to = out + (at + row) * STUDENT_BANDS * STUDENT_LANES + channel;
            for (const int8_t *x = columns; x < columns + 3 * STUDENT_BANDS; x += 6, to += 2 * STUDENT_LANES) {
                four_first(x, FIRST_WEIGHTS[channel], &p, &q);
                vstrbq_u32(to, levels_of(p, bias, scale));
                vstrbq_u32(to + STUDENT_LANES, levels_of(q, bias, scale));
            }
        }
    }
}

#define KERNEL_CONV
struct kernel_conv_scratch {
    int8_t columns[(STUDENT_BANDS + 2) * COLUMN + 16];
};

/* Three rows of a window as columns of three times 13, one of zeros on either side. */
static inline void conv_columns(const uint8_t *in, unsigned bands, int8_t *to)
{
    unsigned stride = bands * STUDENT_LANES;
    memset(to, -128, COLUMN);
    to += COLUMN;
    for (unsigned band = 0; band < bands; band++, in += STUDENT_LANES, to += COLUMN) {
        vstrbq_s8(to, less_128(in));
        vstrbq_s8(to + 13, less_128(in + stride));
        vstrbq_s8(to + 26, less_128(in + 2 * stride));
    }
    memset(to, -128, COLUMN);
}

/* Four outputs of all bands of a row; of an odd number of bands the last but one comes twice. */
static inline void four_channels(const int8_t *x, const int8_t *w, const int32_t *bias, const int32_t *scale,
                                 unsigned bands, uint8_t *to)
{
    int32x4_t b = vldrwq_s32(bias), s = vldrwq_s32(scale), p, q;
    for (const int8_t *end = x + (bands - 1) * COLUMN; x <= end; x += 2 * COLUMN, to += 2 * STUDENT_LANES) {
        if (x == end) {
            x -= COLUMN;
            to -= STUDENT_LANES;
        }
        four_outputs(x, w, &p, &q);
        vstrbq_u32(to, levels_of(p, b, s));
        vstrbq_u32(to + STUDENT_LANES, levels_of(q, b, s));
    }
}

/* One output of all bands of a row, eight at a time; the last eight may have been there in part. */
static inline void one_channel(const int8_t *x, const int8_t *w, int32_t bias, int32_t scale, unsigned bands,
                               uint8_t *to)
{
    int32x4_t b = vdupq_n_s32(bias), s = vdupq_n_s32(scale), p, q;
    uint32x4_t places = vidupq_n_u32(0, 8);
    places = vshlq_n_u32(places, 1);
    for (unsigned band = 0;; band = band + 16 > bands ? bands - 8 : band + 8) {
        eight_patches(x + band * COLUMN, w, &p, &q);
        vstrbq_scatter_offset_u32(to + band * STUDENT_LANES, places, levels_of(p, b, s));
        vstrbq_scatter_offset_u32(to + (band + 4) * STUDENT_LANES, places, levels_of(q, b, s));
        if (band + 8 >= bands) break;
    }
}

static void kernel_conv(unsigned layer, unsigned bands, const uint8_t *in, uint8_t *out, unsigned at,
                        struct kernel_conv_scratch *scratch)
{
    const int8_t *weights = CONV_WEIGHTS[layer][0][0][0];
    const int32_t *bias = CONV_BIAS[layer], *scale = CONV_SCALE[layer];
    for (unsigned row = 0; row < STUDENT_ROWS; row++, in += bands * STUDENT_LANES) {
        uint8_t *to = out + (at + row) * bands * STUDENT_LANES;
        conv_columns(in, bands, scratch->columns);
        for (unsigned channel = 0; channel < 12; channel += 4) {
            four_channels(scratch->columns, weights + channel * PATCH, bias + channel, scale + channel, bands,
                          to + channel);
        }
        one_channel(scratch->columns, weights + 12 * PATCH, bias[12], scale[12], bands, to + 12);
    }
}

#define KERNEL_POOL
static inline uint8x16_t largest_of_three(const uint8_t *x)
{
    const unsigned stride = STUDENT_BANDS * STUDENT_LANES;
    return vmaxq_u8(vmaxq_u8(vldrbq_u8(x), vldrbq_u8(x + stride)), vldrbq_u8(x + 2 * stride));
}

static void kernel_pool(const uint8_t *in, unsigned from, uint8_t *out, unsigned at)
{
    for (unsigned row = 0; row < STUDENT_ROWS / 2; row++) {
        const uint8_t *x = in + (from + 2 * row) * STUDENT_BANDS * STUDENT_LANES;
        uint8_t *to = out + (at + row) * STUDENT_HALF * STUDENT_LANES;
        uint8x16_t before = vdupq_n_u8(0);
        for (unsigned band = 0; band < STUDENT_BANDS; band += 2, x += 2 * STUDENT_LANES, to += STUDENT_LANES) {
            uint8x16_t here = largest_of_three(x), most = vmaxq_u8(before, here);
            if (band + 1 < STUDENT_BANDS) {
                before = largest_of_three(x + STUDENT_LANES);
                most = vmaxq_u8(most, before);
            }
            vstrbq_u8(to, most);
        }
    }
}

#if ATTENTION_BITS == 4
#define KERNEL_ATTEND

/* Words that lin and sof are multiplied by at once, four of each: 32 codes. What is left of a row. */
#define STUDENT_BLOCKS (TOKEN_WORDS / 4)
#define STUDENT_REST (TOKEN_WORDS - TOKEN_WORDS / 4 * 4)
#define STUDENT_TEXT(x) #x
#define STUDENT_NUMBER(x) STUDENT_TEXT(x)

/* Two tokens, or parts of them, as lin and sof take them. By block: what the lower halves of bytes are multiplied by,
 * of the one and of the other, then what the upper halves are. */
struct tokens {
    uint8_t x[STUDENT_BLOCKS + 1][2][2][16];
    int32_t sum[2];
};

struct kernel_attend_scratch {
    struct tokens tokens;
    uint8_t plain[32 * (STUDENT_BLOCKS + 1) + 16];
};

/* Part `part` of the token in row `row` of a window becomes the one or the other. */
static void token_of(const uint8_t *window, unsigned row, unsigned part, struct kernel_attend_scratch *scratch,
                     unsigned which)
{
    static const uint8_t order[2][16] = {{0, 4, 1, 5, 8, 12, 9, 13, 16, 20, 17, 21, 24, 28, 25, 29},
                                         {2, 6, 3, 7, 10, 14, 11, 15, 18, 22, 19, 23, 26, 30, 27, 31}};
    const uint8_t *in = window + (row * STUDENT_HALF + part) * STUDENT_LANES;
    uint8_t *to = scratch->plain, *end = scratch->plain + sizeof scratch->plain - 16;
    for (unsigned band = 0; band < STUDENT_HALF / STUDENT_TOKEN_PARTS; band++, in += STUDENT_LANES, to += 13) {
        vstrbq_u8(to, vldrbq_u8(in));
    }
    for (; to < end; to += 16) vstrbq_u8(to, vdupq_n_u8(0));
    uint32_t sum = 0;
    for (unsigned block = 0; block <= STUDENT_BLOCKS; block++) {
        for (unsigned half = 0; half < 2; half++) {
            uint8x16_t x = vldrbq_gather_offset_u8(scratch->plain + 32 * block, vldrbq_u8(order[half]));
            vstrbq_u8(scratch->tokens.x[block][half][which], x);
            sum = vaddvaq_u8(sum, x);
        }
    }
    scratch->tokens.sum[which] = (int32_t)sum;
}

/* Words of lin in q0 and of sof in q1 times two tokens: codes of four bits. */
#define STUDENT_CODES(a)                                                                                               \
    "vshr.u8 q2, q0, #4\nvand q0, q0, %q[mask]\nvshr.u8 q3, q1, #4\nvand q1, q1, %q[mask]\n"                           \
    "vldrb.8 q4, [%[x]], #16\nvmladav" a ".u8 %[v0], q4, q0\nvmladav" a ".u8 %[s0], q4, q1\n"                          \
    "vldrb.8 q5, [%[x]], #16\nvmladav" a ".u8 %[v1], q5, q0\nvmladav" a ".u8 %[s1], q5, q1\n"                          \
    "vldrb.8 q4, [%[x]], #16\nvmladava.u8 %[v0], q4, q2\nvmladava.u8 %[s0], q4, q3\n"                                  \
    "vldrb.8 q5, [%[x]], #16\nvmladava.u8 %[v1], q5, q2\nvmladava.u8 %[s1], q5, q3\n"

/* A row of lin and one of sof, words in turn, times two tokens. Behind the end of the row nothing is read. */
static inline void attend_row(const uint32_t (*words)[2], const struct tokens *tokens, int32_t values[2],
                              int32_t scores[2])
{
    const uint8_t *x = tokens->x[0][0][0];
    int32_t v0, v1, s0, s1;
    uint8x16_t mask = vdupq_n_u8(15);
    uint32x4_t places = vidupq_n_u32(0, 8);
    __asm__("mov %[v0], #" STUDENT_NUMBER(STUDENT_REST) "\nvctp.32 %[v0]\nmov %[v1], #0\n"
            "mov %[v0], #0\nmov %[s0], #0\nmov %[s1], #0\n"
            ".rept " STUDENT_NUMBER(STUDENT_BLOCKS) "\n"
            "vld20.32 {q0, q1}, [%[w]]\nvld21.32 {q0, q1}, [%[w]]!\n" STUDENT_CODES("a") ".endr\n"
            "vpst\nvldrwt.u32 q0, [%[w], %q[places]]\n"
            "add %[w], %[w], #4\n"
            "vpst\nvldrwt.u32 q1, [%[w], %q[places]]\n" STUDENT_CODES("a")
            : [v0] "=&Te"(v0), [v1] "=&Te"(v1), [s0] "=&Te"(s0), [s1] "=&Te"(s1), [x] "+r"(x), [w] "+r"(words)
            : [mask] "w"(mask), [places] "w"(places)
            : STUDENT_VECTORS_TAKEN);
    values[0] = v0;
    values[1] = v1;
    scores[0] = s0;
    scores[1] = s1;
}

/* Sum of products with codes of weights, as one with levels: a level is 2 code - 15. */
static inline int32_t of_levels(int32_t sum, int32_t inputs) { return 2 * sum - 15 * inputs; }

static void kernel_attend(const uint8_t *window, unsigned first, unsigned end, struct pooling *pooling,
                          struct kernel_attend_scratch *scratch)
{
    for (unsigned row = first; row < end; row += 2) {
        int both = row + 1 < end;
        uint32_t ramp = pooling->ramp;
        for (unsigned part = 0; part < STUDENT_TOKEN_PARTS; part++) {
            const struct tokens *tokens = &scratch->tokens;
            token_of(window, row, part, scratch, 0);
            token_of(window, row + (unsigned)both, part, scratch, 1);
            for (unsigned of_lin = 0; of_lin < STUDENT_LIN_ROWS; of_lin++) {
                int32_t values[2], scores[2];
                unsigned at = part * STUDENT_LIN_ROWS + of_lin;
                attend_row(ATTENTION[of_lin], tokens, values, scores);
                for (unsigned token = 0; token <= (unsigned)both; token++) {
                    carry(pooling, at, of_levels(values[token], tokens->sum[token]),
                          of_levels(scores[token], tokens->sum[token]), ramp + token * FORGETTING_Q24);
                }
            }
        }
        next_token(pooling);
        if (both) next_token(pooling);
    }
}
#endif

#endif
