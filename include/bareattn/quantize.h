// A model file written anew with its weights stored as another type: for comparing what storage does to a model
// (bareattn/diff.h), not for the smallest file. Every matrix whose rows are whole blocks is converted, embeddings
// included; vectors (norms) become f32, as ggml keeps them. Metadata stay byte for byte, but for general.file_type.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "bareattn/model.h"

namespace bareattn {

enum class WeightType : uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1 };
const char* weight_type_name(WeightType type);  // "f32", ...

struct Quantized {
  int64_t converted = 0, kept_f32 = 0;  // tensors: to the type asked for; vectors and rows that are no whole blocks
  int64_t bytes_before = 0, bytes_after = 0;  // of the files
};

/// Reads `from` (GGUF), writes `to` whole or not at all. Blocks are ggml's reference quantisation, bit for bit (its
/// `gguf` Python package is the oracle of the tests). What is stored is first widened to f32, so a model that is
/// already quantised loses twice. FileError for a file that is none or, for q types, holds NaN or infinite weights;
/// OutputError.
Quantized quantize(const std::string& from, const std::string& to, WeightType type, const Progress& progress = {});

}  // namespace bareattn
