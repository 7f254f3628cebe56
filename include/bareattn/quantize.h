// A model file written anew with its weights stored as another type: for comparing what storage does to a model
// (bareattn/diff.h), not for the smallest file. Every matrix is converted, embeddings included. Rows that blocks of 256
// do not divide become the next type with blocks of 32, as in llama.cpp (Q4_K: Q5_0, Q6_K: Q8_0); rows that no block
// divides and vectors (norms) become f32. Metadata stay byte for byte, but for general.file_type.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "bareattn/model.h"

namespace bareattn {

enum class WeightType : uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q6_k };
inline constexpr WeightType weight_types[] = {WeightType::f32,  WeightType::f16,  WeightType::bf16, WeightType::q8_0,
                                              WeightType::q4_0, WeightType::q4_1, WeightType::q5_0, WeightType::q5_1,
                                              WeightType::q4_k, WeightType::q6_k};
const char* weight_type_name(WeightType type);  // "f32", ...

struct Quantized {
  int64_t converted = 0, fallen_back = 0, kept_f32 = 0;  // tensors: to the type asked for, the next, f32
  int64_t bytes_before = 0, bytes_after = 0;             // of the files
};

/// Reads `from` (GGUF), writes `to` whole or not at all. Blocks of 32 are ggml's reference quantisation, bit for bit
/// (its `gguf` Python package is the oracle of the tests); Q4_K and Q6_K follow a simpler rule than ggml's
/// (docs/models.md). What is stored is first widened to f32, so a model that is already quantised loses twice.
/// FileError for a file that is none or, for q types, holds NaN or infinite weights; OutputError.
Quantized quantize(const std::string& from, const std::string& to, WeightType type, const Progress& progress = {});

}  // namespace bareattn
