/* A clip through a student, as a firmware would push it: piece by piece.
 *
 * program CLIP ANSWER PIECE: a file of 16 kHz PCM; a file for what was measured; samples a piece. */
#include "harness.h"
#include "student.h"

#define MOST_SAMPLES (30 * 16000)

static HARNESS_DATA int16_t clip[MOST_SAMPLES];
static HARNESS_DATA struct {
    int32_t answer[3], tokens;
    uint32_t stack, memory, buffer;
} measured;

/* In the memory of what is measured: all that a student keeps. */
static uint64_t memory[(STUDENT_MEMORY_BYTES + 7) / 8];
static student heard;

static HARNESS size_t number(const char *digits)
{
    size_t n = 0;
    while (*digits) n = 10 * n + (size_t)(*digits++ - '0');
    return n;
}

static HARNESS void push(size_t samples, size_t piece)
{
#if STUDENT_TWO_PASSES
    for (size_t at = 0; at < samples; at += piece)
        student_level_push(&heard, clip + at, samples - at < piece ? samples - at : piece);
#endif
    for (size_t at = 0; at < samples; at += piece)
        if (student_push(&heard, clip + at, samples - at < piece ? samples - at : piece))
            harness_fail("student_push refuses the clip");
}

HARNESS int main(void)
{
    char *words[4];
    if (harness_arguments(words, 4) != 4) harness_fail("program CLIP ANSWER PIECE");
    size_t samples = harness_read(words[1], clip, sizeof clip) / sizeof *clip, piece = number(words[3]);
    harness_paint();
    harness_begin();
    student_init(&heard, memory);
    push(samples, piece);
    measured.tokens = student_result_q16(&heard, measured.answer);
    harness_end();
    measured.stack = (uint32_t)harness_stack();
    measured.memory = STUDENT_MEMORY_BYTES;
    measured.buffer = STUDENT_BUFFER_BYTES;
    harness_write(words[2], &measured, sizeof measured);
    return 0;
}
