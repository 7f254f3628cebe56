// See trace_format.h.
#include "trace/trace_format.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "base/checked.h"
#include "base/json.h"
#include "base/page_sums.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "observe/recorder.h"

namespace bareattn {

const char* store_name(Store store) { return store == Store::f32 ? "f32" : store == Store::bf16 ? "bf16" : "f16"; }

namespace observing {
namespace {

using Json = nlohmann::json;
using Written = nlohmann::ordered_json;  // keys as they were put in

constexpr const char* format_name = "bareattn-trace";

Written config_json(const TraceFacts& facts) {
  const ModelConfig& c = facts.config;
  return {{"architecture", base::to_valid_utf8(c.architecture)},
          {"name", base::to_valid_utf8(c.name)},
          {"file", base::to_valid_utf8(facts.model_file)},
          {"file_type", c.file_type},
          {"parameters", facts.parameters},
          {"layers", c.layers},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"head_dim", c.head_dim},
          {"width", c.width},
          {"mlp_width", c.mlp_width},
          {"vocab_size", c.vocab_size},
          {"context_length", c.context_length},
          {"rope_base", c.rope_base},
          {"rope_dim", c.rope_dim},
          {"norm_epsilon", c.norm_epsilon}};
}

// The rule of each layer, without what the run and its steering change.
Written scores_json(const Architecture& architecture) {
  const ScoreRules rules(architecture, {}, nullptr, 0);
  Written all = Written::array();
  for (int layer = 0; layer < architecture.layers; ++layer) {
    const ScoreRule& rule = rules.layer(layer);
    all.push_back({{"scale", rule.scale},
                   {"softcap", rule.softcap},
                   {"left_window", rule.left_window},
                   {"leading_keys", rule.leading_keys},
                   {"right_window", rule.right_window}});
    if (!rule.alibi_slopes.empty()) all.back()["alibi_slopes"] = rule.alibi_slopes;
    if (!rule.sinks.empty()) all.back()["sinks"] = rule.sinks;  // minus infinity becomes null
  }
  return all;
}

Written run_json(const TraceFacts& facts) {
  return {{"precision", precision_name(facts.precision)},
          {"attention", precision_name(facts.attention)},
          {"seconds", facts.run.seconds},
          {"threads", facts.run.threads},
          {"beyond", beyond_name(facts.run.reach.beyond)},
          {"window", facts.run.reach.window},
          {"sinks", facts.run.reach.sinks}};
}

void add_rows(std::vector<StoredTensor>& tensors, const TraceShape& s, std::string_view dtype, bool integers) {
  for (const RowArray& array : row_arrays(s.groups)) {
    if ((array.place == nullptr) != integers) continue;
    tensors.push_back({array.name, std::string(dtype), {s.layers, s.heads, s.tokens}});
  }
}

// Metadata of a file, field by field; whatever is missing or of another kind is a FileError that names it.
class Reader {
 public:
  Reader(const SafetensorsFile& file, const std::string& key) : file_(file), key_(key) {
    const auto at = file.metadata().find(key);
    if (at == file.metadata().end()) fail("is missing");
    std::string problem;
    json_ = base::read_json(at->second, problem);
    if (!problem.empty()) fail(problem);
    if (!json_.is_object() && !json_.is_array()) fail("is no JSON object");
  }
  const Json& json() const { return json_; }

  template <class T>
  T get(const Json& from, const char* field) const {
    const auto at = from.find(field);
    if (at == from.end()) fail(std::string("has no '") + field + "'");
    if constexpr (std::is_same_v<T, std::string>) {
      if (!at->is_string()) fail(std::string("'") + field + "' is no text");
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!at->is_number() || !std::isfinite(at->template get<double>()))
        fail(std::string("'") + field + "' is no number");
    } else {
      if (!at->is_number_integer() || (at->is_number_unsigned() && at->template get<uint64_t>() > (uint64_t{1} << 53)))
        fail(std::string("'") + field + "' is no whole number");
    }
    return at->template get<T>();
  }
  int count(const char* field, int most) const {
    const auto value = get<int64_t>(json_, field);
    if (value < 1 || value > most) {
      fail(std::string("'") + field + "' is " + std::to_string(value) + "; 1 to " + std::to_string(most) +
           " is needed");
    }
    return static_cast<int>(value);
  }
  [[noreturn]] void fail(const std::string& sentence) const {
    file_.fail(file_.offset_of(key_), "the trace's '" + key_ + "' " + sentence);
  }

