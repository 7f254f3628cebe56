// The bits of today: SHA-256 of logits, statistics, the tensors of a trace, what is read from it, and the page's data,
// of five short texts in three sets of options, and of what variants and probes give. A change that means to change no
// bit must leave tests/golden/bits_golden.json as it is; one that means to writes it anew, with
// BAREATTN_WRITE_GOLDEN=1 before this program. Versions of formats, times and sizes of threads are not in the hashes.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "bareattn/head_roles.h"
#include "bareattn/score_table.h"
#include "bareattn/steering.h"
#include "bareattn/trace.h"
#include "bareattn/variant.h"
#include "base/sha256.h"
#include "files/safetensors.h"
#include "folder.h"
#include "gguf_builder.h"
#include "golden_json.h"
#include "model_under_test.h"
#include "observe/measures.h"
#include "roles/recipes.h"
#include "view/page_description.h"
#include "view/page_sections.h"

namespace bareattn {
namespace {

using nlohmann::json;

class Hash {
 public:
  template <class T>
  Hash& add(const std::vector<T>& values) {
    hash_.update(std::as_bytes(std::span(values)));
    return *this;
  }
  Hash& add(std::string_view text) {
    hash_.update(std::as_bytes(std::span(text)));
    return *this;
  }
  std::string finish() { return hash_.finish(); }

 private:
  base::Sha256 hash_;
};

const std::vector<std::string> texts = {
    "The cat sat on the mat, and the cat slept.",
    "Mary had a little lamb, its fleece was white as snow. And everywhere that Mary went, the lamb was sure to go.",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))  # 3\n",
    "Gr\xC3\xBC\xC3\x9F"
    "e aus K\xC3\xB6ln \xF0\x9F\x98\x80 \xE4\xBD\xA0\xE5\xA5\xBD",
    "one two three four five one two three four five one two three four five one two three four five one two three"};

/// Boosts, a cut, a temperature and a sink logit, in some heads each.
std::shared_ptr<const ScoreTable> steering(const ModelConfig& config, int64_t n) {
  using Kind = bareattn::Intervention::Kind;
  const auto one = [](Kind kind, std::vector<std::string> heads, double value) {
    bareattn::Intervention made;
    made.kind = kind;
    made.heads = std::move(heads);
    made.value = value;
    return made;
  };
  const std::string boosted = config.layers > 3 ? "3.*" : "1.*";
  std::vector<bareattn::Intervention> all = {one(Kind::boost, {boosted, "0.1"}, 4), one(Kind::knockout, {"*.0"}, 1),
                                             one(Kind::temperature, {"*.1"}, 1.5)};
  all[0].keys = {{2, 5}};
  all[1].keys = {{3, 4}};
  all[1].rows = {{6, n}};
  return std::make_shared<ScoreTable>(make_table(all, config, n));
}

struct Options {
  const char* name;
  Precision precision, attention;
  bool steered, window;
};

