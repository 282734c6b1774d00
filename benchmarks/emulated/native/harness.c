#include "harness.h"

extern uint32_t __stack_bottom, __stack_top, __bss_start, __bss_end, __data_start, __data_end, __data_load;
int main(void);

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_FLEN = 0x0C,
       SYS_GET_CMDLINE = 0x15, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ = 1, MODE_WRITE = 5 };
#define APPLICATION_EXIT 0x20026
#define PAINT 0xA5A5A5A5u
#define OWN 4 /* words that painting may itself keep on the stack */

static HARNESS int semihosting(int operation, const void *block)
{
    register int r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = block;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static HARNESS size_t length(const char *text)
{
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

HARNESS void harness_exit(int code)
{
    uint32_t block[2] = {APPLICATION_EXIT, (uint32_t)code};
    for (;;) semihosting(SYS_EXIT_EXTENDED, block);
}

HARNESS void harness_say(const char *line) { semihosting(SYS_WRITE0, line); }

HARNESS void harness_fail(const char *line)
{
    harness_say(line);
    harness_say("\n");
    harness_exit(1);
}

static HARNESS uint32_t open(const char *path, uint32_t mode)
{
    uint32_t block[3] = {(uint32_t)path, mode, length(path)};
    int handle = semihosting(SYS_OPEN, block);
    if (handle < 0) harness_fail(path);
    return (uint32_t)handle;
}

HARNESS int harness_arguments(char **words, int at_most)
{
    static HARNESS_DATA char line[1024];
    uint32_t block[2] = {(uint32_t)line, sizeof line};
    if (semihosting(SYS_GET_CMDLINE, block)) harness_fail("no command line");
    int n = 0;
    for (char *at = line; *at && n < at_most;) {
        while (*at == ' ') *at++ = 0;
        if (*at) words[n++] = at;
        while (*at && *at != ' ') at++;
    }
    return n;
}

HARNESS size_t harness_read(const char *path, void *to, size_t at_most)
{
    uint32_t handle = open(path, MODE_READ);
    uint32_t bytes = (uint32_t)semihosting(SYS_FLEN, &handle);
    if (bytes > at_most) harness_fail("a file is larger than the memory kept for it");
    uint32_t block[3] = {handle, (uint32_t)to, bytes};
    if (semihosting(SYS_READ, block)) harness_fail(path);
    semihosting(SYS_CLOSE, &handle);
    return bytes;
}

HARNESS void harness_write(const char *path, const void *from, size_t bytes)
{
    uint32_t handle = open(path, MODE_WRITE);
    uint32_t block[3] = {handle, (uint32_t)from, bytes};
    if (semihosting(SYS_WRITE, block)) harness_fail(path);
    semihosting(SYS_CLOSE, &handle);
}

/* Each does something of its own: a linker may make one function of two that are alike. */
HARNESS void harness_begin(void) { __asm volatile("mov r8, r8" ::: "memory"); }
HARNESS void harness_end(void) { __asm volatile("mov r9, r9" ::: "memory"); }

/* Both keep next to nothing on the stack: where they are called from is where it ends. */
static inline __attribute__((always_inline)) uint32_t *stack_pointer(void)
{
    uint32_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    return here;
}

HARNESS void harness_paint(void)
{
    for (uint32_t *at = stack_pointer() - OWN; at > &__stack_bottom;) *--at = PAINT;
}

HARNESS size_t harness_stack(void)
{
    uint32_t *at = &__stack_bottom, *here = stack_pointer();
    while (at < here && *at == PAINT) at++;
    return (size_t)((char *)here - (char *)at);
}

HARNESS __attribute__((noreturn)) void harness_reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: the float and vector unit, where there is one */
    __asm volatile("dsb\n isb" ::: "memory");
    uint32_t *to = &__data_start;
    for (uint32_t *from = &__data_load; to < &__data_end;) *to++ = *from++;
    for (to = &__bss_start; to < &__bss_end;) *to++ = 0;
    harness_exit(main());
}

static HARNESS void fault(void) { harness_fail("the core took a fault"); }

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &__stack_top, harness_reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault,
};
