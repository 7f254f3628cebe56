// Between fast.cc and dispatch.cc: the table of the instruction set that Highway's dispatch currently allows, or null.
#pragma once
#include "kernels/kernels.h"

namespace bareattn::kernels {

const KernelTable* fast_table();

/// isa/bf16_avx512.cc: puts the VDPBF16PS kernels into a table; false where they were not compiled in.
bool use_bf16_avx512(KernelTable& table);

}  // namespace bareattn::kernels
