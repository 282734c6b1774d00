/* A program of its own, for the sanitizers: hears a file of 16-bit samples in pieces drawn at random, over and over, and
 * prints the answer in whole numbers, which has to be the same every time.
 *
 *   driver FILE TIMES SEED MOST: pieces of 0 to MOST samples */
#include <stdio.h>
#include <stdlib.h>

#include "student.h"

static uint64_t drawn;

static uint32_t draw(uint32_t below)
{
    drawn ^= drawn << 13;
    drawn ^= drawn >> 7;
    drawn ^= drawn << 17;
    return (uint32_t)(drawn >> 32) % below;
}

static long pushed;

static int pass(student *s, int (*push)(student *, const int16_t *, size_t), const int16_t *pcm, size_t n, uint32_t most)
{
    for (size_t at = 0; at < n;) {
        size_t each = draw(most + 1);
        if (each > n - at) each = n - at;
        /* A piece of its own memory: reading beyond it is seen. */
        int16_t *piece = malloc(each * sizeof *piece + 1);
        if (piece == NULL) return -100;
        for (size_t i = 0; i < each; i++) piece[i] = pcm[at + i];
        int status = push(s, piece, each);
        free(piece);
        if (status != STUDENT_OK) return status;
        at += each;
        pushed++;
    }
    return STUDENT_OK;
}

int main(int count, char **words)
{
    if (count != 5) return 2;
    FILE *file = fopen(words[1], "rb");
    if (file == NULL) return 2;
    static int16_t pcm[1 << 20];
    size_t n = fread(pcm, sizeof *pcm, 1 << 20, file);
    fclose(file);
    drawn = strtoull(words[3], NULL, 10) * 2 + 1;
    int32_t first[3] = {0, 0, 0};
    for (long time = 0; time < atol(words[2]); time++) {
        uint64_t *memory = malloc(STUDENT_MEMORY_BYTES);
        student s;
        int32_t adv[3];
        if (memory == NULL) return 2;
        for (size_t i = 0; i < STUDENT_MEMORY_BYTES / 8; i++) memory[i] = 0xA5A5A5A5A5A5A5A5u; /* it need not be clear */
        student_init(&s, memory);
#if STUDENT_TWO_PASSES
        if (pass(&s, student_level_push, pcm, n, (uint32_t)atol(words[4])) != STUDENT_OK) return 3;
#endif
        if (pass(&s, student_push, pcm, n, (uint32_t)atol(words[4])) != STUDENT_OK) return 3;
        student_result_q16(&s, adv);
        for (int axis = 0; axis < 3; axis++) {
            if (time && adv[axis] != first[axis]) return 4;
            first[axis] = adv[axis];
        }
        free(memory);
    }
    printf("%ld %ld %ld %ld\n", (long)first[0], (long)first[1], (long)first[2], pushed);
    return 0;
}
