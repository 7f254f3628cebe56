// See weights.h. Weight bytes are copied from the file by pread, not touched through the map: a file that is cut while
// it is loaded gives an error, not a signal.
#include "model/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>

#include "base/checked.h"

namespace bareattn::model {
namespace {

// Rows dequantised at a time by one worker: a panel's worth, so that two workers never write to one cache line.
constexpr int64_t rows_per_task = kernels::panel_rows;

std::string shape_text(int64_t columns, int64_t rows) { return fmt::format("[{}, {}]", columns, rows); }

struct LayerTensors {
  const TensorInfo *attention_norm, *q, *k, *v, *output, *mlp_norm, *gate, *up, *down;
};

class Loader {
 public:
  Loader(const GgufFile& file, const ModelConfig& config, Precision precision, base::ThreadPool& pool)
      : file_(file),
        storage_(precision == Precision::bf16 ? kernels::Storage::bf16 : kernels::Storage::f32),
        width_(config.width),
        pool_(pool) {}

  /// The tensor [rows, columns] of this name; FileError where it is absent or of another shape.
  const TensorInfo& find(const std::string& name, int64_t rows, int64_t columns) {
    const TensorInfo* tensor = file_.find_tensor(name);
    if (tensor == nullptr) file_.fail("", "tensor " + quoted(name) + " is missing; the model cannot be run without it");
    if (tensor->columns() != columns || tensor->rows() != rows || (rows != 1 && tensor->shape[1] != rows)) {
      file_.fail_at(tensor->record, "tensor " + quoted(name) + " has shape " +
                                        shape_text(tensor->columns(), tensor->rows()) + "; " +
                                        shape_text(columns, rows) + " is needed");
    }
    used_.insert(tensor);
    return *tensor;
  }

  std::vector<float> vector(const TensorInfo& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.columns()));
    read_rows(tensor, 0, 1, values.data());
    return values;
  }

  kernels::PackedMatrix allocate(int64_t n, int64_t k) { return kernels::allocate_packed(n, k, storage_); }

  /// Tensor [rows, columns] becomes rows [first, first + rows) of `matrix`.
  void pack(const TensorInfo& tensor, int64_t first, kernels::PackedMatrix& matrix) {
    const int64_t rows = tensor.rows();
    const int64_t columns = tensor.columns();
    // Tasks end at panel edges of the target, so each panel is written by one worker.
    const int64_t begin_panel = first / rows_per_task;
    const int64_t end_panel = (first + rows + rows_per_task - 1) / rows_per_task;
    pool_.run(end_panel - begin_panel, [&](int64_t task, int) {
      const int64_t begin = std::max(first, (begin_panel + task) * rows_per_task);
      const int64_t end = std::min(first + rows, (begin_panel + task + 1) * rows_per_task);
      thread_local std::vector<float> scratch;
      scratch.resize(static_cast<size_t>((end - begin) * columns));
      read_rows(tensor, begin - first, end - begin, scratch.data());
      kernels::pack_rows(matrix, begin, end - begin, scratch.data());
    });
  }

  kernels::PackedMatrix matrix(const TensorInfo& tensor) {
    kernels::PackedMatrix packed = allocate(tensor.rows(), tensor.columns());
    pack(tensor, 0, packed);
    return packed;
  }

  LayerTensors find_layer(const ModelConfig& config, int index) {
    const std::string prefix = "blk." + std::to_string(index) + ".";
    const int64_t q_rows = int64_t{config.heads} * config.head_dim;
    const int64_t kv_rows = int64_t{config.kv_heads} * config.head_dim;
    const int64_t mlp = config.mlp_width;
    LayerTensors layer;
    layer.attention_norm = &find(prefix + "attn_norm.weight", 1, width_);
    layer.q = &find(prefix + "attn_q.weight", q_rows, width_);
    layer.k = &find(prefix + "attn_k.weight", kv_rows, width_);
    layer.v = &find(prefix + "attn_v.weight", kv_rows, width_);
    layer.output = &find(prefix + "attn_output.weight", width_, q_rows);
    layer.mlp_norm = &find(prefix + "ffn_norm.weight", 1, width_);
    layer.gate = &find(prefix + "ffn_gate.weight", mlp, width_);
    layer.up = &find(prefix + "ffn_up.weight", mlp, width_);
    layer.down = &find(prefix + "ffn_down.weight", width_, mlp);
    return layer;
  }

