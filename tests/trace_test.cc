// Traces: exact weights (f32 bit for bit those of the pass, f16 and bf16 within the stated bound), the measures those
// of an observed run, chunk by chunk or layer by layer the same file; and what is refused, by name.
#include "bareattn/trace.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "files/safetensors.h"
#include "folder.h"
#include "gguf_builder.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

const std::string& tiny_file() {
  static const test::TemporaryFile file(test::tiny_llama().build());
  return file.path();
}

std::shared_ptr<const Model> tiny() {
  static const std::shared_ptr<const Model> model =
      Model::load(tiny_file(), {.precision = Precision::f32, .threads = 2});
  return model;
}

// Q and K of a run, f32.
class QkRecorder final : public Observer {
 public:
  bool wants(Point point, int) override { return point == Point::rot_q || point == Point::rot_k; }
  void see(const Event& event) override {
    for (int64_t head = 0; head < event.values.shape[1]; ++head) {
      auto& to = (event.point == Point::rot_q ? q : k)[{event.layer, static_cast<int>(head)}];
      for (int64_t i = 0; i < event.values.shape[0]; ++i)
        for (int64_t d = 0; d < event.values.shape[2]; ++d) to.push_back(event.values.at(i, head, d));
    }
  }
  std::map<std::pair<int, int>, std::vector<float>> q, k;  // (layer, head) -> [N, D]
};

QkRecorder qk_of(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& tokens,
                 const Reach& reach = {}) {
  QkRecorder recorder;
  SessionOptions options;
  options.reach = reach;
  options.max_tokens = static_cast<int64_t>(tokens.size());
  Session session(model, options);
  session.run(tokens, Logits::none, &recorder);
  return recorder;
}

// All weights [N, N] of a head, from the pass itself (the attention that makes outputs, which hands out its rows).
std::vector<float> pass_weights(const ModelConfig& config, const QkRecorder& qk, HeadId head, int64_t n,
                                Compute compute = Compute::f32) {
  const int64_t dim = config.head_dim;
  const auto& q = qk.q.at({head.layer, head.head});
  const auto& k = qk.k.at({head.layer, head.head / (config.heads / config.kv_heads)});
  std::vector<float> v(static_cast<size_t>(n * dim), 1.0F), o(v.size()), weights(static_cast<size_t>(n * n));
  std::vector<int64_t> rows(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) rows[static_cast<size_t>(i)] = i;
  AttentionParams params;
  params.is_causal = true;
  params.compute = compute;
  params.returns.full_rows = rows;
  params.returns.full_weights = weights.data();
  attention(TensorView<const float>(q.data(), {1, 1, n, dim}), TensorView<const float>(k.data(), {1, 1, n, dim}),
            TensorView<const float>(v.data(), {1, 1, n, dim}), TensorView<float>(o.data(), {1, 1, n, dim}), params);
  return weights;
}

std::shared_ptr<const Trace> traced(const std::string& path, const std::shared_ptr<const Model>& model,
                                    const std::vector<int32_t>& tokens, const TraceOptions& options = {},
                                    const Reach& reach = {}) {
  write_trace(path, model, tokens, options, reach, 2);
  return Trace::open(path);
}

void expect_bits(const std::vector<float>& weights, int64_t n, const Trace& trace, HeadId head, TraceRange rows,
                 TraceRange keys) {
  const std::vector<float> tile = trace.tile(head, rows, keys);
  const auto columns = static_cast<size_t>(keys.end - keys.begin);
  ASSERT_EQ(tile.size(), static_cast<size_t>(rows.end - rows.begin) * columns);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    ASSERT_EQ(std::memcmp(tile.data() + static_cast<size_t>(i - rows.begin) * columns,
                          weights.data() + i * n + keys.begin, columns * sizeof(float)),
              0)
        << head.layer << "." << head.head << " row " << i << " keys " << keys.begin << ":" << keys.end;
  }
}

