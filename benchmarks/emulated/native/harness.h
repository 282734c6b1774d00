/* What a program measured on an emulated board stands on: files by semihosting, marks that the counting begins and ends
 * at, stack that is painted. All of it lies in sections of its own, apart from what is measured. */
#ifndef HARNESS_H
#define HARNESS_H
#include <stddef.h>
#include <stdint.h>

#define HARNESS __attribute__((section(".harness.text"), noinline))
#define HARNESS_DATA __attribute__((section(".harness.bss")))

/* The words of the command line that the emulator was given. Gives how many there are. */
int harness_arguments(char **words, int at_most);
/* Reads a whole file; gives its bytes, and stops with a line where it cannot be read or is larger. */
size_t harness_read(const char *path, void *to, size_t at_most);
void harness_write(const char *path, const void *from, size_t bytes);
void harness_say(const char *line);
__attribute__((noreturn)) void harness_exit(int code);
__attribute__((noreturn)) void harness_fail(const char *line);

/* Counted is what is executed between the two. */
void harness_begin(void);
void harness_end(void);

/* Paints what is free of the stack; the other gives how many bytes of it were used since, below the caller's frame. */
void harness_paint(void);
size_t harness_stack(void);
#endif
