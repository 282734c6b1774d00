/* PCM to log-mel: frames under a Hann window, a real transform in 32 bits, power, mel triangles, logarithm by table.
 *
 * Every frame is scaled to the same peak before it is transformed, so what is quiet is as exact as what is loud, and
 * nothing overflows: with a peak of 2^(30 - log2 n) under the window, whose sum is n / 2, no part of twice the spectrum
 * reaches 2^30.
 */
#ifndef STUDENT_FRONTEND_H
#define STUDENT_FRONTEND_H

#include "arithmetic.h"

#define COMPLEX (STUDENT_FFT / 2)

/* 30 - log2 n: the bits of a windowed sample. */
#define PEAK_BITS (30 - STUDENT_FFT_BITS)

/* What the transform computes with: a number of 32 bits or, where a target says so, as many as a vector has lanes, each
 * of a frame of its own. */
#ifndef KERNEL_FRAMES
typedef int32_t fixed;
typedef uint64_t power;

static inline fixed fixed_product(fixed a, int32_t b) { return high_product(a, b); }

/* In units of 2^14. */
static inline power power_of(fixed re, fixed im)
{
    return ((uint64_t)((int64_t)re * re) + (uint64_t)((int64_t)im * im)) >> 14;
}
#endif

/* A bin of the spectrum, and afterwards its power. */
union bin {
    struct {
        fixed re, im;
    } z;
    power power;
};

/* Product with a root of unity of 1.31. */
static inline void turned(const union bin *b, const int32_t *root, fixed *re, fixed *im)
{
    *re = (fixed_product(b->z.re, root[0]) - fixed_product(b->z.im, root[1])) * 2;
    *im = (fixed_product(b->z.re, root[1]) + fixed_product(b->z.im, root[0])) * 2;
}

static inline void butterfly(union bin *a, union bin *b, fixed re, fixed im)
{
    b->z.re = a->z.re - re;
    b->z.im = a->z.im - im;
    a->z.re += re;
    a->z.im += im;
}

/* The first two steps of the transform, which multiply by 1 and -i alone. */
static void fourfold(union bin *x)
{
    fixed re = x[0].z.re, im = x[0].z.im, re2 = x[2].z.re, im2 = x[2].z.im;
    fixed sum_re = re + x[1].z.re, sum_im = im + x[1].z.im;
    fixed off_re = re - x[1].z.re, off_im = im - x[1].z.im;
    fixed sum2_re = re2 + x[3].z.re, sum2_im = im2 + x[3].z.im;
    fixed off2_re = re2 - x[3].z.re, off2_im = im2 - x[3].z.im;
    x[0].z.re = sum_re + sum2_re;
    x[0].z.im = sum_im + sum2_im;
    x[2].z.re = sum_re - sum2_re;
    x[2].z.im = sum_im - sum2_im;
    x[1].z.re = off_re + off2_im;
    x[1].z.im = off_im - off2_re;
    x[3].z.re = off_re - off2_im;
    x[3].z.im = off_im + off2_re;
}

/* Cooley and Tukey, decimation in time, in place; x stands in the order of reversed bits. */
static void transform(union bin *x)
{
    for (unsigned first = 0; first < COMPLEX; first += 4) fourfold(x + first);
    for (unsigned half = 4; half < COMPLEX; half *= 2) {
        for (unsigned first = 0; first < COMPLEX; first += 2 * half) {
            butterfly(x + first, x + first + half, x[first + half].z.re, x[first + half].z.im);
        }
        for (unsigned k = 1; k < half; k++) {
            const int32_t *root = ROOTS[k * (COMPLEX / half)];
            for (unsigned first = k; first < COMPLEX; first += 2 * half) {
                fixed re, im;
                turned(x + first + half, root, &re, &im);
                butterfly(x + first, x + first + half, re, im);
            }
        }
    }
}

/* From the transform of even samples (as real parts) and odd ones (imaginary) to the power of twice the spectrum of all
 * of them, in units of 2^14: bins 1 to n / 2 - 1. The first and the last have no weight in any mel band. */