TEST(Trace, TilesInF32AreThePassBitForBit) {
  const test::Folder folder;
  constexpr int64_t n = 1300;  // three blocks of 512
  const auto tokens = test::byte_tokens(n);
  const auto trace = traced(folder / "a", tiny(), tokens, {.store = Store::f32});
  const QkRecorder qk = qk_of(tiny(), tokens);
  std::mt19937 random(3);
  for (const HeadId head : {HeadId{0, 0}, HeadId{0, 3}, HeadId{1, 1}, HeadId{1, 2}}) {
    const auto weights = pass_weights(tiny()->config(), qk, head, n);
    expect_bits(weights, n, *trace, head, {0, n}, {0, n});
    const std::vector<std::pair<TraceRange, TraceRange>> fixed{{{0, 1}, {0, 1}},       {{511, 513}, {510, 514}},
                                                               {{1299, 1300}, {0, n}}, {{600, 856}, {512, 768}},
                                                               {{5, 5}, {0, 10}},      {{100, 120}, {700, 800}}};
    for (const auto& [rows, keys] : fixed) expect_bits(weights, n, *trace, head, rows, keys);
    for (int trial = 0; trial < 40; ++trial) {
      const auto range = [&] {
        const auto a = static_cast<int64_t>(random() % n), b = static_cast<int64_t>(random() % 300);
        return TraceRange{a, std::min(n, a + b)};
      };
      expect_bits(weights, n, *trace, head, range(), range());
    }
    for (const int64_t row : {0, 1, 511, 512, 1299}) {
      const std::vector<float> one = trace->row_weights(head, row);
      ASSERT_EQ(std::memcmp(one.data(), weights.data() + row * n, one.size() * sizeof(float)), 0) << row;
    }
  }
}

// Attention in bf16 used rounded queries and keys: those are what is seen and kept, so that a store of bf16 is exact,
// too.
TEST(Trace, AttentionInBf16BitForBit) {
  const test::Folder folder;
  constexpr int64_t n = 700;
  const auto tokens = test::byte_tokens(n);
  const auto model = Model::load(tiny_file(), {.attention = Precision::bf16, .threads = 2});
  const QkRecorder qk = qk_of(model, tokens);
  for (const Store store : {Store::f32, Store::bf16}) {
    const auto trace = traced(folder / "a", model, tokens, {.store = store});
    EXPECT_EQ(trace->model().attention(), Precision::bf16);
    for (const HeadId head : {HeadId{0, 0}, HeadId{1, 3}}) {
      const auto weights = pass_weights(model->config(), qk, head, n, Compute::bf16);
      expect_bits(weights, n, *trace, head, {0, n}, {0, n});
      EXPECT_NE(weights, pass_weights(model->config(), qk, head, n));  // the order of the sums is another one
    }
  }
}

TEST(Trace, RealModelInF32BitForBit) {
  const test::Folder folder;
  const auto model = test::real_model();
  auto tokens = model->tokenizer().encode(content(BAREATTN_SOURCE_DIR "/tests/golden/text/tom-sawyer.txt"));
  tokens.resize(700);
  const auto trace = traced(folder / "a", model, tokens, {.store = Store::f32});
  const QkRecorder qk = qk_of(model, tokens);
  for (const HeadId head : {HeadId{0, 0}, HeadId{5, 3}, HeadId{17, 8}, HeadId{29, 4}})
    expect_bits(pass_weights(model->config(), qk, head, 700), 700, *trace, head, {0, 700}, {0, 700});
}

// The stated bound: |score' - score| <= c scale sum |q k|, with c = 1.01 * 2^-10 (f16) or 2^-7 (bf16), and a weight is
// off by that factor. f16's own floor (2^-25 below 2^-14) and the rounding of f32 are added.
TEST(Trace, NarrowStoresAreWithinTheirBound) {
  const test::Folder folder;
  constexpr int64_t n = 600;
  const auto tokens = test::byte_tokens(n);
  const QkRecorder qk = qk_of(tiny(), tokens);
  const ModelConfig& config = tiny()->config();
  for (const Store store : {Store::f16, Store::bf16}) {
    const auto trace = traced(folder / "a", tiny(), tokens, {.store = store});
    const double c = 1.01 * std::exp2(store == Store::f16 ? -10 : -7), scale = 1 / std::sqrt(config.head_dim);
    double closest = 0;
    for (int head = 0; head < config.heads; ++head) {
      const auto weights = pass_weights(config, qk, {1, head}, n);
      const std::vector<float> tile = trace->tile({1, head}, {0, n}, {0, n});
      const auto& q = qk.q.at({1, head});
      const auto& k = qk.k.at({1, head / (config.heads / config.kv_heads)});
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double size = 0, floor = 0;
          for (int64_t d = 0; d < config.head_dim; ++d) {
            const double a = std::abs(q[static_cast<size_t>(i * config.head_dim + d)]);
            const double b = std::abs(k[static_cast<size_t>(j * config.head_dim + d)]);
            size += a * b;
            floor += (a + b) * 0x1p-25;
          }
          const double bound = std::expm1(scale * (c * size + floor) + 1e-5);
          const double w = weights[static_cast<size_t>(i * n + j)];
          const double error = std::abs(tile[static_cast<size_t>(i * n + j)] - w);
          ASSERT_LE(error, w * bound + 1e-37) << store_name(store) << " " << head << " " << i << " " << j;
          if (w > 0) closest = std::max(closest, error / (w * bound));
        }
    }
    EXPECT_GT(closest, 0.02) << "the bound is far from what happens: is the store what it says?";
  }
}

