// Understudy's arithmetic. See the single headers.
#ifndef UK_CKERNELS_H
#define UK_CKERNELS_H
#include "isa.h"
#include "blocks.h"
#include "quantized.h"
#include "attention.h"
#include "dense.h"
#endif
