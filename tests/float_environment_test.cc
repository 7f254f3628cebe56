// A host program may flush denormals or round in another direction (audio and inference code does): the bits of every
// public function are the same, and what the caller had set is there again afterwards. A list of entries; a new public
// function that computes gets a line here.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "attention_support.h"
#include "bareattn/attention_backward.h"
#include "bareattn/bareattn.h"
#include "folder.h"
#include "gguf_builder.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bareattn {
namespace {

using test::Folder;

/// Everything that was computed, as bytes.
class Bits {
 public:
  template <class T>
  Bits& add(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    return *this;
  }
  Bits& add(double value) { return add(std::vector<double>{value}); }
  Bits& add(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  Bits& add(const TensorView<const float>& rows) { return add(std::vector<float>(rows.data, rows.data + rows.size())); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

struct Entry {
  const char* name;
  std::function<void(Bits&)> compute;
};

std::string bits_of(const Entry& entry) {
  Bits bits;
  entry.compute(bits);
  EXPECT_FALSE(bits.bytes().empty()) << entry.name << " computes nothing";
  return bits.bytes();
}

void expect_the_same_bits(const std::vector<Entry>& entries) {
#if defined(__x86_64__)
  const unsigned saved = _mm_getcsr();
  for (const Entry& entry : entries) {
    const std::string expected = bits_of(entry);
    for (const unsigned csr : {0x9FC0U /* FTZ and DAZ */, 0xDFC0U /* and up */, 0x3F80U /* down */}) {
      _mm_setcsr(csr);
      const std::string bits = bits_of(entry);
      const unsigned after = _mm_getcsr();
      _mm_setcsr(saved);
      EXPECT_EQ(after & 0xFFC0U, csr & 0xFFC0U) << entry.name << ": the caller's environment is given back";
      EXPECT_TRUE(expected == bits) << entry.name << " differs in bits, MXCSR " << std::hex << csr;
    }
  }
#else
  for (const Entry& entry : entries) bits_of(entry);
  GTEST_SKIP() << "MXCSR is of x86: the environment of the caller is NOT tested on this CPU";
#endif
}

// Made once, before an environment is changed: its weights are computed here.
const std::string& tiny_path() {
  static const test::TemporaryFile file(test::tiny_llama().build());
  static const std::string path = file.path();
  return path;
}

std::shared_ptr<const Model> tiny() { return Model::load(tiny_path()); }

const std::vector<int32_t>& text() {
  static const std::vector<int32_t> tokens = test::byte_tokens(96);
  return tokens;
}

ObservationOptions everything() {
  ObservationOptions options;
  options.measures.values = options.measures.agreement = options.measures.spread = true;
  options.spans = {{"first", 0, 20}, {"second", 40, 60}};
  return options;
}

std::shared_ptr<const Observation> seen() {
  static const std::shared_ptr<const Observation> run = observe(tiny(), text(), everything(), 2);
  return run;
}

std::shared_ptr<const Observation> steered() {
  static const std::shared_ptr<const Observation> run = [] {
    ObservationOptions options = everything();
    Intervention warm;
    warm.kind = Intervention::Kind::temperature;
    warm.heads = {"*"};
    warm.value = 1.3;
    options.table = std::make_shared<const ScoreTable>(make_table({warm}, tiny()->config(), 96));
    return observe(tiny(), text(), options, 2);
  }();
  return run;
}

const std::string& trace_path() {
  static const Folder folder;
  static const std::string path = [] {
    TraceOptions options;
    options.measures = everything().measures;
    options.spans = everything().spans;
    write_trace(folder / "run", tiny(), text(), options);
    return folder / "run";
  }();
  return path;
}

void add_run(Bits& bits, const Observation& run) {
  for (int m = 0; m < measure_count; ++m) {
    const auto measure = static_cast<Measure>(m);
    if (run.measured().has(measure)) bits.add(run.rows(measure, {1, 2})).add(run.mean(measure, {1, 2}));
  }
  bits.add(run.received({1, 2})).add(run.pool_sum({1, 2})).add(run.pool_max({1, 2})).add(run.carried({1, 2}));
  bits.add(run.output_cosine(1)).add(run.tile({1, 2}, {0, 96}, {0, 96})).add(run.scores({1, 2}, {9, 30}, {4, 30}));
  bits.add(run.row_weights({1, 2}, 40)).add(run.span_mass(0, {1, 2})).add(run.role({1, 2}).evidence);
  bits.add(run.role({1, 2}).score);
}

void add_sweep(Bits& bits, const Observation& run) {
  SweepOptions options;
  options.groups = {.coverage = true, .scores = true, .repeats = true, .offsets = true};
  for (const HeadSweep& head : sweep(run, options).heads)
    bits.add(std::vector<double>(head.means.begin(), head.means.end())).add(head.stripe_weight);
  bits.add(swept_rows(run, Swept::keys_90, {1, 2})).add(stripes(run, {1, 2}, 20));
  bits.add(laplacian_eigenvalues(run, {1, 2}, 9));
}

void add_agreement(Bits& bits, const Observation& run) {
  for (const HeadPair& pair : head_agreement(run).pairs)
    bits.add(pair.js).add(pair.weight_cosine).add(pair.output_cosine);
}

void add_values(Bits& bits, const Observation& run) {
  bits.add(value_weighted(run, {1, 2}, {0, 50}, {3, 40})).add(value_shares(run, {1, 2}, {5, 50}));
  for (const auto& [key, weight] : top_value_weighted(run, {1, 2}, 50, 5)) bits.add(double{weight}).add(double(key));
}

void add_spans(Bits& bits, const Observation& run) {
  bits.add(span_flow(run, 1, 0, {1, 2})).add(lookback_ratio(run, 0, 1, {1, 2}));
  bits.add(focus_score(run, 0, 1, {1, 2})).add(mean_span_mass(run, 0, {1, 2}));
}

void add_highlights(Bits& bits, const Observation& run) {
  for (const Highlight& one : highlights(run)) bits.add(one.evidence).add(one.value);
  for (const HeadId head : telling_heads(run)) bits.add(head.layer * 100.0 + head.head);
}

TEST(FloatEnvironment, Operators) {
  using testing::Array;
  testing::Problem p({2, 4, 2, 40, 700, 16, 16}, 6);
  for (float& x : p.v.data) x *= 1e-38F;  // so that flushing would show
  p.params.softcap = 3;
  p.params.threads = 3;
  const auto forward = [&p](Bits& bits) { bits.add(p.run()); };
  expect_the_same_bits(
      {{"attention", forward},
       {"reference_attention", [&](Bits& bits) { bits.add(p.exact()); }},
       {"weights",
        [&](Bits& bits) {
          Array<float> out(2, 4, 40, 700);
          weights(p.q.view(), p.k.view(), out.view(), {}, p.params);
          bits.add(out.data);
        }},
       {"AttentionCache",
        [&](Bits& bits) {
          AttentionCache cache(2, 2, 16, 16);
          cache.append(p.k.view(), p.v.view());
          Array<float> o = p.output();
          attention(p.q.view(), cache, o.view(), p.params);
          bits.add(o.data);
        }},
       {"AttentionCache of bf16",
        [&](Bits& bits) {
          AttentionCache cache(2, 2, 16, 16, Compute::bf16);
          cache.append(p.k.view(), p.v.view());
          AttentionParams params = p.params;
          params.compute = Compute::bf16;
          Array<float> o = p.output();
          attention(p.q.view(), cache, o.view(), params);
          bits.add(o.data);
        }},
       {"merge_partial",
        [&](Bits& bits) {
          std::vector<float> a(64, 1e-39F), b(64, 0.3F), lse_a(4, 0.7F), lse_b(4, 0.1F);
          merge_partial({a.data(), {4, 16}}, {lse_a.data(), {4}}, TensorView<const float>(b.data(), {4, 16}),
                        TensorView<const float>(lse_b.data(), {4}));
          bits.add(a).add(lse_a);
        }},
       {"attention_backward", [&](Bits& bits) {
          testing::Collected statistics(p);
          AttentionParams params = p.full_params();
          params.returns.statistics = statistics.list;
          Array<float> o = p.output(), d_q = p.q, d_k = p.k, d_v = p.v;
          attention(p.q.view(), p.k.view(), p.v.view(), o.view(), params);
          const TensorView<const float> lse(statistics.lse.data(), {2, 4, 40});
          AttentionGradients gradients;
          gradients.d_q = d_q.view(), gradients.d_k = d_k.view(), gradients.d_v = d_v.view();
          attention_backward({p.q.view(), p.k.view(), p.v.view(), o.view(), lse}, p.q.view(), gradients, p.params);
          bits.add(d_q.data).add(d_k.data).add(d_v.data);
        }}});
}

TEST(FloatEnvironment, RunsOfAModel) {
  tiny();
  expect_the_same_bits(
      {{"load and Session", [](Bits& bits) { bits.add(Session(tiny(), {.threads = 2}).run(text(), Logits::all)); }},
       {"load in bf16",
        [](Bits& bits) {
          const auto model = Model::load(tiny_path(), {.precision = Precision::bf16, .attention = Precision::bf16});
          bits.add(Session(model).run(text(), Logits::last));
        }},
       {"generate",
        [](Bits& bits) {
          Session session(tiny());
          SamplingOptions options;
          options.temperature = 2;
          bits.add(generate(session, session.run(text()), 40, options));
        }},
       {"perplexity", [](Bits& bits) { bits.add(perplexity(tiny(), text(), 2)); }},
       {"position_scale", [](Bits& bits) { bits.add(position_scale(tiny()->config(), 5000, Beyond::scale)); }},
       {"observe", [](Bits& bits) { add_run(bits, *observe(tiny(), text(), everything(), 2)); }},
       {"measure_stream",
        [](Bits& bits) {
          for (const StreamLayer& layer : measure_stream(tiny(), text(), 2))
            bits.add(layer.rank_residual).add(layer.median).add(layer.largest.value);
        }},
       {"make_lesson",
        [](Bits& bits) {
          const auto lesson = make_lesson(tiny(), "cat and it");
          bits.add(lesson->weights).add(lesson->q).add(lesson->v);
        }},
       {"mean_ablation", [](Bits& bits) { bits.add(steering_to_json({mean_ablation(tiny(), text(), {"0.*"}, 2)})); }},
       {"write_trace",
        [](Bits& bits) {
          const Folder folder;
          TraceOptions options;
          options.measures = everything().measures;
          options.spans = everything().spans;
          write_trace(folder / "run", tiny(), text(), options);
          const auto saved = Trace::open(folder / "run");
          add_run(bits, *saved);
        }},
       {"quantize", [](Bits& bits) {
          const Folder folder;
          quantize(tiny_path(), folder / "small", WeightType::f16);
          bits.add(read_file(folder / "small", 1 << 26));
        }}});
}

TEST(FloatEnvironment, WhatIsAskedOfARun) {
  seen(), steered(), trace_path();
  expect_the_same_bits(
      {{"a run", [](Bits& bits) { add_run(bits, *seen()); }},
       {"a steered run", [](Bits& bits) { add_run(bits, *steered()); }},
       {"a trace", [](Bits& bits) { add_run(bits, *Trace::open(trace_path())); }},
       {"agreement of a run", [](Bits& bits) { add_agreement(bits, *seen()); }},
       {"agreement of a trace", [](Bits& bits) { add_agreement(bits, *Trace::open(trace_path())); }},
       {"sweep of a run", [](Bits& bits) { add_sweep(bits, *seen()); }},
       {"sweep of a trace", [](Bits& bits) { add_sweep(bits, *Trace::open(trace_path())); }},
       {"values of a run", [](Bits& bits) { add_values(bits, *seen()); }},
       {"values of a trace", [](Bits& bits) { add_values(bits, *Trace::open(trace_path())); }},
       {"spans of a run", [](Bits& bits) { add_spans(bits, *seen()); }},
       {"spans of a trace", [](Bits& bits) { add_spans(bits, *Trace::open(trace_path())); }},
       {"highlights of a run", [](Bits& bits) { add_highlights(bits, *seen()); }},
       {"highlights of a trace", [](Bits& bits) { add_highlights(bits, *Trace::open(trace_path())); }},
       {"diff of traces",
        [](Bits& bits) {
          const auto one = Trace::open(trace_path());
          const RunDiff found = diff(*one, *one);
          bits.add(found.token_js);
          for (const HeadDiff& head : found.heads) bits.add(head.kl).add(head.js).add(head.top_overlap);
        }},
       {"diff of models",
        [](Bits& bits) {
          static const test::TemporaryFile file(test::tiny_llama().build());
          const auto other = Model::load(file.path(), {.precision = Precision::bf16});
          const RunDiff found = diff(tiny(), other, text());
          bits.add(found.token_js);
          for (const HeadDiff& head : found.heads)
            bits.add(head.kl).add(head.js).add(head.output_cosine).add(head.lse_shift);
        }},
       {"adaptive_temperature", [](Bits& bits) { bits.add(steering_to_json(adaptive_temperature(*seen()))); }},
       {"calibrate",
        [](Bits& bits) {
          bits.add(steering_to_json(calibrate(*seen(), {{0, 20}, {40, 60}}, {"*"})));
        }},
       {"a page", [](Bits& bits) { bits.add(render_page(*seen())); }},
       {"a page of a trace", [](Bits& bits) { bits.add(render_page(*Trace::open(trace_path()))); }}});
}

TEST(FloatEnvironment, Diagnosis) {
  const auto add = [](Bits& bits, const Diagnosis& found) {
    bits.add(std::string("findings"));
    for (const Finding& one : found.findings) bits.add(one.sentence).add(one.value).add(one.limit);
  };
  expect_the_same_bits({{"diagnose", [&](Bits& bits) { add(bits, diagnose(tiny(), text())); }},
                        {"diagnose_observation", [&](Bits& bits) { add(bits, diagnose_observation(seen(), nullptr)); }},
                        {"break_run and restore", [&](Bits& bits) {
                           BrokenRun broken = break_run("scale", 3, *tiny(), text());
                           broken.options.probes = false;
                           const Diagnosis found = diagnose(tiny(), broken.tokens, broken.options);
                           add(bits, found);
                           ASSERT_FALSE(found.findings.empty());
                           const BrokenRun again = restore(broken, found.findings[0].remedy, tiny()->config());
                           const Restoration figures = measure_restoration(tiny(), broken, again);
                           bits.add(figures.broken.perplexity).add(figures.restored.moved);
                         }}});
}

TEST(FloatEnvironment, Roles) {
  RoleOptions few;
  few.samples = 4;
  few.ablation_draws = 1;
  expect_the_same_bits({{"find_roles", [&](Bits& bits) {
                           HeadRoles roles = find_roles(tiny(), few, 2);
                           roles.seconds = 0;
                           bits.add(roles_to_json(roles)).add(roles_to_json(roles_from_json(roles_to_json(roles))));
                         }}});
}

TEST(FloatEnvironment, NumbersInFiles) {
  const std::string file = R"({"format": "bareattn-steering", "version": 1, "interventions": [{"kind": "boost",
    "heads": ["0.*"], "keys": [[0, 4]], "value": 3.3333333333333335e0}]})";
  expect_the_same_bits({{"steering_from_json and make_table", [&](Bits& bits) {
                           const auto read = steering_from_json(file);
                           bits.add(steering_to_json(read));
                           bits.add(make_table(read, tiny()->config(), 96).layers[0].value);
                         }}});
}

}  // namespace
}  // namespace bareattn
