/* A student that hears arousal, dominance and valence in speech: 16 kHz mono PCM of 16 bits in, three numbers out.
 *
 * C99 and integers alone: no heap, no operating system, no libm, no floating point unit, no recursion. All state lies in
 * memory that the caller brings; it holds no pointers, so it may be copied or moved, and any number of students may run
 * side by side. Pieces of any length may be pushed: how a clip is cut never changes an answer, not even its last bit,
 * and neither does the processor.
 *
 * docs/engine.md of the exporter tells the rest.
 */
#ifndef STUDENT_H
#define STUDENT_H

#include <stddef.h>
#include <stdint.h>

#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What student_push and student_level_push return. */
#define STUDENT_OK 0
#define STUDENT_NO_LEVEL (-1) /* the clip has to go through student_level_push first */
#define STUDENT_ENDED (-2)    /* the clip was answered; student_init begins another */
#define STUDENT_FULL (-3)     /* buffered: more than STUDENT_MAX_SECONDS; what is beyond was not heard */

/* In an answer of student_result_q16: nobody taught the student this axis. */
#define STUDENT_UNTAUGHT INT32_MIN

typedef struct student {
    struct student_state *state;
} student;

/* Begin a clip, or a stream. memory: STUDENT_MEMORY_BYTES, aligned for int64_t; it need not be cleared. */
void student_init(student *s, void *memory);

/* STUDENT_MEMORY_BYTES as the engine was compiled: to be compared where caller and engine have flags of their own. */
size_t student_memory_bytes(void);

#if STUDENT_TWO_PASSES
/* The first pass: how loud the clip is. All of it, in pieces of any length, before the first student_push. */
int student_level_push(student *s, const int16_t *pcm, size_t n);
#endif

/* The network: n samples, any n. */
int student_push(student *s, const int16_t *pcm, size_t n);

/* Arousal, dominance, valence of what was pushed until now, NaN where nobody taught an axis. Returns how many tokens
 * were heard; of none the answer is NaN. A stream goes on after it. A clip has ended: asked again it is answered alike,
 * but takes no more samples (to look at a clip half-way, copy the memory, and ask a student with that copy). */
int32_t student_result(student *s, float adv[3]);

/* The same in units of 1 / 65536: STUDENT_UNTAUGHT for NaN. */
int32_t student_result_q16(student *s, int32_t adv[3]);

#ifdef __cplusplus
}
#endif

#endif
