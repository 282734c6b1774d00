/* Kernels for processors of the x86 family: AVX-512 with VNNI, or AVX2, with or without VNNI.
 *
 * A vector holds as many rows (time steps) as it has lanes of 32 bits. In each lane stand four channels of 8 bits,
 * which one instruction multiplies by four weights and adds up. Three such words hold twelve channels of a band; the
 * one left over stands in a fourth word between the same channel of both neighbouring bands. So the 117 products of an
 * output are 30 words of four, and no channel is padded.
 *
 * A window is [bands + 2][WORDS][STUDENT_WINDOW_ROWS] words: a band of zeros on either side, time last. Sums are whole
 * numbers of 32 bits that never overflow, so they are those of the portable kernels in whatever order they are added.
 */
#ifndef STUDENT_KERNELS_X86_H
#define STUDENT_KERNELS_X86_H

#include <immintrin.h>

#define CHANNELS 13

/* Words of a band: three of four channels, and the channel left over with its neighbours. */
#define WORDS 4
#define LEFT_OVER 3

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* What differs between the two. DOT adds four products a lane, unsigned levels by signed weights, the same four weights
 * in every lane; DOTS those of four weights a lane. Without VNNI pairs of products are added in 16 bits, which 2 * 63 *
 * 255 does not leave: no weight is beyond 63. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512CD__)

#define LANES 16
#define V(name) _mm512_##name
#define BITS(name) _mm512_##name##_si512
typedef __m512i vector;

/* In assembly, since compilers would rather load the weights before, and run out of registers. */
#define DOT(sum, levels, weights) __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(levels), "m"(weights))
#define DOTS(sum, levels, weights) ((sum) = _mm512_dpbusd_epi32(sum, levels, weights))

INLINE vector load(const void *from) { return _mm512_loadu_si512(from); }
INLINE void store(void *to, vector x) { _mm512_storeu_si512(to, x); }
INLINE vector sixteen_bytes(__m128i x) { return _mm512_broadcast_i32x4(x); }
INLINE vector in_odd_lanes(vector even, vector odd) { return _mm512_mask_blend_epi32(0xAAAA, even, odd); }
INLINE int any_positive(vector x) { return _mm512_cmpgt_epi32_mask(x, _mm512_setzero_si512()) != 0; }

/* Lanes 0, 2, 4, ... of two vectors behind each other. */
INLINE vector every_other(vector a, vector b)
{
    const vector places = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_epi32(a, places, b);
}

/* Numbers of 64 bits that lie behind each other, by even and odd ones, and back. */
INLINE void take_apart(const int64_t *from, vector *to)
{
    const vector first = load(from), second = load(from + LANES / 2);
    to[0] = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), second);
    to[1] = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), second);
}

INLINE void put_together(const vector *from, int64_t *to)
{
    store(to, _mm512_permutex2var_epi64(from[0], _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), from[1]));
    store(to + LANES / 2, _mm512_permutex2var_epi64(from[0], _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), from[1]));
}

/* What lies at `from` + places (in bytes). */
INLINE vector gathered(const void *from, vector places) { return _mm512_i32gather_epi32(places, from, 1); }

/* Where x is positive a, elsewhere b. */
INLINE vector where_positive(vector x, vector a, vector b)
{
    return _mm512_mask_blend_epi32(_mm512_cmpgt_epi32_mask(x, _mm512_setzero_si512()), b, a);
}

