// See weights.h. What is called for is written down once: each line checks that its tensor is there and puts off the
// reading, so that a file that is refused costs neither time nor memory.
#include "model/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <mutex>
#include <set>

#include "base/checked.h"

namespace bareattn::model {
namespace {

// Rows dequantised at a time by one worker: a panel's worth, so that two workers never write to one cache line.
constexpr int64_t rows_per_task = kernels::panel_rows;

std::string shape_text(int64_t columns, int64_t rows) { return fmt::format("[{}, {}]", columns, rows); }

class Loader {
 public:
  Loader(const TensorSource& source, const Architecture& architecture, Precision precision, base::ThreadPool& pool)
      : source_(source),
        a_(architecture),
        storage_(precision == Precision::bf16 ? kernels::Storage::bf16 : kernels::Storage::f32),
        pool_(pool) {}

  bool has(const std::string& name) const { return source_.find(name) != nullptr; }

  /// The tensor [rows, columns] of this name; FileError where it is absent or of another shape.
  const TensorInfo& find(const std::string& name, int64_t rows, int64_t columns) {
    const TensorInfo* tensor = source_.find(name);
    if (tensor == nullptr)
      source_.fail(nullptr, "tensor " + quoted(name) + " is missing; the model cannot be run without it");
    if (tensor->columns() != columns || tensor->rows() != rows || (rows != 1 && tensor->shape[1] != rows)) {
      source_.fail(tensor, "tensor " + quoted(name) + " has shape " + shape_text(tensor->columns(), tensor->rows()) +
                               "; " + shape_text(columns, rows) + " is needed");
    }
    used_.insert(tensor);
    return *tensor;
  }

  /// A tensor [rows, columns] becomes to[at, at + rows columns).
  void floats(std::vector<float>& to, const std::string& name, int64_t columns, int64_t rows = 1, int64_t at = 0) {
    const TensorInfo& tensor = find(name, rows, columns);
    later([this, &to, &tensor, columns, rows, at] {
      to.resize(std::max(to.size(), static_cast<size_t>(at + rows * columns)));
      read_rows(tensor, 0, rows, to.data() + at);
    });
  }

  void norm(NormWeights& to, const std::string& name) {
    floats(to.weight, name + ".weight", a_.width);
    if (a_.norm_bias) floats(to.bias, name + ".bias", a_.width);
  }

  /// Rows [from, from + rows) of a tensor become rows [at, at + rows) of a matrix.
  struct Part {
    const TensorInfo* tensor;
    int64_t from, rows, at;
  };
  /// `to` becomes [n, k], made of the parts; what they leave is zero.
  void matrix(kernels::PackedMatrix& to, int64_t n, int64_t k, const std::vector<Part>& parts) {
    later([this, &to, n, k, parts] {
      to = kernels::allocate_packed(n, k, storage_);
      for (const Part& part : parts) pack(part, to);
    });
  }
  void matrix(kernels::PackedMatrix& to, const std::string& name, int64_t n, int64_t k) {
    matrix(to, n, k, {{&find(name, n, k), 0, n, 0}});
  }

  void layer(LayerWeights& to, int index, int64_t up_begin) {
    const std::string blk = "blk." + std::to_string(index) + ".";
    const NormPlace place = a_.norm_place;
    const bool before = place == NormPlace::before || place == NormPlace::both;
    const bool after = place == NormPlace::after || place == NormPlace::both, sum = place == NormPlace::sum;
    if (before) norm(to.attention_norm, blk + "attn_norm");
    attention(to, blk);
    if (after) norm(to.attention_post_norm, blk + "post_attention_norm");
    if (sum) norm(to.attention_post_norm, blk + "attn_output_norm");
    if (before) norm(to.mlp_norm, blk + "ffn_norm");
    mlp(to, blk, up_begin);
    if (after) norm(to.mlp_post_norm, blk + "post_ffw_norm");
    if (sum) norm(to.mlp_post_norm, blk + "layer_output_norm");
  }

