/* Kernels of the Thumb-2 cores: Armv7-M (Cortex-M3), and with the DSP instructions, which multiply two pairs of 16 bits at
 * once, Armv7E-M and Armv8-M (Cortex-M4, M7, M33).
 *
 * What is done most often is in assembly: it needs every register there is, and the instructions that load several.
 */
#ifndef STUDENT_KERNELS_THUMB_H
#define STUDENT_KERNELS_THUMB_H

#include "arithmetic.h"

/* A function; its arguments are in r0 to r3. */
#define STUDENT_FUNCTION(name) ".align 2\n.global " #name "\n.type " #name ", %function\n.thumb_func\n" #name ":\n"
#define STUDENT_ASSEMBLY(section, text)                                                                                \
    __asm__(".syntax unified\n.pushsection .text." section ", \"ax\", %progbits\n" text ".popsection\n")

#define STUDENT_TEXT(x) #x
#define STUDENT_NUMBER(x) STUDENT_TEXT(x)

#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>

static inline uint8_t dsp_requantised(int32_t sum, int32_t scale)
{
    int32_t level;
    __asm__("smmulr %0, %1, %2" : "=r"(level) : "r"(sum), "r"(scale));
    return (uint8_t)__usat(level, 8);
}
#undef requantised
#define requantised dsp_requantised