TEST(Trace, SaysWhatAnObservationSays) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(777);
  TraceOptions options;
  options.measures.spread = true;
  options.title = "a title";
  options.spans = {{"first", 0, 5}, {"all", 0, 777}};
  const auto observed = observe(tiny(), tokens, {.measures = options.measures, .spans = options.spans});
  const auto trace = traced(folder / "a", tiny(), tokens, options);
  EXPECT_EQ(trace->tokens(), observed->tokens());
  EXPECT_EQ(trace->token_texts(), observed->token_texts());
  EXPECT_EQ(trace->title(), "a title");
  ASSERT_EQ(trace->spans().size(), 2U);
  EXPECT_EQ(trace->spans()[1].name, "all");
  EXPECT_EQ(trace->spans()[1].end, 777);
  EXPECT_EQ(trace->threads(), 2);
  EXPECT_GT(trace->seconds(), 0);
  EXPECT_EQ(trace->model().sha256(), tiny()->sha256());
  EXPECT_EQ(trace->model().config().name, "tiny");
  EXPECT_EQ(trace->model().parameters(), tiny()->parameters());
  EXPECT_EQ(trace->pool_block(), observed->pool_block());
  EXPECT_THROW((void)trace->model().tokenizer(), std::logic_error);
  const auto same = [](const auto& a, const auto& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  for (int layer = 0; layer < 2; ++layer)
    for (int head = 0; head < 4; ++head) {
      const HeadId id{layer, head};
      for (int m = 0; m < measure_count; ++m) {
        const auto measure = static_cast<Measure>(m);
        EXPECT_TRUE(same(trace->rows(measure, id), observed->rows(measure, id))) << measure_info(measure).id;
        EXPECT_EQ(trace->mean(measure, id), observed->mean(measure, id)) << measure_info(measure).id;
      }
      for (int set = 0; set < 2; ++set) EXPECT_TRUE(same(trace->span_mass(set, id), observed->span_mass(set, id)));
      EXPECT_TRUE(same(trace->received(id), observed->received(id)));
      EXPECT_TRUE(same(trace->max_key(id), observed->max_key(id)));
      EXPECT_TRUE(same(trace->pool_sum(id), observed->pool_sum(id)));
      EXPECT_TRUE(same(trace->pool_max(id), observed->pool_max(id)));
      EXPECT_TRUE(same(trace->q_f16(id), observed->q_f16(id)));
      EXPECT_TRUE(same(trace->k_f16(layer, head / 2), observed->k_f16(layer, head / 2)));
      EXPECT_EQ(trace->role(id).evidence, observed->role(id).evidence);
      const auto top = trace->top_keys(id, 500, 20);
      ASSERT_EQ(top.size(), 20U);
      EXPECT_EQ(top[0].first, observed->max_key(id)[500]);
      for (size_t i = 1; i < top.size(); ++i) EXPECT_GE(top[i - 1].second, top[i].second);
    }
}

std::map<std::string, std::string> tensors_of(const std::string& path) {
  const observing::SafetensorsFile file(path);
  std::map<std::string, std::string> all;
  for (const auto& tensor : file.tensors()) {
    const auto bytes = file.bytes(tensor);
    all[tensor.name] = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  return all;
}

TEST(Trace, LayerByLayerAndChunkByChunkAreOneFile) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(1100);
  write_trace(folder / "layers", tiny(), tokens, {.store = Store::f32});
  const auto expected = tensors_of(folder / "layers");
  for (const auto& [chunk, threads] : {std::pair{7, 2}, {512, 1}, {2000, 2}}) {
    TraceWriter writer(folder / "chunks", *tiny(), tokens, {.store = Store::f32});
    Session session(tiny(), {.threads = threads, .max_tokens = 1100, .chunk = chunk});
    session.run(tokens, Logits::none, &writer);
    writer.commit({});
    EXPECT_EQ(tensors_of(folder / "chunks"), expected) << chunk;
  }
  for (const int64_t chunk : {48, 333}) {
    TraceWriter writer(folder / "chunks", *tiny(), tokens, {.store = Store::f32});
    run_by_layer(tiny(), tokens, writer, {.threads = 2, .chunk = chunk});
    writer.commit({});
    EXPECT_EQ(tensors_of(folder / "chunks"), expected) << chunk;
  }
}

