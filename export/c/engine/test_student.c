/* Golden vectors: the engine has to answer short clips as it did where it was made, to the last bit, however they are cut,
 * and near to what the ONNX file answered. Prints a line a clip; ends with 1 where one differs. */
#include <stdio.h>

#include "golden.h"
#include "student.h"

static int64_t memory[(STUDENT_MEMORY_BYTES + 7) / 8];

static int push_all(student *s, int (*push)(student *, const int16_t *, size_t), const int16_t *pcm, size_t n, size_t each)
{
    for (size_t at = 0; at < n; at += each) {
        if (push(s, pcm + at, each < n - at ? each : n - at) != STUDENT_OK) return 0;
    }
    return 1;
}

static int32_t hear(const int16_t *pcm, size_t n, size_t each, int32_t adv[3])
{
    student s;
    student_init(&s, memory);
#if STUDENT_TWO_PASSES
    if (!push_all(&s, student_level_push, pcm, n, each)) return 0;
#endif
    if (!push_all(&s, student_push, pcm, n, each)) return 0;
    return student_result_q16(&s, adv);
}

static int as_expected(const int32_t found[3], const struct golden *clip)
{
    for (int axis = 0; axis < 3; axis++) {
        int32_t off = found[axis] - clip->onnx[axis];
        if (GOLDEN_EXACT && found[axis] != clip->exact[axis] && !STUDENT_BUFFERED) return 0;
        if ((found[axis] == STUDENT_UNTAUGHT) != (clip->onnx[axis] == STUDENT_UNTAUGHT)) return 0;
        if (found[axis] != STUDENT_UNTAUGHT && (off > GOLDEN_TOLERANCE || off < -GOLDEN_TOLERANCE)) return 0;
    }
    return 1;
}

int main(void)
{
    static const size_t pieces[] = {1 << 20, 1, 37, 160, 1000};
    int failed = 0;
    for (size_t number = 0; number < GOLDEN_CLIPS; number++) {
        const struct golden *clip = &GOLDEN[number];
        int same = 1;
        int32_t found[3] = {0, 0, 0};
        for (size_t way = 0; way < sizeof pieces / sizeof *pieces; way++) {
            if (hear(clip->pcm, clip->samples, pieces[way], found) <= 0 || !as_expected(found, clip)) same = 0;
        }
        printf("clip %2u: %9.5f %9.5f %9.5f  %s\n", (unsigned)number, found[0] / 65536.0, found[1] / 65536.0,
               found[2] / 65536.0, same ? "as expected" : "DIFFERS");
        failed |= !same;
    }
    return failed;
}