INLINE vector lane_numbers(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

INLINE vector leading_zeros_of_32(vector x) { return _mm512_lzcnt_epi32(x); }
INLINE vector leading_zeros_of_64(vector x) { return _mm512_lzcnt_epi64(x); }

/* What a table of 64 words has at places 0 to 63. */
INLINE vector looked_up(const void *table, vector places)
{
    const uint8_t *at = (const uint8_t *)table;
    vector low = _mm512_permutex2var_epi32(load(at), places, load(at + 64));
    vector high = _mm512_permutex2var_epi32(load(at + 128), places, load(at + 192));
    return _mm512_mask_blend_epi32(_mm512_test_epi32_mask(places, _mm512_set1_epi32(32)), low, high);
}

#else

#define LANES 8
#define V(name) _mm256_##name
#define BITS(name) _mm256_##name##_si256
typedef __m256i vector;

INLINE vector load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
INLINE void store(void *to, vector x) { _mm256_storeu_si256((__m256i *)to, x); }
INLINE vector sixteen_bytes(__m128i x) { return _mm256_broadcastsi128_si256(x); }
INLINE vector in_odd_lanes(vector even, vector odd) { return _mm256_blend_epi32(even, odd, 0xAA); }
INLINE int any_positive(vector x) { return _mm256_movemask_epi8(_mm256_cmpgt_epi32(x, _mm256_setzero_si256())) != 0; }

INLINE vector dotted(vector sum, vector levels, vector weights)
{
#if defined(__AVXVNNI__)
    return _mm256_dpbusd_avx_epi32(sum, levels, weights);
#elif defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpbusd_epi32(sum, levels, weights);
#else
    vector pairs = _mm256_maddubs_epi16(levels, weights);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}

#define DOT(sum, levels, weights) ((sum) = dotted(sum, levels, _mm256_set1_epi32(weights)))
#define DOTS(sum, levels, weights) ((sum) = dotted(sum, levels, weights))

INLINE vector every_other(vector a, vector b)
{
    __m256 quarters = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(quarters), 0xD8);
}

INLINE void take_apart(const int64_t *from, vector *to)
{
    const vector first = load(from), second = load(from + LANES / 2);
    to[0] = _mm256_permute4x64_epi64(_mm256_unpacklo_epi64(first, second), 0xD8);
    to[1] = _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(first, second), 0xD8);
}

INLINE void put_together(const vector *from, int64_t *to)
{
    const vector first = _mm256_unpacklo_epi64(from[0], from[1]), second = _mm256_unpackhi_epi64(from[0], from[1]);
    store(to, _mm256_permute2x128_si256(first, second, 0x20));
    store(to + LANES / 2, _mm256_permute2x128_si256(first, second, 0x31));
}

INLINE vector gathered(const void *from, vector places)
{
    return _mm256_i32gather_epi32((const int *)from, places, 1);
}

INLINE vector where_positive(vector x, vector a, vector b)
{
    return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi32(x, _mm256_setzero_si256()));
}

INLINE vector lane_numbers(void) { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }

INLINE vector leading_zeros_of_32(vector x)
{
    uint32_t lanes[LANES];
    store(lanes, x);
    for (unsigned lane = 0; lane < LANES; lane++) lanes[lane] = lanes[lane] ? (unsigned)__builtin_clz(lanes[lane]) : 32;
    return load(lanes);
}

INLINE vector leading_zeros_of_64(vector x)
{
    uint64_t lanes[LANES / 2];
    store(lanes, x);
    for (unsigned lane = 0; lane < LANES / 2; lane++) {
        lanes[lane] = lanes[lane] ? (unsigned)leading_zeros(lanes[lane]) : 64;
    }
    return load(lanes);
}

INLINE vector looked_up(const void *table, vector places)
{
    return _mm256_i32gather_epi32((const int *)table, places, 4);
}

#endif

INLINE vector all(int32_t x) { return V(set1_epi32)(x); }
INLINE vector least(vector a, vector b) { return V(min_epi32)(a, b); }
INLINE vector most(vector a, vector b) { return V(max_epi32)(a, b); }
INLINE vector most_of_bytes(vector a, vector b) { return V(max_epu8)(a, b); }

INLINE int32_t int32_at(const void *from)
{
    int32_t x;
    memcpy(&x, from, sizeof x);
    return x;
}

