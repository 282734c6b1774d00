/* Which kernels are compiled, how many rows they take at once, and how much memory follows from that. */
#ifndef STUDENT_GEOMETRY_H
#define STUDENT_GEOMETRY_H

#include "student_shape.h"

/* A target has one file of kernels (kernels_*.h). STUDENT_PORTABLE asks for plain C anywhere.
 *
 * STUDENT_ROWS: rows (time steps) that a layer takes at once, an even number; behind the pool they come half as often.
 * STUDENT_SIGNED_LEVELS: convolutions' weights as they are, for kernels that take 128 off the levels, and biases that
 * put it back; else they are transformed for Winograd's.
 * STUDENT_SCRATCH_BYTES: what kernels and transform use while they compute, and forget. */
#if !defined(STUDENT_PORTABLE) && defined(__ARM_FEATURE_MVE)
#define STUDENT_KERNELS_MVE 1
#define STUDENT_ROWS 2
#define STUDENT_SIGNED_LEVELS 1
#define STUDENT_SCRATCH_BYTES 2048
#elif !defined(STUDENT_PORTABLE) && defined(__thumb2__) && defined(__ARM_ARCH) && __ARM_ARCH_PROFILE == 'M'
#define STUDENT_KERNELS_THUMB 1
#define STUDENT_ROWS 2
#define STUDENT_SCRATCH_BYTES 1280
#elif !defined(STUDENT_PORTABLE) && defined(__AVX2__) && defined(__GNUC__)
#define STUDENT_KERNELS_X86 1
#define STUDENT_ROWS 32
#define STUDENT_FRAMES 16
#define STUDENT_WINDOW(bands) (((bands) + 2) * 4 * 4 * STUDENT_WINDOW_ROWS)
#define STUDENT_LAST_BEFORE 2
#define STUDENT_LAST STUDENT_WINDOW(STUDENT_HALF)
#define STUDENT_MEL_ROW (STUDENT_BANDS + 3)
#define STUDENT_LIN_PLACES ((STUDENT_LIN_ROWS + 15) / 16 * 16)
#define STUDENT_SCRATCH_BYTES (STUDENT_FFT * 64)
#else
#define STUDENT_KERNELS_PORTABLE 1
#define STUDENT_ROWS 2
#define STUDENT_SCRATCH_BYTES 1280
#endif

/* Kernels load several words at once. */
#if defined(__GNUC__)
#define STUDENT_ALIGNED __attribute__((aligned(16)))
#else
#define STUDENT_ALIGNED
#endif

/* Buffered, a clip goes through once and is answered at its end; the default is two passes. */
#ifndef STUDENT_MAX_SECONDS
#define STUDENT_MAX_SECONDS 0
#endif
#define STUDENT_BUFFERED (STUDENT_MAX_SECONDS > 0)
#define STUDENT_TWO_PASSES (!STUDENT_CAUSAL && !STUDENT_BUFFERED)

/* Channels of a band in memory, 13 and three of zeros; bands behind the pool; bytes of a row of log-mel, a level of
 * zero on either side of it. */
#define STUDENT_LANES 16
#define STUDENT_HALF ((STUDENT_BANDS + 1) / 2)
#ifndef STUDENT_MEL_ROW
#define STUDENT_MEL_ROW (STUDENT_BANDS + 2)
#endif

/* A window: the two rows before, and STUDENT_ROWS new ones. Behind the last convolution nothing looks back: a target
 * keeps STUDENT_LAST_BEFORE rows before the new ones there, if its kernels want them. */
#define STUDENT_WINDOW_ROWS (STUDENT_ROWS + 2)
#ifndef STUDENT_WINDOW
#define STUDENT_WINDOW(bands) (STUDENT_WINDOW_ROWS * (bands) * STUDENT_LANES)
#endif
#ifndef STUDENT_LAST_BEFORE
#define STUDENT_LAST_BEFORE 0
#endif
#ifndef STUDENT_LAST
#define STUDENT_LAST ((STUDENT_LAST_BEFORE + STUDENT_ROWS) * STUDENT_HALF * STUDENT_LANES)
#endif

/* A stream is answered behind every token. Where there are two rows at once, the layers behind the pool run for each;
 * where there are more, those that fill no window are computed when an answer is asked for, on a copy of what is pooled.
 */
#define STUDENT_TOKENS_AT_ONCE (STUDENT_CAUSAL && STUDENT_ROWS == 2 ? 1 : STUDENT_ROWS)
#define STUDENT_GLANCES (STUDENT_CAUSAL && STUDENT_ROWS > 2)

/* Frames that the transform takes at once, and the samples that they reach over. */
#ifndef STUDENT_FRAMES
#define STUDENT_FRAMES 1
#endif
#define STUDENT_SAMPLES (STUDENT_FFT + (STUDENT_FRAMES - 1) * STUDENT_HOP)

/* What the softmax pooling carries on: for lin by lin rows, and for each band apart in the 17K layout. */
#ifndef STUDENT_LIN_PLACES
#define STUDENT_LIN_PLACES STUDENT_LIN_ROWS
#endif
#define STUDENT_POOLED (STUDENT_LIN_PLACES * STUDENT_TOKEN_PARTS)

#if STUDENT_BUFFERED
#define STUDENT_MAX_FRAMES ((STUDENT_MAX_SECONDS * 16000L - STUDENT_FFT) / STUDENT_HOP + 1)
#define STUDENT_BUFFER_BYTES (STUDENT_MAX_FRAMES * STUDENT_BANDS * 2)
#else
#define STUDENT_BUFFER_BYTES 0
#endif

#define STUDENT_POOLING_BYTES (STUDENT_POOLED * 20)

/* Of the memory for student_init; student.c does not compile where it is not enough. */
#define STUDENT_MEMORY_BYTES                                                                                           \
    ((192 + STUDENT_SAMPLES * 2 + STUDENT_FRAMES * 8 + STUDENT_WINDOW_ROWS * STUDENT_MEL_ROW +                         \
      STUDENT_FINE * STUDENT_WINDOW(STUDENT_BANDS) + STUDENT_COARSE * STUDENT_WINDOW(STUDENT_HALF) + STUDENT_LAST +    \
      STUDENT_POOLING_BYTES * (1 + STUDENT_GLANCES) + STUDENT_SCRATCH_BYTES + STUDENT_BUFFER_BYTES + 7) /              \
     8 * 8)

#endif
