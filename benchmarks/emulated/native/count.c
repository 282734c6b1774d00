/* Counts how often every instruction is executed, between two marks.
 *
 * A plugin of QEMU's translator, ABI version 1: its header is not packaged everywhere, so what is used of it stands here.
 * Arguments: low=, high= (addresses of the code), begin=, end= (addresses of the marks), out= (the file that is written at the end mark).
 * A line of the file is an instruction: address, times executed, times it was not followed by the next one.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
typedef void (*on_translation)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned, void *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_translation);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_execution, int flags, void *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, on_execution, int flags, void *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int operation, void *, uint64_t);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t low, high, begin, end;
static const char *file;
static struct { uint64_t executed, left; } *counts; /* an entry a halfword, and one for all code elsewhere */
static uint64_t last, next;                         /* the last instruction of the block before, and the one behind it */

static uint64_t entry(uint64_t address) { return address >= low && address < high ? (address - low) / 2 : (high - low) / 2; }

static void at_begin(unsigned cpu, void *data)
{
    memset(counts, 0, (entry(high) + 1) * sizeof *counts);
}

static void at_end(unsigned cpu, void *data)
{
    FILE *out = fopen(file, "w");
    if (!out) { perror(file); exit(2); }
    for (uint64_t i = 0; i < entry(high); i++) /* what lies elsewhere is the harness */
        if (counts[i].executed)
            fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", low + 2 * i, counts[i].executed, counts[i].left);
    if (fclose(out)) { perror(file); exit(2); }
}

struct block { uint64_t first, last, next; };

static void at_block(unsigned cpu, void *data)
{
    const struct block *block = data;
    if (next && block->first != next)
        counts[entry(last)].left++;
    last = block->last;
    next = block->next;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t n = qemu_plugin_tb_n_insns(tb);
    struct block *block = malloc(sizeof *block); /* lives as long as the translation may */
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        if (i == 0) block->first = address;
        block->last = address;
        block->next = address + qemu_plugin_insn_size(insn);
        if (address == begin) qemu_plugin_register_vcpu_insn_exec_cb(insn, at_begin, 0, NULL);
        if (address == end) qemu_plugin_register_vcpu_insn_exec_cb(insn, at_end, 0, NULL);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, &counts[entry(address)].executed, 1);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, at_block, 0, block);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        if (!value) return 1;
        uint64_t number = strtoull(++value, NULL, 0);
        if (!strncmp(argv[i], "low=", 4)) low = number;
        if (!strncmp(argv[i], "high=", 5)) high = number;
        if (!strncmp(argv[i], "begin=", 6)) begin = number;
        if (!strncmp(argv[i], "end=", 4)) end = number;
        if (!strncmp(argv[i], "out=", 4)) file = strdup(value);
    }
    if (high <= low || !file) return 1;
    counts = calloc(entry(high) + 1, sizeof *counts);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
