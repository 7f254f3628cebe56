// Observation points: where a run can be watched, under the field's names (TransformerLens hooks). This is the only
// way up: the floors below know that somebody may watch, never who. An unwatched point costs one branch.
// Values are raw: NaN and infinities are shown, never cleaned. The list is an API: a test asserts it, name by name.
#pragma once
#include <cstdint>
#include <string>

#include "bareattn/tensor_view.h"

namespace bareattn {

enum class Point : int {
  embed,            // hook_embed                    [rows, W]
  resid_pre,        // blocks.L.hook_resid_pre       [rows, W]
  ln1,              // blocks.L.ln1.hook_normalized  [rows, W]   after the norm's weight
  q,                // blocks.L.attn.hook_q          [rows, Hq, D]  before the rotation
  k,                // blocks.L.attn.hook_k          [rows, Hkv, D]
  v,                // blocks.L.attn.hook_v          [rows, Hkv, Dv]
  rot_q,            // blocks.L.attn.hook_rot_q      [rows, Hq, D]  what the scores are made of
  rot_k,            // blocks.L.attn.hook_rot_k      [rows, Hkv, D]
  attn_statistics,  // blocks.L.attn.statistics      (no tensor: the AttentionStatistics given before are now filled)
  z,                // blocks.L.attn.hook_z          [rows, Hq, Dv] each head's blend
  attn_out,         // blocks.L.hook_attn_out        [rows, W]
  resid_mid,        // blocks.L.hook_resid_mid       [rows, W]
  ln2,              // blocks.L.ln2.hook_normalized  [rows, W]
  mlp_pre,          // blocks.L.mlp.hook_pre         [rows, F]  gate, before SiLU
  mlp_pre_linear,   // blocks.L.mlp.hook_pre_linear  [rows, F]  up
  mlp_post,         // blocks.L.mlp.hook_post        [rows, F]  SiLU(gate) * up
  mlp_out,          // blocks.L.hook_mlp_out         [rows, W]
  resid_post,       // blocks.L.hook_resid_post      [rows, W]
  ln_final,         // ln_final.hook_normalized      [rows, W]  only rows whose logits are asked for
  logits,           // unembed.hook_logits           [rows, V]  the same rows
};
inline constexpr int point_count = static_cast<int>(Point::logits) + 1;

/// The point's name; `layer` is ignored where the point has none. "blocks.3.attn.hook_q".
std::string point_name(Point point, int layer);

struct Event {
  Point point;
  int layer;          // -1 where the point has none
  int64_t first_row;  // absolute position of the tensor's row 0 in the sequence
  TensorView<const float> values;
};

struct AttentionStatistics;  // attention.h: where the attention pass writes what it saw

class Observer {
 public:
  virtual ~Observer() = default;
  /// Asked once per run and layer before the point is reached.
  virtual bool wants(Point point, int layer) = 0;
  /// Called only where wants() said yes; the view is valid during the call.
  virtual void see(const Event& event) = 0;
  /// Where the attention of `layer` over rows [first_row, first_row + rows) shall write its statistics, or nullptr.
  virtual const AttentionStatistics* attention_statistics(int layer, int64_t first_row, int64_t rows) {
    (void)layer, (void)first_row, (void)rows;
    return nullptr;
  }
};

}  // namespace bareattn