 private:
  const SafetensorsFile& file_;
  std::string key_;
  Json json_;
};

void read_config(const SafetensorsFile& file, TraceFacts& facts) {
  const Reader model(file, "model");
  ModelConfig& c = facts.config;
  c.architecture = model.get<std::string>(model.json(), "architecture");
  c.name = model.get<std::string>(model.json(), "name");
  facts.model_file = model.get<std::string>(model.json(), "file");
  c.file_type = model.get<std::string>(model.json(), "file_type");
  facts.parameters = model.get<int64_t>(model.json(), "parameters");
  c.layers = model.count("layers", 4'096);
  c.heads = model.count("heads", 65'536);
  c.kv_heads = model.count("kv_heads", 65'536);
  c.head_dim = model.count("head_dim", 1'048'576);
  c.width = model.count("width", 1'048'576);
  c.mlp_width = model.count("mlp_width", 1'048'576);
  c.vocab_size = model.count("vocab_size", 4'194'304);
  c.context_length = model.count("context_length", 1'073'741'824);
  c.rope_base = model.get<float>(model.json(), "rope_base");
  c.rope_dim = model.count("rope_dim", 1'048'576);
  c.norm_epsilon = model.get<float>(model.json(), "norm_epsilon");
  if (c.heads % c.kv_heads != 0) model.fail("has key-value heads that do not divide the query heads");
}

void read_scores(const SafetensorsFile& file, int version, TraceFacts& facts) {
  if (version < 2) return;  // what scores.h takes where nothing is said
  const Reader scores(file, "scores");
  const auto layers = static_cast<size_t>(facts.config.layers), heads = static_cast<size_t>(facts.config.heads);
  if (scores.json().size() != layers) scores.fail("has not one rule a layer");
  for (const Json& from : scores.json()) {
    if (!from.is_object()) scores.fail("is no list of rules");
    ScoreRule rule;
    rule.scale = scores.get<float>(from, "scale");
    rule.softcap = scores.get<float>(from, "softcap");
    rule.left_window = scores.get<int64_t>(from, "left_window");
    rule.leading_keys = scores.get<int64_t>(from, "leading_keys");
    rule.right_window = scores.get<int64_t>(from, "right_window");
    if (rule.left_window < -1 || rule.right_window < -1 || rule.leading_keys < 0 || rule.softcap < 0)
      scores.fail("has a negative window or softcap");
    const auto of_heads = [&](const char* name) {
      std::vector<float> values;
      if (!from.contains(name)) return values;
      if (!from[name].is_array() || from[name].size() != heads)
        scores.fail(std::string("has '") + name + "' of another number of heads");
      for (const Json& value : from[name]) {  // null: minus infinity
        if (!value.is_number() && !value.is_null()) scores.fail(std::string("has '") + name + "' that is no number");
        values.push_back(value.is_null() ? -std::numeric_limits<float>::infinity() : value.get<float>());
      }
      return values;
    };
    rule.alibi_slopes = of_heads("alibi_slopes");
    rule.sinks = of_heads("sinks");
    facts.config.per_layer.push_back({std::move(rule)});
  }
}

void read_run(const SafetensorsFile& file, TraceFacts& facts) {
  const Reader run(file, "run");
  const auto precision = run.get<std::string>(run.json(), "precision");
  const auto beyond = run.get<std::string>(run.json(), "beyond");
  const auto attention = run.json().contains("attention") ? run.get<std::string>(run.json(), "attention") : "f32";
  for (const std::string& name : {precision, attention})
    if (name != "f32" && name != "bf16") run.fail("has a precision that is neither f32 nor bf16");
  facts.precision = precision == "bf16" ? Precision::bf16 : Precision::f32;
  facts.attention = attention == "bf16" ? Precision::bf16 : Precision::f32;
  facts.run.seconds = run.get<double>(run.json(), "seconds");
  facts.run.threads = run.count("threads", 1 << 20);
  Reach& reach = facts.run.reach;
  for (const Beyond known : {Beyond::refuse, Beyond::extrapolate, Beyond::scale})
    if (beyond == beyond_name(known)) reach.beyond = known;
  if (beyond != beyond_name(reach.beyond)) run.fail("has an unknown 'beyond'");
  reach.window = run.get<int64_t>(run.json(), "window");
  reach.sinks = run.get<int64_t>(run.json(), "sinks");
  if (reach.window < -1 || reach.sinks < 0) run.fail("has a negative window or sinks");
}

void read_spans(const SafetensorsFile& file, TraceFacts& facts) {
  if (!file.metadata().contains("spans")) return;
  const Reader spans(file, "spans");
  for (const Json& span : spans.json()) {
    if (!span.is_object()) spans.fail("is no list of spans");
    NamedSpan one{spans.get<std::string>(span, "name"), spans.get<int64_t>(span, "begin"),
                  spans.get<int64_t>(span, "end")};
    if (one.begin < 0 || one.begin > one.end || one.end > facts.shape.tokens) spans.fail("has a span outside the text");
    facts.spans.push_back(std::move(one));
  }
  try {
    span_sets(facts.spans, facts.shape.tokens);
  } catch (const InputError& error) {
    spans.fail(std::string("has ") + error.what());
  }
}

int64_t last_dimension(const SafetensorsFile& file, const char* name, const char* dtype) {
  const StoredTensor* tensor = file.find(name);
  if (tensor == nullptr || tensor->dtype != dtype || tensor->shape.size() != 1)
    file.fail(8, std::string("the trace has no tensor '") + name + "' of type " + dtype + " and one dimension");
  return tensor->shape[0];
}

// The tensors announced by the metadata, and those there are, must be the same, at the same places: what is read counts
// on the checksums being first, and on wide elements at multiples of their size.
void check_tensors(const SafetensorsFile& file, const TraceShape& shape) {
  const std::vector<StoredTensor> wanted = trace_tensors(shape);
  for (const StoredTensor& want : wanted) {
    const StoredTensor* have = file.find(want.name);
    if (have == nullptr) file.fail(8, "the trace has no tensor '" + want.name + "'");
    if (have->dtype != want.dtype || have->shape != want.shape) {
      file.fail(file.offset_of(want.name),
                "tensor '" + want.name + "' is not of the type and shape that the trace's metadata say");
    }
  }
  if (file.tensors().size() != wanted.size()) {
    file.fail(8, "the trace has " + std::to_string(file.tensors().size()) + " tensors; " +
                     std::to_string(wanted.size()) + " are known");
  }
  for (const StoredTensor& want : wanted) {
    const StoredTensor& have = *file.find(want.name);
    if (have.begin == want.begin && have.end == want.end) continue;
    file.fail(file.offset_of(want.name), "tensor '" + want.name + "' is at [" + std::to_string(have.begin) + ", " +
                                             std::to_string(have.end) + "] of the data; a trace has it at [" +
                                             std::to_string(want.begin) + ", " + std::to_string(want.end) + "]");
  }
  if (file.data_begin() % 8 != 0) file.fail(0, "the trace's data do not begin at a multiple of 8");
}

}  // namespace

std::string q_name(int layer) { return "layers." + std::to_string(layer) + ".q"; }
std::string k_name(int layer) { return "layers." + std::to_string(layer) + ".k"; }
int64_t store_bytes(Store store) { return store == Store::f32 ? 4 : 2; }

std::vector<StoredTensor> trace_tensors(const TraceShape& s) {
  // Widest elements first, so that each lies at a multiple of its size.
  std::vector<StoredTensor> tensors{{"text_offsets", "I64", {s.tokens + 1}}};
  if (s.groups.columns) tensors.push_back({"received", "F64", {s.layers, s.heads, s.tokens}});
  if (s.pool_block != 0) tensors.push_back({"pool_sum", "F64", {s.layers, s.heads, s.cells()}});
  add_rows(tensors, s, "F32", false);
  if (s.groups.values) tensors.push_back({"carried", "F32", {s.layers, s.heads, s.tokens}});
  if (s.groups.agreement) tensors.push_back({"output_cosine", "F32", {s.layers, s.heads, s.heads}});
  if (s.span_sets != 0) tensors.push_back({"span_mass", "F32", {s.layers, s.heads, s.span_sets, s.tokens}});
  if (s.pool_block != 0) tensors.push_back({"pool_max", "F32", {s.layers, s.heads, s.cells()}});
  if (s.row_spans != 0) {
    tensors.push_back({"steer_value", "F32", {s.layers, s.heads, s.row_spans, s.key_spans}});
    tensors.push_back({"steer_scale", "F32", {s.layers, s.heads}});
  }
  add_rows(tensors, s, "I32", true);
  tensors.push_back({"tokens", "I32", {s.tokens}});
  const std::string dtype = s.store == Store::f32 ? "F32" : s.store == Store::bf16 ? "BF16" : "F16";
  for (int layer = 0; layer < s.layers; ++layer) {
    tensors.push_back({q_name(layer), dtype, {s.heads, s.tokens, s.head_dim}});
    tensors.push_back({k_name(layer), dtype, {s.kv_heads, s.tokens, s.head_dim}});
  }
  if (s.row_spans != 0) {
    tensors.push_back({"steer_row_span", "U8", {s.tokens}});
    tensors.push_back({"steer_key_span", "U8", {s.tokens}});
  }
  tensors.push_back({"text", "U8", {s.text_bytes}});
  const auto place = [&](base::CheckedSize at) {
    for (StoredTensor& t : tensors) {
      t.begin = at.value();
      at +=
          (base::CheckedSize::product(std::span<const int64_t>(t.shape), t.name) * bits_of(t.dtype)).divide_exactly(8);
      t.end = at.value();
    }
    return at;
  };
  const int64_t pages = (place(0) / base::sum_page_bytes + 1).to<int64_t>();
  tensors.insert(tensors.begin(), {"checksums", "U64", {pages}});
  place(0);
  return tensors;
}

Metadata metadata_of(const TraceFacts& facts) {
  Written spans = Written::array();
  for (const NamedSpan& span : facts.spans)
    spans.push_back({{"name", base::to_valid_utf8(span.name)}, {"begin", span.begin}, {"end", span.end}});
  const TraceShape& shape = facts.shape;
  Metadata metadata{{"format", format_name},
                    {"format_version", std::to_string(trace_version)},
                    {"engine", facts.engine},
                    {"title", base::to_valid_utf8(facts.title)},
                    {"model", config_json(facts).dump()},
                    {"scores", scores_json(facts.config).dump()},
                    {"model_sha256", facts.model_sha256},
                    {"store", store_name(shape.store)},
                    {"pool_block", std::to_string(shape.pool_block)},
                    {"run", run_json(facts).dump()},
                    {"digest", std::string(64, '0')}};
  if (!facts.spans.empty()) metadata["spans"] = spans.dump();
  return metadata;
}

TraceFacts read_facts(const SafetensorsFile& file) {
  const Metadata& metadata = file.metadata();
  const auto text = [&](const char* key) -> const std::string& {
    const auto at = metadata.find(key);
    if (at == metadata.end()) file.fail(8, std::string("the trace's metadata have no '") + key + "'");
    return at->second;
  };
  const auto number = [&](const char* key, int most) {
    const std::string& digits = text(key);
    if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos ||
        std::stoi(digits) > most) {
      file.fail(file.offset_of(key), std::string("the trace's '") + key + "' is '" +
                                         base::escape_for_terminal(digits.substr(0, 40)) + "'; a number up to " +
                                         std::to_string(most) + " is needed");
    }
    return std::stoi(digits);
  };
  const auto format = metadata.find("format");
  if (format == metadata.end() || format->second != format_name)
    file.fail(8, std::string("a safetensors file, but no trace: its metadata do not say format '") + format_name + "'");
  const int version = number("format_version", 999'999'999);
  if (version < oldest_trace_version || version > trace_version) {
    file.fail(file.offset_of("format_version"),
              "a trace of version " + std::to_string(version) + ", which " +
                  (version > trace_version ? "a newer" : "no") + " program wrote; this one reads versions " +
                  std::to_string(oldest_trace_version) + " to " + std::to_string(trace_version));
  }
  TraceFacts facts;
  facts.engine = text("engine");
  facts.title = text("title");
  facts.model_sha256 = text("model_sha256");
  // It names a file of the cache of roles, so nothing else may stand there.
  if (facts.model_sha256.size() != 64 ||
      facts.model_sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
    file.fail(file.offset_of("model_sha256"), "the trace's 'model_sha256' is no SHA-256: 64 digits of 0-9 and a-f");
  }
  TraceShape& shape = facts.shape;
  const std::string& store = text("store");
  bool known = false;
  for (const Store one : {Store::f16, Store::bf16, Store::f32}) {
    if (store != store_name(one)) continue;
    shape.store = one;
    known = true;
  }
  if (!known) file.fail(file.offset_of("store"), "the trace's 'store' is none of f16, bf16, f32");
  read_config(file, facts);
  read_scores(file, version, facts);
  read_run(file, facts);
  shape.layers = facts.config.layers;
  shape.heads = facts.config.heads;
  shape.kv_heads = facts.config.kv_heads;
  shape.head_dim = facts.config.head_dim;
  shape.tokens = last_dimension(file, "tokens", "I32");
  shape.text_bytes = last_dimension(file, "text", "U8");
  shape.groups = {.rows = file.find("entropy") != nullptr,
                  .distance = file.find("mean_distance") != nullptr,
                  .spans = file.find("first_mass") != nullptr,
                  .columns = file.find("received") != nullptr,
                  .map = file.find("pool_sum") != nullptr,
                  .spread = file.find("distance_spread") != nullptr,
                  .values = file.find("carried") != nullptr,
                  .agreement = file.find("output_cosine") != nullptr};
  if (shape.tokens < 1) file.fail(file.offset_of("tokens"), "the trace has no tokens");
  shape.pool_block = number("pool_block", 1 << 30);
  if (shape.pool_block != 0 && !is_pool_block(shape.pool_block))
    file.fail(file.offset_of("pool_block"), "the trace's 'pool_block' is neither 1, 2, 4, 8 nor a multiple of 16");
  if (shape.groups.map != (shape.pool_block != 0))
    file.fail(file.offset_of("pool_block"), "the trace has 'pool_block' without a map, or a map without it");
  read_spans(file, facts);
  if (file.find("span_mass") != nullptr)
    shape.span_sets = static_cast<int>(span_sets(facts.spans, shape.tokens).size());
  if (const StoredTensor* value = file.find("steer_value")) {
    const auto spans = [&](size_t axis) {
      if (value->shape.size() != 4 || value->shape[axis] < 1 || value->shape[axis] > 256)
        file.fail(file.offset_of("steer_value"),
                  "the trace's 'steer_value' has not 1 to 256 spans of rows and of keys");
      return static_cast<int>(value->shape[axis]);
    };
    shape.row_spans = spans(2);
    shape.key_spans = spans(3);
  }
  try {
    check_tensors(file, shape);
  } catch (const base::SizeError& error) {
    file.fail(8, std::string("the trace's metadata: ") + error.what());
  }
  const StoredTensor& sums = *file.find("checksums");
  std::vector<std::byte> copy(sums.bytes());
  file.file().read_at(file.data_begin() + sums.begin, copy);
  if (trace_digest(std::string(file.header()), text("digest"), copy) != text("digest")) {
    file.fail(file.offset_of("digest"),
              "the trace's header or checksums were altered after it was written: the digest does not fit");
  }
  return facts;
}

std::string trace_digest(std::string header, const std::string& digest, std::span<const std::byte> checksums) {
  const size_t at = digest.size() == 64 ? header.find(digest) : std::string::npos;
  if (at == std::string::npos) return {};
  header.replace(at, 64, std::string(64, '0'));
  base::Sha256 hash;
  hash.update(std::as_bytes(std::span(header)));
  hash.update(checksums);
  return hash.finish();
}

}  // namespace observing
}  // namespace bareattn
