/* The log-mel of as many frames at once as a vector has lanes. What `windowed` and `log_mel` of frontend.h do with a
 * number, this does with all lanes. */
#ifndef STUDENT_FRONTEND_X86_H
#define STUDENT_FRONTEND_X86_H

/* Samples 2 n and 2 n + 1 of every frame, less their means. */
INLINE void centred(const int16_t *pcm, unsigned n, vector means, vector *even, vector *odd)
{
    const vector pairs = gathered(pcm + 2 * n, V(mullo_epi32)(lane_numbers(), all(2 * STUDENT_HOP)));
    *even = V(sub_epi32)(V(slli_epi32)(V(srai_epi32)(V(slli_epi32)(pairs, 16), 16), 14), means);
    *odd = V(sub_epi32)(V(slli_epi32)(V(srai_epi32)(pairs, 16), 14), means);
}

INLINE vector magnitude_bits(vector x) { return BITS(xor)(x, V(srai_epi32)(x, 31)); }

/* Returns the shifts. Where all samples are the mean, they are zeros at any shift. */
static vector windowed(const int16_t *pcm, vector means, union bin *x)
{
    vector bits = all(0), even, odd;
    for (unsigned n = 0; n < COMPLEX; n++) {
        centred(pcm, n, means, &even, &odd);
        bits = BITS(or)(bits, BITS(or)(magnitude_bits(even), magnitude_bits(odd)));
        x[REVERSED[n]].z.re = (fixed)even;
        x[REVERSED[n]].z.im = (fixed)odd;
    }
    const vector shift = V(sub_epi32)(leading_zeros_of_32(bits), all(2));
    for (unsigned n = 0; n < COMPLEX; n++) {
        union bin *to = x + REVERSED[n];
        to->z.re = fixed_product((fixed)V(sllv_epi32)((vector)to->z.re, shift), HANN[2 * n]);
        to->z.im = fixed_product((fixed)V(sllv_epi32)((vector)to->z.im, shift), HANN[2 * n + 1]);
    }
    return shift;
}

/* Products with a weight of 16 bits. */
INLINE vector weighted(vector power, uint16_t weight)
{
    const vector by = all(weight);
    const vector high = V(slli_epi64)(V(mul_epu32)(V(srli_epi64)(power, 32), by), 32);
    return V(add_epi64)(V(mul_epu32)(power, by), high);
}

/* `log2_q16` of numbers of 64 bits less `unit`, NOTHING of zero. */
INLINE vector log2_lanes(vector even, vector odd, vector unit)
{
    const vector even_zeros = leading_zeros_of_64(even), odd_zeros = leading_zeros_of_64(odd);
    const vector zeros = in_odd_lanes(even_zeros, V(slli_epi64)(odd_zeros, 32));
    const vector even_mantissa = V(srli_epi64)(V(sllv_epi64)(even, even_zeros), 32);
    const vector mantissa = in_odd_lanes(even_mantissa, V(sllv_epi64)(odd, odd_zeros));
    const vector place = BITS(and)(V(srli_epi32)(mantissa, 25), all(63));
    const vector rest = BITS(and)(V(srli_epi32)(mantissa, 9), all(0xFFFF));
    const vector low = looked_up(LOG2_TABLE, place), high = looked_up(LOG2_TABLE + 1, place);
    const vector more = V(srli_epi32)(V(mullo_epi32)(V(sub_epi32)(high, low), rest), 16);
    const vector whole = V(slli_epi32)(V(sub_epi32)(all(63), zeros), 16);
    const vector found = V(sub_epi32)(V(add_epi32)(whole, V(add_epi32)(low, more)), unit);
    return where_positive(V(sub_epi32)(zeros, all(63)), all(NOTHING), found);
}

static void log_mel_lanes(const int16_t *pcm, vector means, union bin *x, int32_t (*bands)[LANES])
{
    const uint16_t *weight = MEL_WEIGHTS;
    const vector shift = windowed(pcm, means, x);
    transform(x);
    spectrum_power(x);
    const vector unit = V(slli_epi32)(V(add_epi32)(V(slli_epi32)(shift, 1), all(2 * (PEAK_BITS - 15) - 14 + 22)), 16);
    for (unsigned band = 0; band < STUDENT_BANDS; band++) {
        vector even = all(0), odd = all(0);
        for (unsigned k = MEL_FIRST[band]; k < MEL_END[band]; k++, weight++) {
            even = V(add_epi64)(even, weighted(x[k].power.even, *weight));
            odd = V(add_epi64)(odd, weighted(x[k].power.odd, *weight));
        }
        store(bands[band], log2_lanes(even, odd, unit));
    }
}

static void log_mels(const int16_t *pcm, const int32_t *means, unsigned frames, union bin *x,
                     int32_t (*bands)[STUDENT_BANDS])
{
    for (unsigned first = 0; first < frames; first += LANES) {
        int32_t found[STUDENT_BANDS][LANES];
        log_mel_lanes(pcm + first * STUDENT_HOP, load(means + first), x, found);
        for (unsigned lane = 0; lane < LANES; lane++) {
            for (unsigned band = 0; band < STUDENT_BANDS; band++) bands[first + lane][band] = found[band][lane];
        }
    }
}

#endif
