/* Rows stream through the layers. Each layer has a window: the last two rows that it saw, and STUDENT_ROWS new ones.
 * From a full window it computes as many rows for the next one: a clip's convolution looks at the row behind as well,
 * so its rows are one behind those that it takes; a stream's looks at the two before, and is behind by none.
 *
 * Rows before the first and behind the last are zero for every layer. Rows are told by their numbers: `frame` is that
 * of the first new row of the log-mel window, `token` that of the first layer behind the pool.
 */
#ifndef STUDENT_LAYERS_H
#define STUDENT_LAYERS_H

#include "pooling.h"

#if defined(STUDENT_KERNELS_MVE)
#include "kernels_mve.h"
#elif defined(STUDENT_KERNELS_THUMB)
#include "kernels_thumb.h"
#elif defined(STUDENT_KERNELS_X86)
#include "kernels_x86.h"
#endif
#include "kernels_portable.h"

#include "frontend.h"

/* How far a convolution's rows are behind what it takes. */
#define BEHIND (STUDENT_CAUSAL ? 0 : 1)

/* A clip that has not ended. */
#define NO_END INT64_MAX

union scratch {
    union bin bins[COMPLEX];
    struct kernel_conv_scratch conv;
    struct kernel_attend_scratch attend;
};

struct layers {
    int64_t frame, token;   /* numbers of the first new rows */
    int64_t frames, tokens; /* how many there are, NO_END until that is known */
    int64_t heard;          /* tokens that the pooling has seen */
    uint32_t frames_held, tokens_held; /* new rows in both windows */
    uint8_t mel[STUDENT_WINDOW_ROWS * STUDENT_MEL_ROW];
    uint8_t fine[STUDENT_FINE][STUDENT_WINDOW(STUDENT_BANDS)];
    uint8_t coarse[STUDENT_COARSE][STUDENT_WINDOW(STUDENT_HALF)];
    uint8_t last[STUDENT_LAST];
};

static void layers_init(struct layers *layers)
{
    memset(layers, 0, sizeof *layers);
    memset(layers->mel, MEL_ZERO, sizeof layers->mel);
    layers->frames = layers->tokens = NO_END;
    layers->token = -BEHIND * (int64_t)(STUDENT_FINE + 1) / 2;
}

/* Rows of a window that are no rows of the clip. first: the number of that in place `at`. */
static void clear_outside(uint8_t *window, unsigned bands, unsigned at, unsigned rows, int64_t first, int64_t end)
{
    if (first >= 0 && first + rows <= end) return;
    for (unsigned row = 0; row < rows; row++) {
        if (first + row < 0 || first + row >= end) kernel_clear(window, bands, at + row);
    }
}

/* From the log-mel window to the first one behind the pool, which gets half as many rows. */
static void run_fine(struct layers *layers, union scratch *scratch)
{
    int64_t first = layers->frame - BEHIND;
    kernel_first(layers->mel, layers->fine[0], 2);
    clear_outside(layers->fine[0], STUDENT_BANDS, 2, STUDENT_ROWS, first, layers->frames);
    for (unsigned layer = 1; layer < STUDENT_FINE; layer++) {
        uint8_t *out = layers->fine[layer];
        kernel_conv(layer - 1, STUDENT_BANDS, layers->fine[layer - 1], out, 2, &scratch->conv);
        clear_outside(out, STUDENT_BANDS, 2, STUDENT_ROWS, first -= BEHIND, layers->frames);
    }
    /* Token j is of the rows 2 j - 1 to 2 j + 1. The first new row is an odd one of a clip, an even one of a stream. */
    unsigned at = 2 + layers->tokens_held, rows = STUDENT_ROWS / 2;
    kernel_pool(layers->fine[STUDENT_FINE - 1], 1 - BEHIND, layers->coarse[0], at);
    clear_outside(layers->coarse[0], STUDENT_HALF, at, rows, layers->token + layers->tokens_held, layers->tokens);
}

