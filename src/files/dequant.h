// The storage types of weights and what their bytes mean as f32, exactly as ggml defines them: blocks of 32 along a
// row, f16 scales widened to f32, one multiplication (and one addition) per weight, which are exact but for the
// addition's rounding. To add a type: a TensorType, a line in storage_of() and a case in dequantize().
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace bareattn::model {

/// ggml's numbers.
enum class TensorType : uint32_t { f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q8_0 = 8, bf16 = 30 };

struct Storage {
  int64_t block = 0;  // weights in a block; 0: this type cannot be read
  int64_t bytes = 0;  // of a block
};
Storage storage_of(TensorType type);

/// ggml's name of any type number: "Q4_1", "Q6_K", "type 77".
std::string type_name(uint32_t type);

/// All types that can be read: "F32, F16, BF16, Q8_0, Q4_0, Q4_1".
std::string readable_types();

/// `count` weights (a multiple of the block) from `from` (count / block * bytes of them) to f32.
void dequantize(TensorType type, std::span<const std::byte> from, int64_t count, float* to);

}  // namespace bareattn::model