/* Products of 64 bits, of the lanes 0, 2, 4, ... and of those between. */
INLINE vector even_product(vector a, vector b) { return V(mul_epi32)(a, b); }
INLINE vector odd_product(vector a, vector b) { return V(mul_epi32)(V(srli_epi64)(a, 32), V(srli_epi64)(b, 32)); }

/* (sum * scale + 2^31) >> 32: `requantised`, not yet cut off. */
INLINE vector scaled(vector sum, int32_t scale)
{
    const vector by = all(scale), half = V(slli_epi64)(V(srli_epi64)(all(-1), 63), 31);
    vector even = V(srli_epi64)(V(add_epi64)(even_product(sum, by), half), 32);
    return in_odd_lanes(even, V(add_epi64)(odd_product(sum, by), half));
}

/* Four channels, cut off to 0..255, as the four bytes of each lane. */
INLINE vector in_one_word(vector a, vector b, vector c, vector d)
{
    const __m128i turned = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    vector bytes = V(packus_epi16)(V(packs_epi32)(a, b), V(packs_epi32)(c, d));
    return V(shuffle_epi8)(bytes, sixteen_bytes(turned));
}

/* The channel left over, band by band: a word holds it of the band below, of its own and of that above. */
struct left_over {
    vector below, here;
};

/* It is `last` in the next band, which completes the word of the band before, at `to`. */
INLINE void next_left_over(struct left_over *held, vector last, uint8_t *to)
{
    store(to, BITS(or)(held->below, V(slli_epi32)(last, 16)));
    held->below = BITS(or)(held->here, V(slli_epi32)(last, 8));
    held->here = last;
}

#define KERNEL_FRAMES 1

/* Of one number a lane; memory has no more than it needs for one. */
#if LANES == 16
typedef int32_t fixed __attribute__((vector_size(64), aligned(4)));
typedef __m512i_u anywhere;
#else
typedef int32_t fixed __attribute__((vector_size(32), aligned(4)));
typedef __m256i_u anywhere;
#endif

/* Of 64 bits: even lanes and odd ones. */
typedef struct {
    anywhere even, odd;
} power;

/* `high_product` */
INLINE fixed fixed_product(fixed a, int32_t b)
{
    const vector x = (vector)a, by = all(b);
    return (fixed)in_odd_lanes(V(srli_epi64)(even_product(x, by), 32), odd_product(x, by));
}

INLINE power power_of(fixed re, fixed im)
{
    const vector x = (vector)re, y = (vector)im;
    power found;
    found.even = V(srli_epi64)(V(add_epi64)(even_product(x, x), even_product(y, y)), 14);
    found.odd = V(srli_epi64)(V(add_epi64)(odd_product(x, x), odd_product(y, y)), 14);
    return found;
}

#define KERNEL_WINDOWS 1

#define WORD_BYTES (4 * STUDENT_WINDOW_ROWS)
#define BAND_BYTES (WORDS * WORD_BYTES)

static void kernel_clear(uint8_t *window, unsigned bands, unsigned row)
{
    for (unsigned at = 0; at < (bands + 2) * WORDS; at++) memset(window + at * WORD_BYTES + 4 * row, 0, 4);
}

static void kernel_slide(uint8_t *window, unsigned bands, unsigned by)
{
    for (unsigned at = 0; at < (bands + 2) * WORDS; at++, window += WORD_BYTES) memcpy(window, window + 4 * by, 8);
}

/* Products of three rows following each other, in a word at `at`, for every channel of the output. */
INLINE void add_products(vector *sums, const uint8_t *at, const int32_t (*weights)[CHANNELS])
{
    const vector before = load(at), here = load(at + 4), after = load(at + 8);
    UNROLLED for (unsigned o = 0; o < CHANNELS; o++) DOT(sums[o], before, weights[0][o]);
    UNROLLED for (unsigned o = 0; o < CHANNELS; o++) DOT(sums[o], here, weights[1][o]);
    UNROLLED for (unsigned o = 0; o < CHANNELS; o++) DOT(sums[o], after, weights[2][o]);
}

