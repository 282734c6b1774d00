/* A clip whose pooling begins as that of one that has gone on for days: sums just below 2^41, references above every
 * score. Prints how many rows were halved, and a sum over all that the pooling holds. */
#include <stdio.h>

#include "student.c"

static int64_t memory[(STUDENT_MEMORY_BYTES + 7) / 8];

int main(void)
{
    static int16_t pcm[4000];
    uint32_t dice = 1;
    for (unsigned n = 0; n < 4000; n++) {
        dice = dice * 1664525u + 1013904223u;
        pcm[n] = (int16_t)(dice >> 18);
    }
    student s;
    int32_t adv[3];
    student_init(&s, memory);
    struct pooling *pooling = &s.state->pooling;
    for (unsigned row = 0; row < STUDENT_LIN_ROWS; row++) {
        pooling->weights[row] = (1LL << 41) - 1 - 100 * row;
        pooling->values[row] = (row % 2 ? -123456789LL : 987654321LL) * (row + 1);
        pooling->reference[row] = 87; /* 60 nepers, where scores are cut off, are below */
    }
    student_level_push(&s, pcm, 4000);
    student_push(&s, pcm, 4000);
    student_result_q16(&s, adv);
    unsigned halved = 0;
    uint64_t sum = 0;
    for (unsigned row = 0; row < STUDENT_LIN_ROWS; row++) {
        halved += pooling->reference[row] == 88;
        sum = sum * 31 + (uint64_t)pooling->weights[row];
        sum = sum * 31 + (uint64_t)pooling->values[row];
        sum = sum * 31 + (uint32_t)pooling->reference[row];
    }
    printf("%u %llu %d %d\n", halved, (unsigned long long)sum, (int)adv[0], (int)adv[1]);
    return 0;
}
