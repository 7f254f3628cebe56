// Trace: opening a file and exact weights from it (exact_cells.h).
#include "bareattn/trace.h"

#include <algorithm>
#include <stdexcept>

#include "bareattn/error.h"
#include "bareattn/score_table.h"
#include "base/float_environment.h"
#include "base/sha256.h"
#include "observe/exact_cells.h"
#include "observe/strongest.h"
#include "observe/token_texts.h"
#include "trace/trace_impl.h"

namespace bareattn {

using namespace observing;  // NOLINT: this file is that floor's

namespace {

DType dtype_of_store(Store store) {
  return store == Store::f32 ? DType::f32 : store == Store::bf16 ? DType::bf16 : DType::f16;
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
  table = read_table();
  rules = ScoreRules(facts.config, facts.run.reach, table.get(), count);
}

std::shared_ptr<const ScoreTable> Trace::Impl::read_table() const {
  const TraceShape& s = facts.shape;
  if (s.row_spans == 0) return nullptr;
  auto made = std::make_shared<ScoreTable>();
  made->row_spans = s.row_spans;
  made->key_spans = s.key_spans;
  made->heads = s.heads;
  made->head_dim = s.head_dim;
  const auto spans = [&](const char* name, int most) {
    const auto ids = pages.values<uint8_t>(stored(name), 0, static_cast<uint64_t>(s.tokens));
    if (const auto wrong = std::find_if(ids.begin(), ids.end(), [&](int id) { return id >= most; }); wrong != ids.end())
      file.fail(file.offset_of(name), "the trace's '" + std::string(name) + "' names span " + std::to_string(*wrong) +
                                          "; there are " + std::to_string(most));
    return std::vector<uint8_t>(ids.begin(), ids.end());
  };
  made->row_span = spans("steer_row_span", s.row_spans);
  made->key_span = spans("steer_key_span", s.key_spans);
  const int64_t cells = int64_t{s.heads} * s.row_spans * s.key_spans;
  for (int layer = 0; layer < s.layers; ++layer) {
    const auto part = [&](const char* name, int64_t count) {
      const auto values =
          pages.values<float>(stored(name), static_cast<uint64_t>(layer * count), static_cast<uint64_t>(count));
      return std::vector<float>(values.begin(), values.end());
    };
    LayerTable& to = made->layers.emplace_back();
    to.value = part("steer_value", cells);
    to.head_scale = part("steer_scale", s.heads);
  }
  return made;
}

const StoredTensor& Trace::Impl::stored(const std::string& name) const {
  const StoredTensor* tensor = file.find(name);
  if (tensor == nullptr) {
    throw InputError(
        file.file().path() + ": '" + name +
        "' was not kept when the trace was made; bareattn trace --measures all keeps it, as does a list with '" +
        group_of(name) + "'");
  }
  return *tensor;
}

void Trace::Impl::check(HeadId head) const {
  if (head.layer >= 0 && head.layer < facts.shape.layers && head.head >= 0 && head.head < facts.shape.heads) return;
  throw std::invalid_argument("head " + std::to_string(head.layer) + "." + std::to_string(head.head) +
                              ": the model has " + std::to_string(facts.shape.layers) + " layers of " +
                              std::to_string(facts.shape.heads) + " heads, both counted from 0");
}

CellSource Trace::Impl::source(HeadId head) const {
  check(head);
  const TraceShape& s = facts.shape;
  const int64_t width = store_bytes(s.store) * s.head_dim, kv_head = head.head / (s.heads / s.kv_heads);
  const StoredTensor &all_q = stored(q_name(head.layer)), &all_k = stored(k_name(head.layer));
  const auto part = [this, &s, width](const StoredTensor& tensor, int64_t of, int64_t begin, int64_t end) {
    return pages.bytes(tensor, static_cast<uint64_t>((of * s.tokens + begin) * width),
                       static_cast<uint64_t>((end - begin) * width));
  };
  CellSource source;
  source.dtype = dtype_of_store(s.store);
  source.compute = compute_of(facts.attention);
  source.tokens = s.tokens;
  source.dim = s.head_dim;
  source.rule = rules.head(head.layer, head.head);
  source.q = [part, &all_q, head](int64_t begin, int64_t end) { return part(all_q, head.head, begin, end); };
  source.k = [part, &all_k, kv_head](int64_t begin, int64_t end) { return part(all_k, kv_head, begin, end); };
  source.max_logit = [this, &s, head](int64_t begin, int64_t end) {
    return of_head<float>("max_logit", head, s.tokens, begin, end - begin);
  };
  source.row_sum = [this, &s, head](int64_t begin, int64_t end) {
    return of_head<float>("row_sum", head, s.tokens, begin, end - begin);
  };
  return source;
}

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::~Trace() = default;

std::shared_ptr<const Trace> Trace::open(const std::string& path) {
  const base::DefaultFloatEnvironment environment;
  return std::shared_ptr<const Trace>(new Trace(std::make_unique<Impl>(path)));
}

const std::string& Trace::path() const { return impl_->file.file().path(); }
Store Trace::store() const { return impl_->facts.shape.store; }
const TraceRun& Trace::run() const { return impl_->facts.run; }
const std::string& Trace::engine_version() const { return impl_->facts.engine; }
const std::string& Trace::title() const { return impl_->facts.title; }
ScoreRule Trace::score_rule(int layer) const { return impl_->rules.layer(layer); }
const ScoreTable* Trace::table() const { return impl_->table.get(); }
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

std::vector<float> Trace::tile(HeadId head, TraceRange rows, TraceRange keys) const {
  const base::DefaultFloatEnvironment environment;
  check_ranges(rows, keys, impl_->length());
  std::vector<float> out(static_cast<size_t>((rows.end - rows.begin) * (keys.end - keys.begin)));
  exact_cells(impl_->source(head), ScoreStage::weight, rows, keys, out.data());
  return impl_->whole(std::move(out));
}

void Trace::visit(HeadId head, TraceRange rows, TraceRange keys, const std::function<void(const Piece&)>& see) const {
  const base::DefaultFloatEnvironment environment;
  check_ranges(rows, keys, impl_->length());
  visit_cells(impl_->source(head), rows, keys, [&](const attend::WeightPiece& piece) {
    see({{piece.row, piece.row + piece.rows}, {piece.key, piece.key + piece.keys}, piece.weight, piece.stride});
  });
  impl_->file.file().check_unchanged();
}

std::vector<float> Trace::scores(HeadId head, TraceRange rows, TraceRange keys) const {
  const base::DefaultFloatEnvironment environment;
  check_ranges(rows, keys, impl_->length());
  std::vector<float> out(static_cast<size_t>((rows.end - rows.begin) * (keys.end - keys.begin)));
  exact_cells(impl_->source(head), ScoreStage::biased, rows, keys, out.data());
  return impl_->whole(std::move(out));
}

std::vector<float> Trace::row_weights(HeadId head, int64_t row) const {
  const base::DefaultFloatEnvironment environment;
  if (row < 0 || row >= impl_->length()) {
    throw std::invalid_argument("row " + std::to_string(row) + ": the text has " + std::to_string(impl_->length()) +
                                " tokens");
  }
  std::vector<float> out(static_cast<size_t>(row + 1));
  exact_cells(impl_->source(head), ScoreStage::weight, {row, row + 1}, {0, row + 1}, out.data());
  return impl_->whole(std::move(out));
}

std::vector<std::pair<int32_t, float>> Trace::top_keys(HeadId head, int64_t row, int count) const {
  return strongest(row_weights(head, row), count);
}

}  // namespace bareattn