/* Sums to levels, to words of a band at `to`. */
INLINE void put_levels(vector *sums, const int32_t *scale, struct left_over *held, uint8_t *to)
{
    UNROLLED for (unsigned o = 0; o < CHANNELS; o++) sums[o] = scaled(sums[o], scale[o]);
    UNROLLED for (unsigned o = 0; o + 4 <= CHANNELS; o += 4, to += WORD_BYTES) {
        store(to, in_one_word(sums[o], sums[o + 1], sums[o + 2], sums[o + 3]));
    }
    next_left_over(held, least(most(sums[CHANNELS - 1], all(0)), all(255)), to - BAND_BYTES);
}

#define KERNEL_FIRST 1

/* Its three bands are a word: levels of a band and of both its neighbours. */
static void kernel_first(const uint8_t *mel, uint8_t *out, unsigned at)
{
    uint8_t words[STUDENT_BANDS][WORD_BYTES];
    for (unsigned row = 0; row < STUDENT_WINDOW_ROWS; row++, mel += STUDENT_MEL_ROW) {
        for (unsigned band = 0; band < STUDENT_BANDS; band++) memcpy(words[band] + 4 * row, mel + band, 4);
    }
    for (unsigned row = 0; row < STUDENT_ROWS; row += LANES) {
        struct left_over held = {all(0), all(0)};
        uint8_t *to = out + BAND_BYTES + 4 * (at + row);
        for (unsigned band = 0; band < STUDENT_BANDS; band++, to += BAND_BYTES) {
            vector sums[CHANNELS];
            UNROLLED for (unsigned o = 0; o < CHANNELS; o++) sums[o] = all(FIRST_BIAS[o]);
            add_products(sums, words[band] + 4 * row, FIRST_WORDS);
            put_levels(sums, FIRST_SCALE, &held, to);
        }
        next_left_over(&held, all(0), to + (LEFT_OVER * WORD_BYTES - BAND_BYTES));
    }
}

#define KERNEL_CONV 1

struct kernel_conv_scratch {
    uint8_t none;
};

static void kernel_conv(unsigned layer, unsigned bands, const uint8_t *in, uint8_t *out, unsigned at,
                        struct kernel_conv_scratch *scratch)
{
    (void)scratch;
    for (unsigned row = 0; row < STUDENT_ROWS; row += LANES) {
        struct left_over held = {all(0), all(0)};
        const uint8_t *from = in + 4 * row;
        uint8_t *to = out + BAND_BYTES + 4 * (at + row);
        for (unsigned band = 0; band < bands; band++, from += BAND_BYTES, to += BAND_BYTES) {
            const int32_t(*weights)[CHANNELS] = CONV_WORDS[layer];
            vector sums[CHANNELS];
            UNROLLED for (unsigned o = 0; o < CHANNELS; o++) sums[o] = all(CONV_BIAS[layer][o]);
            for (unsigned near = 0; near < 3; near++) {
                for (unsigned word = 0; word < LEFT_OVER; word++, weights += 3) {
                    add_products(sums, from + near * BAND_BYTES + word * WORD_BYTES, weights);
                }
            }
            add_products(sums, from + BAND_BYTES + LEFT_OVER * WORD_BYTES, weights);
            put_levels(sums, CONV_SCALE[layer], &held, to);
        }
        next_left_over(&held, all(0), to + (LEFT_OVER * WORD_BYTES - BAND_BYTES));
    }
}

#define KERNEL_POOL 1

/* The largest of three rows following each other, at every second row from `at` on. */
INLINE vector most_of_rows(const uint8_t *at)
{
    vector rows[2];
    for (unsigned half = 0; half < 2; half++, at += 4 * LANES) {
        rows[half] = most_of_bytes(most_of_bytes(load(at), load(at + 4)), load(at + 8));
    }
    return every_other(rows[0], rows[1]);
}