  void read() {
    for (const auto& step : steps_) step();
  }

  /// A tensor that would change the result and is not used: refused.
  void refuse_unused() const {
    for (const TensorInfo& tensor : source_.all()) {
      if (used_.contains(&tensor) || tensor.bytes == 0) continue;
      source_.fail(&tensor, "tensor " + quoted(tensor.name) + " is not known for architecture '" + a_.architecture +
                                "' with these metadata; running without it could give wrong results");
    }
  }

  std::vector<std::string> take_warnings() {
    std::sort(warnings_.begin(), warnings_.end());
    return std::move(warnings_);
  }

  void later(std::function<void()> step) { steps_.push_back(std::move(step)); }

 private:
  void attention(LayerWeights& to, const std::string& blk) {
    const int64_t q = int64_t{a_.heads} * a_.head_dim, kv = int64_t{a_.kv_heads} * a_.head_dim, all = q + 2 * kv;
    if (has(blk + "attn_qkv.weight")) {
      matrix(to.qkv, blk + "attn_qkv.weight", all, a_.width);
      if (a_.qkv_bias) floats(to.qkv_bias, blk + "attn_qkv.bias", all);
    } else {
      matrix(to.qkv, all, a_.width,
             {{&find(blk + "attn_q.weight", q, a_.width), 0, q, 0},
              {&find(blk + "attn_k.weight", kv, a_.width), 0, kv, q},
              {&find(blk + "attn_v.weight", kv, a_.width), 0, kv, q + kv}});
      if (a_.qkv_bias) {
        floats(to.qkv_bias, blk + "attn_q.bias", q);
        floats(to.qkv_bias, blk + "attn_k.bias", kv, 1, q);
        floats(to.qkv_bias, blk + "attn_v.bias", kv, 1, q + kv);
      }
    }
    if (a_.qk_norm != QkNorm::none) {
      const bool each = a_.qk_norm == QkNorm::per_head;
      floats(to.q_norm.weight, blk + "attn_q_norm.weight", each ? a_.head_dim : q);
      floats(to.k_norm.weight, blk + "attn_k_norm.weight", each ? a_.head_dim : kv);
    }
    matrix(to.output, blk + "attn_output.weight", a_.width, q);
    if (a_.output_bias) floats(to.output_bias, blk + "attn_output.bias", a_.width);
  }

  void mlp(LayerWeights& to, const std::string& blk, int64_t up_begin) {
    const int64_t f = a_.mlp_width;
    if (!a_.gated) {
      matrix(to.gate_up, blk + "ffn_up.weight", f, a_.width);
    } else if (const TensorInfo* up = source_.find(blk + "ffn_up.weight");
               up != nullptr && up->rows() == 2 * f && !has(blk + "ffn_gate.weight")) {  // one tensor: gate, then up
      const TensorInfo& both = find(blk + "ffn_up.weight", 2 * f, a_.width);
      matrix(to.gate_up, up_begin + f, a_.width, {{&both, 0, f, 0}, {&both, f, f, up_begin}});
    } else {
      matrix(to.gate_up, up_begin + f, a_.width,
             {{&find(blk + "ffn_gate.weight", f, a_.width), 0, f, 0},
              {&find(blk + "ffn_up.weight", f, a_.width), 0, f, up_begin}});
    }
    matrix(to.down, blk + "ffn_down.weight", a_.width, f);
    if (!a_.mlp_bias) return;
    if (a_.gated) floats(to.gate_up_bias, blk + "ffn_gate.bias", f);
    floats(to.gate_up_bias, blk + "ffn_up.bias", f, 1, a_.gated ? up_begin : 0);
    floats(to.down_bias, blk + "ffn_down.bias", a_.width);
  }

