// One call of the front door, checked: sizes, the sequences it is made of, and the score terms of each. Everything that
// can be refused is refused here, with what was given, what was needed and for which argument; past this point nothing
// is checked again.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "attention/run.h"
#include "bareattn/attention.h"

namespace bareattn::attend {

/// One sequence of the call: rows [row, row + rows) of batch entry `batch` against keys [key, key + keys) of it.
struct Piece {
  int64_t batch, row, rows, key, keys;
  int64_t visible;    // keys from `key` on that lengths and the mask leave, at most `keys`
  int64_t first_row;  // position of its first row, counted from its first key
};

struct Call {
  int64_t batch = 0, heads = 0, kv_heads = 0, rows = 0, keys = 0, dim = 0, value_dim = 0;
  float scale = 1;
  Window window;
  std::vector<Piece> pieces;
  ConstTensor mask;                // [B, Hq, Sq, keys] with broadcast strides; rank 0: none
  std::vector<float> mask_floats;  // of a mask that could not be read in place
  const AttentionParams* params = nullptr;

  /// Terms of a piece for its rows from `skip` on.
  ScoreTerms terms(const Piece& piece, int64_t skip = 0) const;
};

/// Sizes of keys that are already in a cache: `lengths` [batch].
struct CachedKeys {
  int64_t batch, kv_heads, dim, value_dim;
  std::span<const int64_t> lengths;
};

/// Which types a call takes: attention() has no f64.
enum class Types : uint8_t { fast, reference };

/// Checks q, k and (where it is not null) v against each other and everything in params.
Call make_call(const ConstTensor& q, const ConstTensor& k, const ConstTensor* v, const AttentionParams& params,
               Types types);
Call make_call(const ConstTensor& q, const CachedKeys& keys, const AttentionParams& params, Types types);
/// O against the call, and that it overlaps neither itself nor any of `inputs`.
struct NamedTensor {
  const char* name;
  const ConstTensor* tensor;
};
void check_output(const Call& call, const MutableTensor& o, std::span<const NamedTensor> inputs, Types types);
void check_overlap(const char* output_name, const ConstTensor& output, std::span<const NamedTensor> inputs);

std::string shape_text(const ConstTensor& tensor);
[[noreturn]] void refuse(const std::string& argument, const std::string& given, const std::string& needed);

}  // namespace bareattn::attend