static void kernel_pool(const uint8_t *in, unsigned from, uint8_t *out, unsigned at)
{
    for (unsigned row = 0; row < STUDENT_ROWS / 2; row += LANES) {
        struct left_over held = {all(0), all(0)};
        const uint8_t *x = in + 4 * (from + 2 * row);
        uint8_t *to = out + BAND_BYTES + 4 * (at + row);
        for (unsigned band = 0; band < STUDENT_HALF; band++, x += 2 * BAND_BYTES, to += BAND_BYTES) {
            for (unsigned word = 0; word < LEFT_OVER; word++) {
                const uint8_t *y = x + word * WORD_BYTES;
                vector outer = most_of_bytes(most_of_rows(y), most_of_rows(y + 2 * BAND_BYTES));
                store(to + word * WORD_BYTES, most_of_bytes(outer, most_of_rows(y + BAND_BYTES)));
            }
            vector three = most_of_rows(x + BAND_BYTES + LEFT_OVER * WORD_BYTES);
            vector outer = most_of_bytes(three, V(srli_epi32)(three, 16));
            vector last = BITS(and)(most_of_bytes(outer, V(srli_epi32)(three, 8)), all(255));
            next_left_over(&held, last, to + (LEFT_OVER * WORD_BYTES - BAND_BYTES));
        }
        next_left_over(&held, all(0), to + (LEFT_OVER * WORD_BYTES - BAND_BYTES));
    }
}

#define KERNEL_ATTEND 1

struct kernel_attend_scratch {
    uint8_t none;
};

/* Tokens whose products are added up at once: as many as there are registers for. */
#define TOKENS (LANES / 2)

/* Bands that lin and sof see at once. */
#define PART_BANDS (STUDENT_HALF / STUDENT_TOKEN_PARTS)

/* Values and scores of as many tokens. */
struct products {
    vector values[TOKENS], scores[TOKENS];
};

INLINE void add_token_word(struct products *sums, const uint8_t *at, unsigned word, unsigned place)
{
    const vector lin = load(&LIN_WORDS[word][place]), sof = load(&SOF_WORDS[word][place]);
    UNROLLED for (unsigned token = 0; token < TOKENS; token++) {
        const vector x = all(int32_at(at + 4 * token));
        DOTS(sums->values[token], x, lin);
        DOTS(sums->scores[token], x, sof);
    }
}

/* Rows `place` on of lin and sof, times tokens from `at` on. The words of the channel left over overlap no more than
 * they have to: every third band's, and the last one's. */
INLINE void multiply(struct products *sums, const uint8_t *at, unsigned place)
{
    UNROLLED for (unsigned token = 0; token < TOKENS; token++) sums->values[token] = sums->scores[token] = all(0);
    unsigned word = 0;
    for (unsigned band = 0; band < PART_BANDS; band++) {
        for (unsigned four = 0; four < LEFT_OVER; four++) {
            add_token_word(sums, at + band * BAND_BYTES + four * WORD_BYTES, word++, place);
        }
    }
    for (unsigned three = 0; three < PART_BANDS; three += 3) {
        unsigned band = three + 1 < PART_BANDS ? three + 1 : three;
        add_token_word(sums, at + band * BAND_BYTES + LEFT_OVER * WORD_BYTES, word++, place);
    }
}

/* What the pooling carries on for LANES rows; sums of 64 bits by even and odd ones. */
struct carried {
    vector reference, values[2], weights[2];
};

INLINE void take_up(struct carried *to, const struct pooling *pooling, unsigned at)
{
    to->reference = load(&pooling->reference[at]);
    take_apart(&pooling->values[at], to->values);
    take_apart(&pooling->weights[at], to->weights);
}

INLINE void lay_down(const struct carried *from, struct pooling *pooling, unsigned at)
{
    store(&pooling->reference[at], from->reference);
    put_together(from->values, &pooling->values[at]);
    put_together(from->weights, &pooling->weights[at]);
}