TEST(Trace, GroupsThatWereNotKeptAreNamed) {
  const test::Folder folder;
  const auto trace =
      traced(folder / "a", tiny(), test::byte_tokens(100),
             {.measures = {.rows = false, .distance = false, .spans = false, .columns = false, .map = false}});
  EXPECT_EQ(trace->rows(Measure::lse, {0, 0}).size(), 100U);
  EXPECT_NO_THROW((void)trace->mean(Measure::max_weight, {0, 0}));
  EXPECT_EQ(trace->tile({0, 0}, {0, 100}, {0, 100}).size(), 10'000U);
  for (const auto& use : std::vector<std::function<void()>>{[&] {
                                                              (void)trace->mean(Measure::effective_context, {0, 0});
                                                            },
                                                            [&] {
                                                              (void)trace->rows(Measure::first_mass, {0, 0});
                                                            },
                                                            [&] {
                                                              (void)trace->received({0, 0});
                                                            },
                                                            [&] {
                                                              (void)trace->max_key({0, 0});
                                                            },
                                                            [&] { (void)trace->pool_block(); },
                                                            [&] {
                                                              (void)trace->pool_max({0, 0});
                                                            },
                                                            [&] {
                                                              (void)trace->role({0, 0});
                                                            }}) {
    try {
      use();
      ADD_FAILURE() << "no error";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("was not kept"), std::string::npos) << error.what();
    }
  }
}

TEST(Trace, ArgumentsAreChecked) {
  const test::Folder folder;
  const auto trace = traced(folder / "a", tiny(), test::byte_tokens(10));
  EXPECT_THROW((void)trace->tile({2, 0}, {0, 1}, {0, 1}), std::invalid_argument);
  EXPECT_THROW((void)trace->tile({0, 4}, {0, 1}, {0, 1}), std::invalid_argument);
  EXPECT_THROW((void)trace->tile({0, 0}, {0, 11}, {0, 1}), std::invalid_argument);
  EXPECT_THROW((void)trace->tile({0, 0}, {-1, 1}, {0, 1}), std::invalid_argument);
  EXPECT_THROW((void)trace->tile({0, 0}, {3, 2}, {0, 1}), std::invalid_argument);
  EXPECT_THROW((void)trace->row_weights({0, 0}, 10), std::invalid_argument);
  EXPECT_THROW((void)trace->top_keys({0, 0}, 5, -1), std::invalid_argument);
  EXPECT_THROW((void)trace->k_f16(0, 2), std::invalid_argument);
}

