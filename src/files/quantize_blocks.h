// f32 weights to their storage types: the reverse of dequant.h, one block at a time. Blocks of 32 are those of ggml's
// reference, bit for bit; for blocks of 256 ggml's rule is a search, and quantize_k.h has a simpler one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "files/dequant.h"

namespace bareattn::model {

/// `from` (whole blocks of finite values; f32, f16 and bf16 take any; std::logic_error for a type that
/// is only read) into `to` (storage_of(type).bytes per block).
void quantize_blocks(TensorType type, std::span<const float> from, std::byte* to);

}  // namespace bareattn::model
