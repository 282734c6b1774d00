/* A trunk that another generator made, on one second of log-mel: void PEER(const float *mel, float *adv).
 *
 * program MEL ANSWER: files of float32; what was measured stands behind the three answers. */
#include "harness.h"

#include <stddef.h>

#define MOST_VALUES (30 * 500 * 26)

void PEER(const float *mel, float *adv);

extern char __heap_start, __heap_end;
static HARNESS_DATA float mel[MOST_VALUES];
static HARNESS_DATA char *top, *most;
static HARNESS_DATA struct {
    float answer[3];
    uint32_t stack, heap;
} measured;

/* What the C library's malloc takes its memory from, and gives it back to. */
HARNESS void *_sbrk(ptrdiff_t more)
{
    char *before = top;
    if (more > &__heap_end - top) harness_fail("the heap is full");
    top += more;
    if (top > most) most = top;
    return before;
}

HARNESS int main(void)
{
    char *words[3];
    if (harness_arguments(words, 3) != 3) harness_fail("program MEL ANSWER");
    harness_read(words[1], mel, sizeof mel);
    top = (char *)(((uintptr_t)&__heap_start + 63) & ~(uintptr_t)63);
    char *bottom = most = top;
    harness_paint();
    harness_begin();
    PEER(mel, measured.answer);
    harness_end();
    measured.stack = (uint32_t)harness_stack();
    measured.heap = (uint32_t)(most - bottom);
    harness_write(words[2], &measured, sizeof measured);
    return 0;
}
