// Trace: opening a file and exact weights from it. A weight needs Q of its row, K of the keys of its block of 512 (the
// block's maximum counts), and the row's maximum and sum, so a tile costs the same at any length. Blocks stay where
// they are in the text: slices begin at multiples of 512, and the bits are those of the run.
#include "bareattn/trace.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "attention/shared_pool.h"
#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "bareattn/weights.h"
#include "base/sha256.h"
#include "kernels/kernels.h"
#include "observe/strongest.h"
#include "observe/token_texts.h"
#include "observe/trace_impl.h"

namespace bareattn {

using namespace observing;  // NOLINT: this file is that floor's

namespace {

constexpr int64_t slice_keys = 4 * kernels::block_keys;  // packed K of a slice stays in L2: 512 KB at D = 64

// Keys that a row past the window's edge does not see, as a mask [rows, keys]; empty where there is no window.
std::vector<uint8_t> window_mask(const Reach& reach, TraceRange rows, TraceRange keys) {
  if (reach.window < 0) return {};
  std::vector<uint8_t> seen;
  seen.reserve(static_cast<size_t>((rows.end - rows.begin) * (keys.end - keys.begin)));
  for (int64_t i = rows.begin; i < rows.end; ++i)
    for (int64_t j = keys.begin; j < keys.end; ++j) seen.push_back(j < reach.sinks || j >= i - reach.window ? 1 : 0);
  return seen;
}

DType dtype_of_store(Store store) {
  return store == Store::f32 ? DType::f32 : store == Store::bf16 ? DType::bf16 : DType::f16;
}

ConstTensor vectors(std::span<const std::byte> bytes, DType dtype, int64_t rows, int64_t dim) {
  ConstTensor tensor;
  tensor.data = bytes.data();
  tensor.dtype = dtype;
  tensor.rank = 4;
  tensor.shape = {1, 1, rows, dim};
  tensor.stride = {rows * dim, rows * dim, dim, 1};
  return tensor;
}

}  // namespace

const Tokenizer& TracedModel::tokenizer() const {
  throw std::logic_error("the model of a trace has no vocabulary; load the model itself");
}

Trace::Impl::Impl(const std::string& path) : file(path), facts(read_facts(file)), pages(file), traced(facts) {
  const int64_t count = length();
  const auto ids = pages.values<int32_t>(stored("tokens"), 0, static_cast<uint64_t>(count));
  tokens.assign(ids.begin(), ids.end());
  const auto offsets = pages.values<int64_t>(stored("text_offsets"), 0, static_cast<uint64_t>(count + 1));
  const auto text = pages.values<char>(stored("text"), 0, static_cast<uint64_t>(facts.shape.text_bytes));
  if (offsets.front() != 0 || offsets.back() != facts.shape.text_bytes ||
      !std::is_sorted(offsets.begin(), offsets.end()))
    file.fail(file.offset_of("text_offsets"), "the trace's text_offsets do not rise from 0 to the length of its text");
  std::vector<std::string_view> pieces;
  for (size_t i = 0; i + 1 < offsets.size(); ++i)
    pieces.emplace_back(text.data() + offsets[i], static_cast<size_t>(offsets[i + 1] - offsets[i]));
  texts = observing::token_texts(pieces);
}

const StoredTensor& Trace::Impl::stored(const std::string& name) const {
  const StoredTensor* tensor = file.find(name);
  if (tensor == nullptr) throw InputError(file.file().path() + ": '" + name + "' was not kept when the trace was made");
  return *tensor;
}

void Trace::Impl::check(HeadId head) const {
  if (head.layer >= 0 && head.layer < facts.shape.layers && head.head >= 0 && head.head < facts.shape.heads) return;
  throw std::invalid_argument("head " + std::to_string(head.layer) + "." + std::to_string(head.head) +
                              ": the model has " + std::to_string(facts.shape.layers) + " layers of " +
                              std::to_string(facts.shape.heads) + " heads, both counted from 0");
}

void Trace::Impl::cells(ScoreStage stage, HeadId head, TraceRange rows, TraceRange keys, float* out) const {
  check(head);
  const TraceShape& s = facts.shape;
  const int64_t count = rows.end - rows.begin, columns = keys.end - keys.begin;
  std::fill_n(out, count * columns, stage == ScoreStage::weight ? 0.0F : -std::numeric_limits<float>::infinity());
  keys.end = std::min(keys.end, rows.end);  // nobody sees further
  if (count == 0 || keys.begin >= keys.end) return;
  const DType dtype = dtype_of_store(s.store);
  const int64_t width = store_bytes(s.store) * s.head_dim, kv_head = head.head / (s.heads / s.kv_heads);
  const ConstTensor q = vectors(
      pages.bytes(stored(q_name(head.layer)), static_cast<uint64_t>((head.head * s.tokens + rows.begin) * width),
                  static_cast<uint64_t>(count * width)),
      dtype, count, s.head_dim);
  const auto max = of_head<float>("max_logit", head, s.tokens, rows.begin, count);
  const auto sum = of_head<float>("row_sum", head, s.tokens, rows.begin, count);
  const StoredTensor& all_k = stored(k_name(head.layer));
  const int64_t first = keys.begin / slice_keys, slices = (keys.end + slice_keys - 1) / slice_keys - first;
  const attend::PoolLease lease(slices == 1 ? 1 : 0);
  lease.pool().run(slices, [&](int64_t task, int) {
    const int64_t begin = std::max(keys.begin, (first + task) * slice_keys);
    const int64_t end = std::min(keys.end, (first + task + 1) * slice_keys);
    const int64_t from = begin / kernels::block_keys * kernels::block_keys;  // whole blocks, as far as the rows see
    const int64_t to =
        std::min({rows.end, s.tokens, (end + kernels::block_keys - 1) / kernels::block_keys * kernels::block_keys});
    const ConstTensor k = vectors(pages.bytes(all_k, static_cast<uint64_t>((kv_head * s.tokens + from) * width),
                                              static_cast<uint64_t>((to - from) * width)),
                                  dtype, to - from, s.head_dim);
    const int64_t late = std::max(rows.begin, begin);  // rows before see none of these keys
    const int64_t skip = late - rows.begin;
    ConstTensor some_q = q;
    some_q.data = static_cast<const std::byte*>(q.data) + skip * width;
    some_q.shape[2] = count - skip;
    AttentionParams params;
    params.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.head_dim)));  // as layer.cc
    params.is_causal = true;
    params.offset = late - from;
    params.threads = slices == 1 ? 0 : 1;
    const std::vector<uint8_t> mask = window_mask(facts.run.reach, {late, rows.end}, {from, to});
    if (!mask.empty()) {
      params.attn_mask = ConstTensor(TensorView<const uint8_t>(mask.data(), {1, 1, rows.end - late, to - from}));
    }
    Rectangle rectangle;
    rectangle.key_begin = begin - from;
    rectangle.key_end = end - from;
    rectangle.stage = stage;
    rectangle.max_logit = max.data() + skip;
    rectangle.row_sum = sum.data() + skip;
    const TensorView<float> target(out + skip * columns + begin - keys.begin, {1, 1, count - skip, end - begin},
                                   {0, 0, columns, 1});
    bareattn::weights(some_q, k, target, rectangle, params);
  });
}

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::~Trace() = default;

