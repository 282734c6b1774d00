/* Hear the PCM in a file twice, in two pieces, and print the answer in whole numbers. */
#include <stdio.h>
#include <stdlib.h>

#include "student.c"

int main(int count, char **names)
{
    static int16_t pcm[1 << 17];
    FILE *file = count == 2 ? fopen(names[1], "rb") : NULL;
    if (!file) return 2;
    size_t n = fread(pcm, sizeof *pcm, sizeof pcm / sizeof *pcm, file), half = n / 2;
    fclose(file);
    student s;
    int32_t adv[3];
    void *memory = malloc(STUDENT_MEMORY_BYTES); /* of exactly this size: what reaches beyond is seen */
    student_init(&s, memory);
#if STUDENT_TWO_PASSES
    student_level_push(&s, pcm, n);
#endif
    student_push(&s, pcm, half);
    student_push(&s, pcm + half, n - half);
    student_result_q16(&s, adv);
    printf("%d %d %d\n", (int)adv[0], (int)adv[1], (int)adv[2]);
    free(memory);
    return 0;
}