/// `all`: what the keys carry and how heads agree, too, which cost most of the time.
json hashes_of(const Options& how, const std::string& text, bool all) {
  const auto model = test::real_model(how.precision, how.attention);
  const ModelConfig& config = model->config();
  const std::vector<int32_t> tokens = model->tokenizer().encode(text);
  const auto n = static_cast<int64_t>(tokens.size());
  const auto table = how.steered ? steering(config, n) : nullptr;
  const Reach reach = how.window ? Reach{.window = 7, .sinks = 2} : Reach{};
  json out;

  Session session(model, {.threads = 2, .max_tokens = n, .reach = reach, .table = table});
  const auto logits = session.run(tokens, Logits::all);
  out["logits"] = Hash().add(std::vector<float>(logits.data, logits.data + logits.shape[0] * logits.shape[1])).finish();

  MeasureGroups groups;
  groups.spread = true;
  groups.values = groups.agreement = all;
  const auto observation = observe(model, tokens, {.measures = groups, .keep_v = all, .table = table}, 2);
  Hash statistics, page;
  const auto layout = view::pool_layout(*observation, 1);
  for (int layer = 0; layer < config.layers; ++layer) {
    if (all) statistics.add(observation->output_cosine(layer));
    for (int head = 0; head < config.heads; ++head) {
      const HeadId id{layer, head};
      for (int m = 0; m < measure_count; ++m) statistics.add(observation->rows(static_cast<Measure>(m), id));
      statistics.add(observation->received(id)).add(observation->max_key(id));
      if (all) statistics.add(observation->carried(id));
      statistics.add(observation->pool_sum(id)).add(observation->pool_max(id));
      const auto map = view::pooled_map(*observation, id, layout);
      page.add(view::pool_bytes(map)).add(view::thumb_bytes(map, layout, n)).add(view::row_bytes(*observation, id));
      page.add(view::q_bytes(*observation, id));
      if (all) page.add(view::key_bytes(*observation, id));
      if (head == 0) page.add(view::k_bytes(*observation, layer, 0));
      if (layer % 7 == 0 && head % 2 == 0) {
        statistics.add(observation->tile(id, {1, n}, {0, n - 1})).add(observation->scores(id, {1, n}, {0, n - 1}));
        statistics.add(observation->row_weights(id, n / 2)).add(observation->row_weights(id, n - 1));
      }
    }
  }
  out["statistics"] = statistics.finish();
  json description = view::page_description(*observation, "a title");
  if (how.steered) view::add_steering(description, *observation, {{0, 0}, {3, 1}, {5, 1}});
  for (const char* part : {"tokens", "token_ids", "measures", "means", "roles", "highlights", "steering"})
    page.add(description.contains(part) ? description[part].dump() : "");
  out["page"] = page.finish();

  const test::Folder folder;
  write_trace(folder / "trace", model, tokens, {.measures = groups, .table = table}, reach, 2);
  Hash trace;
  {
    const observing::SafetensorsFile file(folder / "trace");
    for (const auto& tensor : file.tensors()) {
      std::vector<std::byte> bytes(tensor.bytes());
      file.file().read_at(file.data_begin() + tensor.begin, bytes);
      trace.add(tensor.name).add(bytes);
    }
  }
  out["trace"] = trace.finish();
  const auto opened = Trace::open(folder / "trace");
  Hash cells;
  for (int layer = 0; layer < config.layers; layer += 5) {
    for (int head = 0; head < config.heads; head += 2) {
      const HeadId id{layer, head};
      cells.add(opened->tile(id, {0, n}, {0, n})).add(opened->scores(id, {1, n}, {0, n - 1}));
      cells.add(opened->row_weights(id, n - 1));
    }
  }
  out["cells"] = cells.finish();
  return out;
}

/// Logits of a run that departs from the file in each of the ways there are, in two calls.
json variants() {
  const auto model = test::real_model();
  const std::vector<int32_t> tokens = model->tokenizer().encode(texts[1]);
  const ModelConfig& config = model->config();
  std::vector<std::pair<const char*, Variant>> all;
  const auto add = [&](const char* name, const auto& change) {
    all.emplace_back(name, Variant{});
    change(all.back().second);
  };
  add("rope_base", [](Variant& v) { v.rope_base = 1e4F; });
  add("positions", [](Variant& v) { v.position_shift = 3, v.position_limit = 20, v.query_shift = 1; });
  add("kv_of_head", [&](Variant& v) {
    for (int h = 0; h < config.heads; ++h) v.kv_of_head.push_back(h % config.kv_heads);
  });
  add("query_scale", [](Variant& v) { v.query_scale = 0.5F, v.query_scale_layer = 2; });
  add("key_bits", [](Variant& v) { v.key_bits = 6; });
  add("copied_head", [](Variant& v) { v.copied_head = {10, 12, 40, 37}; });
  add("score_scale", [](Variant& v) { v.score_scale = 1.5F; });
  add("drift", [](Variant& v) { v.drift = 0.5; });
  add("future", [](Variant& v) { v.future = 2; });
  add("window", [](Variant& v) { v.window = 5, v.window_every = 2; });
  add("late_shift", [](Variant& v) { v.late_shift = 2; });
  add("table", [&](Variant& v) { v.table = *steering(config, 30); });
  json out;
  for (const auto& [name, variant] : all) {
    const auto n = static_cast<int64_t>(tokens.size());
    const auto shared = std::make_shared<Variant>(variant);
    Session session(model, {.threads = 2, .max_tokens = n, .variant = shared});
    Hash hash;
    for (const auto part : {std::span(tokens).first(10), std::span(tokens).subspan(10)}) {
      const auto logits = session.run(part, Logits::all);
      hash.add(std::vector<float>(logits.data, logits.data + logits.shape[0] * logits.shape[1]));
    }
    out[name] = hash.finish();
  }
  return out;
}