std::shared_ptr<const Trace> Trace::open(const std::string& path) {
  return std::shared_ptr<const Trace>(new Trace(std::make_unique<Impl>(path)));
}

const std::string& Trace::path() const { return impl_->file.file().path(); }
Store Trace::store() const { return impl_->facts.shape.store; }
const TraceRun& Trace::run() const { return impl_->facts.run; }
const std::string& Trace::engine_version() const { return impl_->facts.engine; }
const std::string& Trace::title() const { return impl_->facts.title; }
const std::vector<NamedSpan>& Trace::spans() const { return impl_->facts.spans; }
void Trace::verify() const { impl_->pages.check_all(); }

void Trace::check_model_file(const std::string& model_path) const {
  const std::string hash = base::sha256(base::MappedFile(model_path));
  if (hash == impl_->facts.model_sha256) return;
  throw FileError(path(), impl_->file.offset_of("model_sha256"),
                  "the trace was made with another model: " + impl_->facts.model_file + " with SHA-256 " +
                      impl_->facts.model_sha256.substr(0, 16) + "..., not " + model_path + " with " +
                      hash.substr(0, 16) + "...");
}

void Trace::Impl::check(TraceRange rows, TraceRange keys) const {
  const auto within = [&](const char* what, TraceRange range) {
    if (range.begin >= 0 && range.begin <= range.end && range.end <= length()) return;
    throw std::invalid_argument(std::string(what) + " " + std::to_string(range.begin) + ":" +
                                std::to_string(range.end) + ": a range within 0:" + std::to_string(length()) +
                                " is needed");
  };
  within("rows", rows);
  within("keys", keys);
}

std::vector<float> Trace::tile(HeadId head, TraceRange rows, TraceRange keys) const {
  impl_->check(rows, keys);
  std::vector<float> out(static_cast<size_t>((rows.end - rows.begin) * (keys.end - keys.begin)));
  impl_->cells(ScoreStage::weight, head, rows, keys, out.data());
  return out;
}

std::vector<float> Trace::scores(HeadId head, TraceRange rows, TraceRange keys) const {
  impl_->check(rows, keys);
  std::vector<float> out(static_cast<size_t>((rows.end - rows.begin) * (keys.end - keys.begin)));
  impl_->cells(ScoreStage::biased, head, rows, keys, out.data());
  return out;
}

std::vector<float> Trace::row_weights(HeadId head, int64_t row) const {
  if (row < 0 || row >= impl_->length()) {
    throw std::invalid_argument("row " + std::to_string(row) + ": the text has " + std::to_string(impl_->length()) +
                                " tokens");
  }
  std::vector<float> out(static_cast<size_t>(row + 1));
  impl_->cells(ScoreStage::weight, head, {row, row + 1}, {0, row + 1}, out.data());
  return out;
}

std::vector<std::pair<int32_t, float>> Trace::top_keys(HeadId head, int64_t row, int count) const {
  return strongest(row_weights(head, row), count);
}

}  // namespace bareattn
