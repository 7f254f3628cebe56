// Between fast.cc and dispatch.cc: the table of the instruction set that Highway's dispatch currently allows, or null.
#pragma once
#include "kernels/kernels.h"

namespace bareattn::kernels {

const KernelTable* fast_table();

/// isa/bf16_avx512.cc: VDPBF16PS tile; null where it was not compiled in.
using ScoreTileBf16 = decltype(KernelTable::score_tile_bf16);
ScoreTileBf16 score_tile_bf16_avx512();

}  // namespace bareattn::kernels