/* From the window behind the pool to the pooling over time. rows: of the new ones those that count. */
static void run_coarse(struct layers *layers, unsigned rows, struct pooling *pooling, union scratch *scratch)
{
    int64_t first = layers->token;
    for (unsigned layer = 0; layer < STUDENT_COARSE; layer++) {
        int is_last = layer + 1 == STUDENT_COARSE;
        uint8_t *out = is_last ? layers->last : layers->coarse[layer + 1];
        unsigned at = is_last ? STUDENT_LAST_BEFORE : 2;
        kernel_conv(STUDENT_FINE - 1 + layer, STUDENT_HALF, layers->coarse[layer], out, at, &scratch->conv);
        clear_outside(out, STUDENT_HALF, at, STUDENT_ROWS, first -= BEHIND, layers->tokens);
    }
    unsigned from = first < 0 ? (unsigned)(first < -(int64_t)rows ? (int64_t)rows : -first) : 0, end = rows;
    if (first + end > layers->tokens) end = first < layers->tokens ? (unsigned)(layers->tokens - first) : 0;
    if (from >= end) return;
    kernel_attend(layers->last, STUDENT_LAST_BEFORE + from, STUDENT_LAST_BEFORE + end, pooling, &scratch->attend);
    layers->heard += end - from;
}

static void slide_fine(struct layers *layers)
{
    memcpy(layers->mel, layers->mel + STUDENT_ROWS * STUDENT_MEL_ROW, 2 * STUDENT_MEL_ROW);
    for (unsigned layer = 0; layer < STUDENT_FINE; layer++) kernel_slide(layers->fine[layer], STUDENT_BANDS, STUDENT_ROWS);
    layers->frame += STUDENT_ROWS;
    layers->frames_held = 0;
}

static void slide_coarse(struct layers *layers)
{
    for (unsigned layer = 0; layer < STUDENT_COARSE; layer++) kernel_slide(layers->coarse[layer], STUDENT_HALF, STUDENT_TOKENS_AT_ONCE);
    layers->token += STUDENT_TOKENS_AT_ONCE;
    layers->tokens_held = 0;
}

/* Where the next row of log-mel belongs: STUDENT_BANDS levels. */
static uint8_t *next_row(struct layers *layers)
{
    return layers->mel + (2 + layers->frames_held) * STUDENT_MEL_ROW + 1;
}

/* It stands there. */
static void row_given(struct layers *layers, struct pooling *pooling, union scratch *scratch)
{
    if (++layers->frames_held < STUDENT_ROWS) return;
    run_fine(layers, scratch);
    slide_fine(layers);
    layers->tokens_held += STUDENT_ROWS / 2;
    if (layers->tokens_held < STUDENT_TOKENS_AT_ONCE) return;
    run_coarse(layers, STUDENT_TOKENS_AT_ONCE, pooling, scratch);
    slide_coarse(layers);
}

#if STUDENT_GLANCES
/* What the rows that fill no window would add to the pooling; the layers stay as they are. Returns the tokens heard. */
static int64_t glance(struct layers *layers, struct pooling *pooling, union scratch *scratch)
{
    unsigned rows = layers->tokens_held + layers->frames_held / 2;
    int64_t before = layers->heard, heard;
    if (layers->frames_held / 2) run_fine(layers, scratch);
    if (rows) run_coarse(layers, rows, pooling, scratch);
    heard = layers->heard;
    layers->heard = before;
    return heard;
}
#endif

#if !STUDENT_CAUSAL
/* The clip ends: rows of zeros, until the last token is through. */
static void finish(struct layers *layers, struct pooling *pooling, union scratch *scratch)
{
    layers->frames = layers->frame + layers->frames_held;
    layers->tokens = (layers->frames + 1) / 2;
    while (layers->heard < layers->tokens) {
        memset(next_row(layers), MEL_ZERO, STUDENT_BANDS);
        row_given(layers, pooling, scratch);
    }
}
#endif

#endif
