/* Whole-number arithmetic that is the same to the last bit on every processor. */
#ifndef STUDENT_ARITHMETIC_H
#define STUDENT_ARITHMETIC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "student_weights.h"

/* Both used below: a shift of a negative number to the right keeps its sign, as on every compiler there is. */
typedef char student_shifts_keep_the_sign[(-1 >> 1) == -1 ? 1 : -1];

static inline int32_t high_product(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b) >> 32); }

/* Sum of products to level: sum * scale / 2^32 to the nearest, within 0..255. */
#ifndef requantised
static inline uint8_t portable_requantised(int32_t sum, int32_t scale)
{
    int32_t level = (int32_t)(((int64_t)sum * scale + 0x80000000LL) >> 32);
    return (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
}
#define requantised portable_requantised
#endif

static inline int leading_zeros(uint64_t x)
{
#if defined(__GNUC__)
    uint32_t high = (uint32_t)(x >> 32);
    return high ? __builtin_clz(high) : 32 + __builtin_clz((uint32_t)x);
#else
    int count = 0;
    while (!(x >> 63)) {
        x <<= 1;
        count++;
    }
    return count;
#endif
}

/* log2(x) in units of 2^-16, x > 0: off by at most 4. */
static int32_t log2_q16(uint64_t x)
{
    int zeros = leading_zeros(x);
    uint32_t mantissa = (uint32_t)((x << zeros) >> 32); /* 1.31 */
    uint32_t place = (mantissa >> 25) & 63, rest = (mantissa >> 9) & 0xFFFF;
    int32_t low = LOG2_TABLE[place], high = LOG2_TABLE[place + 1];
    return (63 - zeros) * 65536 + low + (int32_t)(((uint32_t)(high - low) * rest) >> 16);
}

/* 2^(-x / 2^16) in units of 2^-20, x >= 0: off by at most 2e-5 of itself and one unit. */
static inline uint32_t exp2_q20(uint32_t x)
{
    uint32_t place = (x >> 10) & 63, rest = x & 1023, whole = x >> 16;
    uint32_t high = EXP2_TABLE[place], low = EXP2_TABLE[place + 1];
    uint32_t value = high - (((high - low) * rest) >> 10);
    return whole > 20 ? 0 : value >> whole;
}

#endif
