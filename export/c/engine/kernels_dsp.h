/* Kernels of Armv7E-M and Armv8-M with the DSP instructions: two products of 16 bits at once. */
#ifndef STUDENT_KERNELS_DSP_H
#define STUDENT_KERNELS_DSP_H

#include "arithmetic.h"

#endif
