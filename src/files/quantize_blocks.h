// f32 weights to their storage types: the reverse of dequant.h, as ggml's reference defines it, one block at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "files/dequant.h"

namespace bareattn::model {

/// `from` (whole blocks of finite values; f32, f16 and bf16 take any) into `to` (storage_of(type).bytes per block).
void quantize_blocks(TensorType type, std::span<const float> from, std::byte* to);

}  // namespace bareattn::model