std::string refusal(const std::string& path) {
  try {
    Trace::open(path)->verify();
  } catch (const FileError& error) {
    return error.what();
  }
  return "(accepted)";
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Trace, WhatWasAlteredIsRefused) {
  const test::Folder folder;
  const std::string path = folder / "a";
  write_trace(path, tiny(), test::byte_tokens(300), {.title = "before"});
  const std::string whole = content(path);
  EXPECT_EQ(refusal(path), "(accepted)");
  uint64_t header = 0;
  std::memcpy(&header, whole.data(), 8);
  const auto write = [&](const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; };
  std::mt19937 random(5);
  for (int trial = 0; trial < 300; ++trial) {  // one bit anywhere after the header
    std::string changed = whole;
    const size_t at = 8 + header + random() % (whole.size() - 8 - header);
    changed[at] = static_cast<char>(changed[at] ^ (1 << random() % 8));
    write(changed);
    EXPECT_HAS(refusal(path), "altered") << at;
  }
  for (int trial = 0; trial < 300; ++trial) {  // one bit of the header: whatever it makes of it, it is no trace
    std::string changed = whole;
    const size_t at = 8 + random() % header;
    changed[at] = static_cast<char>(changed[at] ^ (1 << random() % 8));
    write(changed);
    EXPECT_NE(refusal(path), "(accepted)") << at;
  }
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = whole;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    write(changed);
    return refusal(path);
  };
  EXPECT_HAS(replaced("before", "after!"), "altered");
  EXPECT_HAS(replaced("\"format_version\":\"2\"", "\"format_version\":\"3\""), "newer program");
  EXPECT_HAS(replaced("\"format_version\":\"2\"", "\"format_version\":\"x\""), "format_version");
  EXPECT_HAS(replaced("bareattn-trace", "bareattn-trick"), "no trace");
  EXPECT_HAS(replaced("\"store\":\"f16\"", "\"store\":\"f32\""), "is not of the type");
  EXPECT_HAS(replaced("\\\"heads\\\":4", "\\\"heads\\\":5"), "divide");
  EXPECT_HAS(replaced("\\\"heads\\\":4", "\\\"heads\\\":8"), "is not of the type");
  EXPECT_HAS(replaced("\\\"heads\\\":4", "\\\"heads\\\":0"), "1 to 65536");
  EXPECT_HAS(replaced("\\\"layers\\\":2", "\\\"layers\\\":9"), "'scores' has not one rule a layer");
  EXPECT_HAS(replaced("\\\"head_dim\\\":16", "\\\"head_dim\\\":32"), "the trace's metadata say");
  EXPECT_HAS(replaced("\\\"left_window\\\":-1", "\\\"left_window\\\":-2"), "'scores' has a negative window or softcap");
  EXPECT_HAS(replaced("\\\"leading_keys\\\":0", "\\\"leading_kexs\\\":0"), "leading_keys");
  EXPECT_HAS(replaced("\\\"seconds\\\":", "\\\"secondz\\\":"), "seconds");
  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, header, whole.size() / 2, whole.size() - 1}) {
    write(whole.substr(0, size));
    EXPECT_NE(refusal(path), "(accepted)") << size;
  }
  write(whole + "x");
  EXPECT_HAS(refusal(path), "1 bytes more");
  write(whole);
  EXPECT_EQ(refusal(path), "(accepted)");
}

TEST(Trace, ChangedWhileOpen) {
  const test::Folder folder;
  const auto trace = traced(folder / "a", tiny(), test::byte_tokens(300));
  std::filesystem::resize_file(folder / "a", 5000);
  EXPECT_THROW((void)trace->tile({0, 0}, {0, 10}, {0, 10}), FileError);
}

TEST(Trace, AnotherModelIsRefused) {
  const test::Folder folder;
  const auto trace = traced(folder / "a", tiny(), test::byte_tokens(10));
  EXPECT_NO_THROW(trace->check_model_file(tiny_file()));
  auto other = test::tiny_llama();
  other.tensor("blk.1.ffn_down.weight").data[0] ^= 1;
  const test::TemporaryFile file(other.build());
  try {
    trace->check_model_file(file.path());
    ADD_FAILURE() << "accepted";
  } catch (const FileError& error) {
    EXPECT_HAS(std::string(error.what()), "made with another model");
  }
}

TEST(TraceWriter, LeavesNothingUnlessWhole) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(600);
  EXPECT_THROW(write_trace(folder / "a", tiny(), tokens, {}, {}, 2, [](int64_t done, int64_t) { return done < 400; }),
               Cancelled);
  EXPECT_THROW(write_trace(folder / "a", tiny(), {}, {}), InputError);
  EXPECT_THROW(write_trace(folder / "a", tiny(), {0, 260}, {}), InputError);
  EXPECT_THROW(write_trace(folder / "a", tiny(), tokens, {.spans = {{"x", 5, 601}}}), InputError);
  EXPECT_THROW(write_trace(folder / "a", tiny(), tokens, {.pool_block = 15}), std::invalid_argument);
  EXPECT_THROW(write_trace("/nonexistent/a", tiny(), tokens), OutputError);
  {
    TraceWriter writer(folder / "a", *tiny(), tokens);
    Session session(tiny());
    session.run(std::span(tokens).first(500), Logits::none, &writer);
    EXPECT_THROW(writer.commit({}), std::invalid_argument);
    session.truncate(0);
    EXPECT_THROW(session.run(tokens, Logits::none, &writer), std::invalid_argument);  // rows it has seen already
  }
  EXPECT_EQ(folder.entries(), 0);
}

TEST(TraceWriter, FullDisk) {
  const test::Folder folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{100'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(write_trace(folder / "a", tiny(), test::byte_tokens(600)), OutputError);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(folder.entries(), 0);
}

}  // namespace
}  // namespace bareattn