static inline uint32_t word_at(const void *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Bytes 0 and 2 of a word, and bytes 1 and 3, as two numbers of 16 bits. */
static inline int16x2_t even_bytes(uint32_t word) { return (int16x2_t)__uxtb16(word); }
static inline int16x2_t odd_bytes(uint32_t word) { return (int16x2_t)__uxtb16(word >> 8 | word << 24); }

#if STUDENT_BANDS % 2 == 0
#define KERNEL_FIRST
/* The first convolution, of two bands at a time: four bytes of three rows serve both. See kernels_portable.h. */
static void kernel_first(const uint8_t *mel, uint8_t *out, unsigned at)
{
    for (unsigned row = 0; row < STUDENT_ROWS; row++) {
        const uint8_t *in = mel + row * STUDENT_MEL_ROW;
        uint8_t *to = out + (at + row) * STUDENT_BANDS * STUDENT_LANES;
        for (unsigned band = 0; band < STUDENT_BANDS; band += 2, in += 2, to += STUDENT_LANES) {
            uint32_t x = word_at(in), y = word_at(in + STUDENT_MEL_ROW), z = word_at(in + 2 * STUDENT_MEL_ROW);
            int16x2_t x0 = even_bytes(x), y0 = even_bytes(y), z0 = even_bytes(z);
            int16x2_t x1 = odd_bytes(x), y1 = odd_bytes(y), z1 = odd_bytes(z);
            for (unsigned channel = 0; channel < 13; channel++, to++) {
                const int16_t *w = FIRST_WEIGHTS[channel];
                int16x2_t outer_x = (int16x2_t)word_at(w), outer_y = (int16x2_t)word_at(w + 2);
                int16x2_t outer_z = (int16x2_t)word_at(w + 4);
                int32_t middle_xy = (int32_t)word_at(w + 6), middle_z = (int32_t)word_at(w + 8);
                int32_t left = FIRST_BIAS[channel], right = left;
                left = __smlad(x0, outer_x, left);
                right = __smlad(x1, outer_x, right);
                left = __smlad(y0, outer_y, left);
                right = __smlad(y1, outer_y, right);
                left = __smlad(z0, outer_z, left);
                right = __smlad(z1, outer_z, right);
                left = __smlabb(x1, middle_xy, left);
                right = __smlatb(x0, middle_xy, right);
                left = __smlabt(y1, middle_xy, left);
                right = __smlatt(y0, middle_xy, right);
                left = __smlabb(z1, middle_z, left);
                right = __smlatb(z0, middle_z, right);
                to[0] = requantised(left, FIRST_SCALE[channel]);
                to[STUDENT_LANES] = requantised(right, FIRST_SCALE[channel]);
            }
            to += STUDENT_LANES - 13;
        }
    }
}
#endif

#define KERNEL_COLUMN
/* A band of four rows into Winograd's domain, along time. */
static void column_of(const uint8_t *in, unsigned stride, int16_t (*to)[14])
{
    int16x2_t *first = (int16x2_t *)(void *)to[0], *second = first + 7, *third = first + 14, *fourth = first + 21;
    for (unsigned four = 0; four < 4; four++, in += 4) {
        uint32_t a = word_at(in), b = word_at(in + stride), c = word_at(in + 2 * stride), d = word_at(in + 3 * stride);
        int16x2_t b2 = even_bytes(b), c2 = even_bytes(c);
        *first++ = __ssub16(even_bytes(a), c2);
        *second++ = __sadd16(b2, c2);
        *third++ = __ssub16(c2, b2);
        *fourth++ = __ssub16(b2, even_bytes(d));
        if (four == 3) break; /* lanes 13 and 15 are zero */
        b2 = odd_bytes(b);
        c2 = odd_bytes(c);
        *first++ = __ssub16(odd_bytes(a), c2);
        *second++ = __sadd16(b2, c2);
        *third++ = __ssub16(c2, b2);
        *fourth++ = __ssub16(b2, odd_bytes(d));
    }
}

/* a and b combined, 14 numbers in r4 to r10; then 13 sums of their products with 14 weights each, ten instructions a
 * sum. */
#define STUDENT_PRODUCTS(operation)                                                                                    \
    "push {r4-r11, lr}\n"                                                                                              \
    "ldmia r0, {r4-r10}\n"                                                                                             \
    "ldmia r1!, {r0, r11, r12, lr}\n"                                                                                  \
    operation "16 r4, r4, r0\n" operation "16 r5, r5, r11\n" operation "16 r6, r6, r12\n" operation "16 r7, r7, lr\n"  \
    "ldmia r1, {r0, r11, r12}\n"                                                                                       \
    operation "16 r8, r8, r0\n" operation "16 r9, r9, r11\n" operation "16 r10, r10, r12\n"                            \
    ".rept 13\n"                                                                                                       \
    "ldmia r2!, {r0, r1, r11, r12}\n"                                                                                  \
    "smuad lr, r4, r0\nsmlad lr, r5, r1, lr\nsmlad lr, r6, r11, lr\nsmlad lr, r7, r12, lr\n"                           \
    "ldmia r2!, {r0, r1, r11}\n"                                                                                       \
    "smlad lr, r8, r0, lr\nsmlad lr, r9, r1, lr\nsmlad lr, r10, r11, lr\n"                                             \
    "str lr, [r3], #64\n"                                                                                              \
    ".endr\n"                                                                                                          \
    "pop {r4-r11, pc}\n"
#define STUDENT_LESS "ssub"
#define STUDENT_PLUS "sadd"

/* sum (a register) times lr: a level. */
#define STUDENT_REQUANTISED(sum) "smmulr " sum ", " sum ", lr\nusat " sum ", #8, " sum "\n"

#else

/* The same with one product at a time: the first seven numbers, then, on top of that, the other six. 29 instructions a
 * sum, 13 of them products. */
#define STUDENT_X(register, at, operation)                                                                             \
    "ldrsh " register ", [r0, #" at "]\nldrsh r12, [r1, #" at "]\n" operation " " register ", " register ", r12\n"
#define STUDENT_TWICE(at, one, other)                                                                                  \
    "ldrsh r11, [r2, #student_at + " at "]\nldrsh lr, [r2, #student_at + 2 + " at "]\n"                                \
    "mla r12, r11, " one ", r12\nmla r12, lr, " other ", r12\n"
#define STUDENT_PRODUCTS(operation)                                                                                    \
    "push {r4-r11, lr}\n"                                                                                              \
    STUDENT_X("r4", "0", operation) STUDENT_X("r5", "2", operation) STUDENT_X("r6", "4", operation)                    \
    STUDENT_X("r7", "6", operation) STUDENT_X("r8", "8", operation) STUDENT_X("r9", "10", operation)                   \
    STUDENT_X("r10", "12", operation)                                                                                  \
    ".set student_at, 0\n"                                                                                             \
    ".rept 13\n"                                                                                                       \
    "ldrsh r11, [r2, #student_at]\n"                                                                                   \
    "mul r12, r11, r4\n"                                                                                               \
    STUDENT_TWICE("2", "r5", "r6") STUDENT_TWICE("6", "r7", "r8") STUDENT_TWICE("10", "r9", "r10")                     \
    "str r12, [r3, #student_at / 28 * 64]\n"                                                                           \
    ".set student_at, student_at + 28\n"                                                                               \
    ".endr\n"                                                                                                          \
    STUDENT_X("r4", "14", operation) STUDENT_X("r5", "16", operation) STUDENT_X("r6", "18", operation)                 \
    STUDENT_X("r7", "20", operation) STUDENT_X("r8", "22", operation) STUDENT_X("r9", "24", operation)                 \
    ".set student_at, 0\n"                                                                                             \
    ".rept 13\n"                                                                                                       \
    "ldr r12, [r3, #student_at / 28 * 64]\n"                                                                           \
    STUDENT_TWICE("14", "r4", "r5") STUDENT_TWICE("18", "r6", "r7") STUDENT_TWICE("22", "r8", "r9")                    \
    "str r12, [r3, #student_at / 28 * 64]\n"                                                                           \
    ".set student_at, student_at + 28\n"                                                                               \
    ".endr\n"                                                                                                          \
    "pop {r4-r11, pc}\n"
#define STUDENT_LESS "sub"
#define STUDENT_PLUS "add"

#define STUDENT_REQUANTISED(sum)                                                                                       \
    "smull r8, r9, " sum ", lr\nadds r8, r8, #0x80000000\nadc " sum ", r9, #0\nusat " sum ", #8, " sum "\n"
#endif

#define KERNEL_PRODUCTS
/* At one place of Winograd's domain: the 13 outputs' products with a - b, or with a + b. weights: [13][14]; sums: one in
 * 16. */
void student_less(const int16_t *a, const int16_t *b, const int16_t *weights, int32_t *sums);
void student_plus(const int16_t *a, const int16_t *b, const int16_t *weights, int32_t *sums);
STUDENT_ASSEMBLY("student_products", STUDENT_FUNCTION(student_less) STUDENT_PRODUCTS(STUDENT_LESS)
                                         STUDENT_FUNCTION(student_plus) STUDENT_PRODUCTS(STUDENT_PLUS));

/* The products of one tile, along the bands as well: columns a, b, c, d. */
static void products(int16_t (*a)[14], int16_t (*b)[14], int16_t (*c)[14], int16_t (*d)[14], const int16_t *weights,
                     int32_t (*sums)[16])
{
    int32_t *to = sums[0];
    for (unsigned time = 0; time < 4; time++, weights += 4 * 13 * 14, to += 4) {
        student_less(a[time], c[time], weights, to);
        student_plus(b[time], c[time], weights + 13 * 14, to + 1);
        student_less(c[time], b[time], weights + 2 * 13 * 14, to + 2);
        student_less(b[time], d[time], weights + 3 * 13 * 14, to + 3);
    }
}

#define KERNEL_OUTPUTS
/* Two by two outputs of the 13 channels, at above and below and 16 bytes behind them. */
void student_outputs(const int32_t (*sums)[16], const int32_t (*requant)[2], uint8_t *above, uint8_t *below);
STUDENT_ASSEMBLY("student_outputs", STUDENT_FUNCTION(student_outputs)
    "push {r4-r11, lr}\n"
    "add r4, r1, #13 * 8\n"
    "push {r4, r5}\n"
    "1:\n"
    "ldmia r0!, {r4-r7}\n"
    "add r4, r4, r5\nadd r4, r4, r6\nsub r5, r5, r6\nsub r5, r5, r7\n"
    "ldrd r12, lr, [r1], #8\n"
    "add r4, r4, r12\nadd r5, r5, r12\n"
    "ldmia r0!, {r6-r9}\n"
    "add r6, r6, r7\nadd r6, r6, r8\nsub r7, r7, r8\nsub r7, r7, r9\n"
    "add r4, r4, r6\nadd r5, r5, r7\nadd r6, r6, r12\nadd r7, r7, r12\n"
    "ldmia r0!, {r8-r11}\n"
    "add r8, r8, r9\nadd r8, r8, r10\nsub r9, r9, r10\nsub r9, r9, r11\n"
    "add r4, r4, r8\nadd r5, r5, r9\nsub r6, r6, r8\nsub r7, r7, r9\n"
    "ldmia r0!, {r8-r11}\n"
    "add r8, r8, r9\nadd r8, r8, r10\nsub r9, r9, r10\nsub r9, r9, r11\n"
    "sub r6, r6, r8\nsub r7, r7, r9\n"
    STUDENT_REQUANTISED("r4") STUDENT_REQUANTISED("r5") STUDENT_REQUANTISED("r6") STUDENT_REQUANTISED("r7")
    "strb r5, [r2, #16]\nstrb r4, [r2], #1\n"
    "strb r7, [r3, #16]\nstrb r6, [r3], #1\n"
    "ldr r12, [sp]\n"
    "cmp r1, r12\n"
    "bne 1b\n"
    "pop {r4, r5}\n"
    "pop {r4-r11, pc}\n");

/* Where there is no band on the right, what would be there goes nowhere. */
static void outputs(const int32_t (*sums)[16], const int32_t (*requant)[2], uint8_t *above, uint8_t *below, int right)
{
    uint8_t spare[64];
    if (right) {
        student_outputs(sums, requant, above, below);
        return;
    }
    student_outputs(sums, requant, spare, spare + 32);
    memcpy(above, spare, 13);
    memcpy(below, spare + 32, 13);
}

#if ATTENTION_BITS == 4
#define KERNEL_ATTEND_ROW
/* A row of lin and one of sof, words in turn, times two tokens: sums of codes of 4 bits. */
struct attended;
void student_attend(const uint32_t (*words)[2], const int16_t (*x)[2][2], struct attended *to);
#define attend_row(words, tokens, to) student_attend(words, (tokens)->x, to)

#if defined(__ARM_FEATURE_DSP)
/* 27 instructions for 32 products. */
#define STUDENT_CODES(shift, one, other)                                                                               \
    "and r12, r3, r8" shift "\nsmlad r4, r12, " one ", r4\nsmlad r5, r12, " other ", r5\n"                             \
    "and r12, r3, r9" shift "\nsmlad r6, r12, " one ", r6\nsmlad r7, r12, " other ", r7\n"
STUDENT_ASSEMBLY("student_attend", STUDENT_FUNCTION(student_attend)
    "push {r2, r4-r11, lr}\n"
    "mov r3, #0x000F000F\n"
    "movs r4, #0\nmovs r5, #0\nmovs r6, #0\nmovs r7, #0\n"
    ".rept " STUDENT_NUMBER(TOKEN_WORDS) "\n"
    "ldrd r8, r9, [r0], #8\n"
    "ldmia r1!, {r2, r10, r11, lr}\n" STUDENT_CODES("", "r2", "r10") STUDENT_CODES(", lsr #4", "r11", "lr")
    "ldmia r1!, {r2, r10, r11, lr}\n" STUDENT_CODES(", lsr #8", "r2", "r10") STUDENT_CODES(", lsr #12", "r11", "lr")
    ".endr\n"
    "pop {r2}\n"
    "stmia r2, {r4-r7}\n"
    "pop {r4-r11, pc}\n");
#else
/* 67 instructions for 32 products. */
#define STUDENT_CODE(place, at)                                                                                        \
    "ldrsh r10, [r1, #" at "]\nldrsh r11, [r1, #4 + " at "]\n"                                                         \
    "ubfx r12, r8, #" place ", #4\nubfx lr, r9, #" place ", #4\n"                                                      \
    "mla r4, r12, r10, r4\nmla r5, r12, r11, r5\nmla r6, lr, r10, r6\nmla r7, lr, r11, r7\n"
STUDENT_ASSEMBLY("student_attend", STUDENT_FUNCTION(student_attend)
    "push {r4-r11, lr}\n"
    "movs r3, #" STUDENT_NUMBER(TOKEN_WORDS) "\n"
    "movs r4, #0\nmovs r5, #0\nmovs r6, #0\nmovs r7, #0\n"
    "1:\n"
    "ldrd r8, r9, [r0], #8\n"
    STUDENT_CODE("0", "0") STUDENT_CODE("16", "2") STUDENT_CODE("4", "8") STUDENT_CODE("20", "10")
    STUDENT_CODE("8", "16") STUDENT_CODE("24", "18") STUDENT_CODE("12", "24") STUDENT_CODE("28", "26")
    "adds r1, r1, #32\n"
    "subs r3, r3, #1\n"
    "bne 1b\n"
    "stmia r2, {r4-r7}\n"
    "pop {r4-r11, pc}\n");
#endif

#elif defined(__ARM_FEATURE_DSP)
#define KERNEL_ATTEND_ROW
#define attend_row(words, tokens, to) attend_pairs(words, (tokens)->x, (to)->values, (to)->scores)

/* Weights of 8 bits: bytes 0 and 2 of a word, then 1 and 3. */
static void attend_pairs(const uint32_t (*words)[2], const int16_t (*x)[2][2], int32_t values[2], int32_t scores[2])
{
    int32_t value_a = 0, value_b = 0, score_a = 0, score_b = 0;
    for (unsigned word = 0; word < TOKEN_WORDS; word++, x += 2) {
        uint32_t lin = words[word][0], sof = words[word][1];
        for (unsigned pair = 0; pair < 2; pair++) {
            int16x2_t a = (int16x2_t)word_at(x[pair][0]), b = (int16x2_t)word_at(x[pair][1]);
            int16x2_t of_lin = __sxtb16((int8x4_t)lin), of_sof = __sxtb16((int8x4_t)sof);
            value_a = __smlad(of_lin, a, value_a);
            value_b = __smlad(of_lin, b, value_b);
            score_a = __smlad(of_sof, a, score_a);
            score_b = __smlad(of_sof, b, score_b);
            lin = lin >> 8 | lin << 24;
            sof = sof >> 8 | sof << 24;
        }
    }
    values[0] = value_a;
    values[1] = value_b;
    scores[0] = score_a;
    scores[1] = score_b;
}
#endif

#endif
