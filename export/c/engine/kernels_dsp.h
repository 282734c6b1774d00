/* Kernels of Armv7E-M and Armv8-M with the DSP instructions: two products of 16 bits at once.
 *
 * What is done most often is written in assembly: it needs every register there is.
 */
#ifndef STUDENT_KERNELS_DSP_H
#define STUDENT_KERNELS_DSP_H

#include <arm_acle.h>

#include "arithmetic.h"

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

#define KERNEL_PRODUCTS
/* void student_less(const int16_t *a, const int16_t *b, const int16_t *weights, int32_t *sums): the 13 products of a - b
 * (14 numbers, in r4 to r10) with 14 weights each. student_plus: of a + b. 10 instructions for 14 products. */
#define STUDENT_PRODUCTS(name, operation)                                                                              \
    ".type " name ", %function\n.thumb_func\n" name ":\n"                                                                                         \
    "push {r4-r11, lr}\n"                                                                                              \
    "ldmia r0, {r4-r10}\n"                                                                                             \
    "ldmia r1!, {r0, r11, r12, lr}\n" operation " r4, r4, r0\n" operation " r5, r5, r11\n" operation " r6, r6, r12\n"  \
    operation " r7, r7, lr\n"                                                                                          \
    "ldmia r1, {r0, r11, r12}\n" operation " r8, r8, r0\n" operation " r9, r9, r11\n" operation " r10, r10, r12\n"     \
    ".rept 13\n"                                                                                                       \
    "ldmia r2!, {r0, r1, r11, r12}\n"                                                                                  \
    "smuad lr, r4, r0\n"                                                                                               \
    "smlad lr, r5, r1, lr\n"                                                                                           \
    "smlad lr, r6, r11, lr\n"                                                                                          \
    "smlad lr, r7, r12, lr\n"                                                                                          \
    "ldmia r2!, {r0, r1, r11}\n"                                                                                       \
    "smlad lr, r8, r0, lr\n"                                                                                           \
    "smlad lr, r9, r1, lr\n"                                                                                           \
    "smlad lr, r10, r11, lr\n"                                                                                         \
    "str lr, [r3], #4\n"                                                                                               \
    ".endr\n"                                                                                                          \
    "pop {r4-r11, pc}\n"

__asm__(".syntax unified\n.pushsection .text.student_products, \"ax\", %progbits\n.align 2\n" STUDENT_PRODUCTS(
    "student_less", "ssub16") STUDENT_PRODUCTS("student_plus", "sadd16") ".popsection\n");

void student_less(const int16_t *a, const int16_t *b, const int16_t *weights, int32_t *sums);
void student_plus(const int16_t *a, const int16_t *b, const int16_t *weights, int32_t *sums);

/* The products of one tile, along the bands as well: columns a, b, c, d. */
static void products(int16_t (*a)[14], int16_t (*b)[14], int16_t (*c)[14], int16_t (*d)[14], const int16_t *weights,
                     int32_t (*sums)[13])
{
    for (unsigned time = 0; time < 4; time++, weights += 4 * 13 * 14, sums += 4) {
        student_less(a[time], c[time], weights, sums[0]);
        student_plus(b[time], c[time], weights + 13 * 14, sums[1]);
        student_less(c[time], b[time], weights + 2 * 13 * 14, sums[2]);
        student_less(b[time], d[time], weights + 3 * 13 * 14, sums[3]);
    }
}

#if ATTENTION_BITS == 4
#define KERNEL_ATTEND_ROW
#define STUDENT_TEXT(x) #x
#define STUDENT_NUMBER(x) STUDENT_TEXT(x)

/* void student_attend(const uint32_t (*words)[2], const int16_t (*x)[2][2], struct attended *to): codes of 4 bits of one
 * row of lin (r8) and of sof (r9), two and two, times two tokens. 27 instructions for 32 products. */
#define STUDENT_CODES(shift, one, other)                                                                               \
    "and r12, r3, r8" shift "\n"                                                                                       \
    "smlad r4, r12, " one ", r4\n"                                                                                     \
    "smlad r5, r12, " other ", r5\n"                                                                                   \
    "and r12, r3, r9" shift "\n"                                                                                       \
    "smlad r6, r12, " one ", r6\n"                                                                                     \
    "smlad r7, r12, " other ", r7\n"
__asm__(".syntax unified\n.pushsection .text.student_attend, \"ax\", %progbits\n.align 2\n"
        ".type student_attend, %function\n.thumb_func\nstudent_attend:\n"
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
        "pop {r4-r11, pc}\n"
        ".popsection\n");

struct attended;
void student_attend(const uint32_t (*words)[2], const int16_t (*x)[2][2], struct attended *to);
#define attend_row(words, tokens, to) student_attend(words, (tokens)->x, to)
#endif

#endif