  void pack(const Part& part, kernels::PackedMatrix& matrix) {
    // Tasks end at panel edges of the target, so each panel is written by one worker.
    const int64_t begin_panel = part.at / rows_per_task;
    const int64_t end_panel = (part.at + part.rows + rows_per_task - 1) / rows_per_task;
    pool_.run(end_panel - begin_panel, [&](int64_t task, int) {
      const int64_t begin = std::max(part.at, (begin_panel + task) * rows_per_task);
      const int64_t end = std::min(part.at + part.rows, (begin_panel + task + 1) * rows_per_task);
      thread_local std::vector<float> scratch;
      scratch.resize(static_cast<size_t>((end - begin) * part.tensor->columns()));
      read_rows(*part.tensor, part.from + begin - part.at, end - begin, scratch.data());
      kernels::pack_rows(matrix, begin, end - begin, scratch.data());
    });
  }

  /// Rows [first, first + count) as f32.
  void read_rows(const TensorInfo& tensor, int64_t first, int64_t count, float* to) {
    thread_local std::vector<std::byte> bytes;
    source_.read(tensor, first, count, bytes);
    const int64_t weights = count * tensor.columns();
    dequantize(tensor.type, bytes, weights, to);
    float sum = 0;  // of zeros, unless something is not finite
    for (int64_t i = 0; i < weights; ++i) sum += std::fabs(to[i]) * 0.0F;
    if (sum == 0.0F) return;
    const std::lock_guard lock(mutex_);
    if (odd_.insert(&tensor).second)
      warnings_.push_back("tensor " + quoted(tensor.name) + " holds weights that are NaN or infinite");
  }

  const TensorSource& source_;
  const Architecture& a_;
  kernels::Storage storage_;
  base::ThreadPool& pool_;
  std::set<const TensorInfo*> used_;
  std::vector<std::function<void()>> steps_;
  std::mutex mutex_;  // guards what follows
  std::set<const TensorInfo*> odd_;
  std::vector<std::string> warnings_;
};

}  // namespace

Weights load_weights(const TensorSource& source, const Architecture& a, Precision precision, base::ThreadPool& pool) {
  Loader loader(source, a, precision, pool);
  Weights weights;
  weights.layers.resize(static_cast<size_t>(a.layers));  // whose places stay
  if (a.gated) weights.up_begin = base::CheckedSize(a.mlp_width).align_up(kernels::panel_rows).to<int64_t>();

  const TensorInfo& embedding = loader.find("token_embd.weight", a.vocab_size, a.width);
  if (a.learned_positions) loader.floats(weights.positions, "position_embd.weight", a.width, a.context_length);
  if (a.token_type) {
    const TensorInfo* types = source.find("token_types.weight");
    loader.floats(weights.token_type, "token_types.weight", a.width, types == nullptr ? 1 : types->rows());
  }
  if (a.embedding_norm) loader.norm(weights.embedding_norm, "token_embd_norm");
  if (a.norm_place != NormPlace::sum) loader.norm(weights.final_norm, "output_norm");
  for (int layer = 0; layer < a.layers; ++layer)
    loader.layer(weights.layers[static_cast<size_t>(layer)], layer, weights.up_begin);
  loader.matrix(weights.unembedding, a.tied ? "token_embd.weight" : "output.weight", a.vocab_size, a.width);
  if (loader.has("rope_freqs.weight")) loader.floats(weights.rope_factors, "rope_freqs.weight", a.rope_dim / 2);
  loader.refuse_unused();

  loader.read();
  weights.embedding_type = embedding.type;
  source.read(embedding, 0, a.vocab_size, weights.embedding);
  weights.warnings = loader.take_warnings();
  return weights;
}

void look_up(const Weights& weights, int64_t width, int32_t token, float* row) {
  const Storage storage = storage_of(weights.embedding_type);
  const auto bytes = static_cast<size_t>(width / storage.block * storage.bytes);
  dequantize(weights.embedding_type, std::span(weights.embedding).subspan(bytes * static_cast<size_t>(token), bytes),
             width, row);
}

}  // namespace bareattn::model