/* Seldom: `raise` where by is above zero. */
static __attribute__((noinline)) void raise_lanes(struct carried *carried, struct pooling *pooling, unsigned at,
                                                  vector by)
{
    int32_t higher[LANES];
    store(higher, by);
    lay_down(carried, pooling, at);
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (higher[lane] > 0) raise(pooling, at + lane, higher[lane]);
    }
    take_up(carried, pooling, at);
}

/* `exp2_q20` */
INLINE vector exp2_lanes(vector x)
{
    const vector place = BITS(and)(V(srli_epi32)(x, 10), all(63)), rest = BITS(and)(x, all(1023));
    const vector high = looked_up(EXP2_TABLE, place), low = looked_up(EXP2_TABLE + 1, place);
    const vector less = V(srli_epi32)(V(madd_epi16)(V(sub_epi32)(high, low), rest), 10);
    return V(srlv_epi32)(V(sub_epi32)(high, less), V(srli_epi32)(x, 16));
}

/* `carry`, of the rows from `at` on. */
INLINE void carry_lanes(struct carried *carried, struct pooling *pooling, unsigned at, vector value, vector score,
                        vector scale, uint32_t ramp)
{
    const vector limit = all(SCORE_LIMIT);
    vector even = V(srli_epi64)(even_product(score, scale), 16), odd = V(slli_epi64)(odd_product(score, scale), 16);
    vector height = least(most(in_odd_lanes(even, odd), V(sub_epi32)(all(0), limit)), limit);
    height = V(add_epi32)(height, all((int32_t)(ramp >> 8)));
    vector above = V(sub_epi32)(V(srai_epi32)(V(add_epi32)(height, all(65535)), 16), carried->reference);
    if (any_positive(above)) raise_lanes(carried, pooling, at, above);
    vector weight = exp2_lanes(V(sub_epi32)(V(slli_epi32)(carried->reference, 16), height));
    carried->values[0] = V(add_epi64)(carried->values[0], even_product(value, weight));
    carried->values[1] = V(add_epi64)(carried->values[1], odd_product(value, weight));
    carried->weights[0] = V(add_epi64)(carried->weights[0], V(srli_epi64)(V(slli_epi64)(weight, 32), 32));
    carried->weights[1] = V(add_epi64)(carried->weights[1], V(srli_epi64)(weight, 32));
    even = V(srli_epi64)(carried->weights[0], 41);
    odd = V(slli_epi64)(V(srli_epi64)(carried->weights[1], 41), 32);
    if (any_positive(BITS(or)(even, odd))) raise_lanes(carried, pooling, at, BITS(or)(even, odd));
}

static void kernel_attend(const uint8_t *tokens, unsigned first, unsigned end, struct pooling *pooling,
                          struct kernel_attend_scratch *scratch)
{
    (void)scratch;
    for (unsigned row = first; row < end; row += TOKENS) {
        unsigned count = end - row < TOKENS ? end - row : TOKENS;
        for (unsigned part = 0; part < STUDENT_TOKEN_PARTS; part++) {
            const uint8_t *from = tokens + (part + 1) * BAND_BYTES + 4 * row;
            for (unsigned place = 0; place < STUDENT_LIN_PLACES; place += LANES) {
                const unsigned at = part * STUDENT_LIN_PLACES + place;
                const vector scale = load(&SCORE_SCALE[place]);
                struct products sums;
                struct carried carried;
                multiply(&sums, from, place);
                take_up(&carried, pooling, at);
                uint32_t ramp = pooling->ramp;
                for (unsigned token = 0; token < count; token++, ramp += FORGETTING_Q24) {
                    carry_lanes(&carried, pooling, at, sums.values[token], sums.scores[token], scale, ramp);
                }
                lay_down(&carried, pooling, at);
            }
        }
        for (unsigned token = 0; token < count; token++) next_token(pooling);
    }
}

#endif
