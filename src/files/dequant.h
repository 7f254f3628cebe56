// The storage types of weights and what their bytes mean as f32, exactly as ggml defines them: blocks of 32 or 256
// along a row, f16 scales widened to f32, every product and sum rounded to f32 in ggml's order. Blocks of 256 have
// files of their own (dequant_k.h). To add a type: a TensorType, a line in the table of dequant.cc and a function for
// one block.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace bareattn::model {

/// ggml's numbers.
enum class TensorType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30,
  mxfp4 = 39
};

struct Storage {
  int64_t block = 0;  // weights in a block; 0: this type cannot be read
  int64_t bytes = 0;  // of a block
};
Storage storage_of(TensorType type);

/// ggml's name of any type number: "Q4_1", "Q6_K", "type 77".
std::string type_name(uint32_t type);

/// All types that can be read: "F32, F16, BF16, Q8_0, ...".
std::string readable_types();

/// `count` weights (a multiple of the block) from `from` (count / block * bytes of them) to f32.
void dequantize(TensorType type, std::span<const std::byte> from, int64_t count, float* to);

}  // namespace bareattn::model