static void spectrum_power(union bin *x)
{
    for (unsigned k = 1; k <= COMPLEX / 2; k++) {
        union bin *a = x + k, *b = x + COMPLEX - k, off;
        fixed even_re = a->z.re + b->z.re, even_im = a->z.im - b->z.im, re, im;
        off.z.re = a->z.re - b->z.re;
        off.z.im = a->z.im + b->z.im;
        turned(&off, ROOTS[k], &re, &im);
        fixed low_re = even_re + im, low_im = even_im - re, high_re = even_re - im, high_im = even_im + re;
        a->power = power_of(low_re, low_im);
        b->power = power_of(high_re, high_im);
    }
}

/* What no power reaches: log2 of it, in units of 2^-16. */
#define NOTHING (-64 * 65536)

#ifdef KERNEL_FRAMES
#include "frontend_x86.h"
#else
/* Samples less their mean (in units of 2^-14), scaled by 2^shift to 30 bits, under the window, as `transform` takes
 * them. Returns the shift, or -1 where all samples are the mean. */
static int windowed(const int16_t *pcm, int32_t mean, union bin *x)
{
    uint32_t bits = 0;
    for (unsigned n = 0; n < STUDENT_FFT; n++) {
        int32_t off = pcm[n] * 16384 - mean;
        bits |= (uint32_t)(off ^ (off >> 31));
    }
    if (bits == 0) return -1;
    int shift = leading_zeros(bits) - 34;
    for (unsigned n = 0; n < COMPLEX; n++) {
        union bin *to = x + REVERSED[n];
        int32_t even = (pcm[2 * n] * 16384 - mean) * (1 << shift), odd = (pcm[2 * n + 1] * 16384 - mean) * (1 << shift);
        to->z.re = high_product(even, HANN[2 * n]);
        to->z.im = high_product(odd, HANN[2 * n + 1]);
    }
    return shift;
}

/* Log2 of the mel power of a frame of PCM, in units of 2^-16, of samples as whole numbers: [STUDENT_BANDS]. */
static void log_mel(const int16_t *pcm, int32_t mean, union bin *x, int32_t *bands)
{
    const uint16_t *weight = MEL_WEIGHTS;
    int shift = windowed(pcm, mean, x);
    if (shift >= 0) {
        transform(x);
        spectrum_power(x);
    }
    /* A bin is (2 * 2^(14 + shift + PEAK_BITS - 30))^2 / 2^14 of what it would be of PCM, a weight 2^22. */
    int32_t unit = (2 * (shift + PEAK_BITS - 15) - 14 + 22) * 65536;
    for (unsigned band = 0; band < STUDENT_BANDS; band++) {
        uint64_t sum = 0;
        for (unsigned k = MEL_FIRST[band]; k < MEL_END[band]; k++) sum += x[k].power * *weight++;
        bands[band] = shift < 0 || sum == 0 ? NOTHING : log2_q16(sum) - unit;
    }
}

/* The same of as many frames as are heard at once, a hop apart: of one. */
static void log_mels(const int16_t *pcm, const int32_t *means, unsigned frames, union bin *x,
                     int32_t (*bands)[STUDENT_BANDS])
{
    for (unsigned frame = 0; frame < frames; frame++) log_mel(pcm + frame * STUDENT_HOP, means[frame], x, bands[frame]);
}
#endif

/* Log-mel less the level (both log2, in units of 2^-16), not below the floor, as the first convolution takes it. */
static inline uint8_t mel_level(int32_t band, int32_t level)
{
    int32_t off = band - level;
    if (off < MEL_FLOOR) off = MEL_FLOOR;
    int32_t found = MEL_ZERO + (int32_t)(((int64_t)off * MEL_SCALE + 0x80000000LL) >> 32);
    return (uint8_t)(found < 0 ? 0 : found > 255 ? 255 : found);
}

#endif