/// Scores of the probes that compute something of the forward pass themselves.
json probes() {
  observing::RecipeRun run;
  run.model = test::real_model();
  run.threads = 2;
  run.advance = [](int64_t) {};
  const std::vector<int32_t> tokens = run.model->tokenizer().encode(texts[1]);
  const auto positions = observing::copy_positions(run, tokens, 0);
  const auto repeat = observing::score_repeat(run, observing::repeat_tokens(run, 1, 0));
  json out;
  out["copying"] = Hash().add(observing::score_copying(run, tokens, positions)).finish();
  out["repeat"] = Hash().add(repeat.induction).add(repeat.duplicate).add(repeat.previous).finish();
  return out;
}

/// What is read from a trace that a program of version 1 wrote, of a run that was steered and had a window. The file
/// can be made by such a program only.
json old_trace() {
  const std::string path = BAREATTN_SOURCE_DIR "/tests/golden/trace_version_1.safetensors";
  if (std::getenv("BAREATTN_WRITE_GOLDEN") != nullptr && !std::filesystem::exists(path)) {
    const test::TemporaryFile file(test::tiny_llama().build());
    const auto model = Model::load(file.path(), {.threads = 1});
    auto table = std::make_shared<ScoreTable>(*steering(model->config(), 24));
    write_trace(path, model, test::byte_tokens(24), {.table = table}, {.window = 9, .sinks = 2}, 1);
  }
  const auto trace = Trace::open(path);
  Hash cells;
  for (int layer = 0; layer < 2; ++layer)
    for (int head = 0; head < 4; ++head) {
      cells.add(trace->tile({layer, head}, {0, 24}, {0, 24})).add(trace->scores({layer, head}, {0, 24}, {0, 24}));
      cells.add(trace->row_weights({layer, head}, 23)).add(trace->rows(Measure::entropy, {layer, head}));
    }
  return cells.finish();
}

TEST(BitsGolden, AreWhatTheyWere) {
  json found;
  for (const Options& how : {Options{"plain", Precision::f32, Precision::f32, false, false},
                             Options{"bf16", Precision::bf16, Precision::bf16, false, true},
                             Options{"steered", Precision::f32, Precision::f32, true, true}})
    for (size_t i = 0; i < texts.size(); ++i) found[how.name].push_back(hashes_of(how, texts[i], i == 0));
  found["variants"] = variants();
  found["probes"] = probes();
  found["old trace"] = old_trace();
  if (std::getenv("BAREATTN_WRITE_GOLDEN") != nullptr)
    std::ofstream(BAREATTN_SOURCE_DIR "/tests/golden/bits_golden.json") << found.dump(1) << "\n";
  const json wanted = test::golden_json("bits_golden.json");
  for (const auto& difference : json::diff(wanted, found)) ADD_FAILURE() << difference.dump();
}

}  // namespace
}  // namespace bareattn