  LayerWeights load_layer(const LayerTensors& from, int64_t up_begin) {
    LayerWeights layer;
    layer.attention_norm = vector(*from.attention_norm);
    layer.qkv = allocate(from.q->rows() + 2 * from.k->rows(), width_);
    pack(*from.q, 0, layer.qkv);
    pack(*from.k, from.q->rows(), layer.qkv);
    pack(*from.v, from.q->rows() + from.k->rows(), layer.qkv);
    layer.output = matrix(*from.output);
    layer.mlp_norm = vector(*from.mlp_norm);
    layer.gate_up = allocate(up_begin + from.up->rows(), width_);
    pack(*from.gate, 0, layer.gate_up);
    pack(*from.up, up_begin, layer.gate_up);
    layer.down = matrix(*from.down);
    return layer;
  }

  /// A tensor that would change the result and is not used: refused.
  void refuse_unused() const {
    for (const TensorInfo& tensor : file_.tensors()) {
      if (used_.contains(&tensor) || tensor.bytes == 0) continue;
      file_.fail_at(tensor.record, "tensor " + quoted(tensor.name) +
                                       " is not known for architecture 'llama' with these metadata; running without "
                                       "it could give wrong results");
    }
  }

  std::vector<std::string> take_warnings() {
    std::sort(warnings_.begin(), warnings_.end());
    return std::move(warnings_);
  }

  void read_bytes(const TensorInfo& tensor, int64_t first, int64_t count, std::vector<std::byte>& bytes) const {
    const Storage storage = storage_of(tensor.type);
    const auto row = static_cast<uint64_t>(tensor.columns() / storage.block * storage.bytes);
    bytes.resize(row * static_cast<uint64_t>(count));
    file_.file().read_at(tensor.offset + row * static_cast<uint64_t>(first), bytes);
  }

 private:
  /// Rows [first, first + count) as f32.
  void read_rows(const TensorInfo& tensor, int64_t first, int64_t count, float* to) {
    thread_local std::vector<std::byte> bytes;
    read_bytes(tensor, first, count, bytes);
    const int64_t weights = count * tensor.columns();
    dequantize(tensor.type, bytes, weights, to);
    float sum = 0;  // of zeros, unless something is not finite
    for (int64_t i = 0; i < weights; ++i) sum += std::fabs(to[i]) * 0.0F;
    if (sum == 0.0F) return;
    const std::lock_guard lock(mutex_);
    if (odd_.insert(&tensor).second)
      warnings_.push_back("tensor " + quoted(tensor.name) + " holds weights that are NaN or infinite");
  }

  const GgufFile& file_;
  kernels::Storage storage_;
  int64_t width_;
  base::ThreadPool& pool_;
  std::set<const TensorInfo*> used_;
  std::mutex mutex_;  // guards what follows
  std::set<const TensorInfo*> odd_;
  std::vector<std::string> warnings_;
};

}  // namespace

Weights load_weights(const GgufFile& file, const ModelConfig& config, Precision precision, base::ThreadPool& pool) {
  Loader loader(file, config, precision, pool);
  Weights weights;
  const int64_t width = config.width;
  const int64_t vocabulary = config.vocab_size;
  weights.up_begin = base::CheckedSize(config.mlp_width).align_up(kernels::panel_rows).to<int64_t>();

  // All of the file is checked before the first weight is read, so a file that is refused costs neither time nor
  // memory.
  const TensorInfo& embedding = loader.find("token_embd.weight", vocabulary, width);
  const TensorInfo& final_norm = loader.find("output_norm.weight", 1, width);
  const bool tied = file.find_tensor("output.weight") == nullptr;
  const TensorInfo& unembedding = tied ? embedding : loader.find("output.weight", vocabulary, width);
  std::vector<LayerTensors> layers;
  for (int layer = 0; layer < config.layers; ++layer) layers.push_back(loader.find_layer(config, layer));
  const bool scaled = file.find_tensor("rope_freqs.weight") != nullptr;
  if (scaled) weights.rope_factors = loader.vector(loader.find("rope_freqs.weight", 1, config.rope_dim / 2));
  loader.refuse_unused();

  weights.final_norm = loader.vector(final_norm);
  for (const LayerTensors& layer : layers) weights.layers.push_back(loader.load_layer(layer, weights.up_begin));
  weights.unembedding = loader.matrix(unembedding);
  weights.embedding_type = embedding.type;
  loader.read_bytes(embedding, 0, vocabulary, weights.embedding);
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
