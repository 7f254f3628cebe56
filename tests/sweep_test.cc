// The measures of a second look: every row of every head of a small model against its definition in f64 from the run's
// own Q and K, and the published patterns (TransformerLens' detector) on texts that repeat.
#include "bareattn/sweep.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "bareattn/error.h"
#include "bareattn/trace.h"
#include "folder.h"
#include "gguf_builder.h"
#include "observe_dense.h"

namespace bareattn {
namespace {

constexpr int layers = 2, heads = 4, dim = 16;

struct Case {
  std::shared_ptr<const Model> model;
  std::vector<int32_t> tokens;
  test::QkRecorder run;
  test::Folder folder;

  explicit Case(std::vector<int32_t> ids) : tokens(std::move(ids)) {
    static const test::TemporaryFile file(test::tiny_llama().build());
    model = Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
    Session session(model);
    session.run(tokens, Logits::none, &run);
  }
  std::shared_ptr<const Trace> traced(const Reach& reach = {}) {
    write_trace(folder / "run", model, tokens, {.store = Store::f32}, reach, 2);
    return Trace::open(folder / "run");
  }
  test::DenseHead dense(HeadId id) const {
    return test::dense_head(run.q.at({id.layer, id.head}).data(), run.k.at({id.layer, id.head / 2}).data(),
                            static_cast<int64_t>(tokens.size()), dim);
  }
};

// Tokens of a small alphabet: most have earlier copies, some twice in a row.
std::vector<int32_t> repeating(int64_t count) {
  std::vector<int32_t> tokens = test::byte_tokens(count);
  for (int32_t& token : tokens) token %= 23;
  return tokens;
}

template <class Body>
void for_each_head(const Body& body) {
  for (int layer = 0; layer < layers; ++layer)
    for (int head = 0; head < heads; ++head) body(HeadId{layer, head});
}

double expected(Swept measure, const test::DenseHead& head, size_t i, const std::vector<int32_t>& tokens) {
  const auto &s = head.logits[i], &p = head.weights[i];
  const double n = static_cast<double>(s.size()), mean = std::accumulate(s.begin(), s.end(), 0.0) / n;
  const auto moment = [&](int order) {
    double sum = 0;
    for (const double x : s) sum += std::pow(x - mean, order);
    return sum / n;
  };
  const double least = *std::min_element(s.begin(), s.end()), most = *std::max_element(s.begin(), s.end());
  double copies = 0, after = 0;
  bool any = false;
  for (size_t j = 0; j < i; ++j) {
    if (tokens[j] != tokens[i]) continue;
    any = true;
    copies += p[j], after += p[j + 1];
  }
  switch (measure) {
    case Swept::keys_90: {
      auto sorted = p;
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      double held = 0;
      size_t count = 0;
      while (held < 0.9 && count < sorted.size()) held += sorted[count++];
      return static_cast<double>(count);
    }
    case Swept::min_logit:
      return least;
    case Swept::logit_mean:
      return mean;
    case Swept::logit_deviation:
      return std::sqrt(moment(2));
    case Swept::logit_skewness:
      return moment(3) / std::pow(moment(2), 1.5);
    case Swept::logit_kurtosis:
      return moment(4) / std::pow(moment(2), 2) - 3;
    case Swept::weight_ceiling:
      return std::exp(most - least) / (n - 1 + std::exp(most - least));
    case Swept::log_self:
      return s[i] - head.lse[i];
    case Swept::duplicate_weight:
      return any ? copies : NAN;
    case Swept::induction_weight:
      return any ? after : NAN;
  }
  return NAN;
}

TEST(Sweep, EveryRowIsItsDefinition) {
  Case c(repeating(150));
  const auto trace = c.traced();
  const Sweep swept = sweep(*trace);
  EXPECT_EQ(swept.rows, 149);
  for_each_head([&](HeadId id) {
    const auto dense = c.dense(id);
    const HeadSweep& head = swept.heads[static_cast<size_t>(id.layer * heads + id.head)];
    for (int m = 0; m < swept_count; ++m) {
      const auto measure = static_cast<Swept>(m);
      const auto rows = swept_rows(*trace, measure, id);
      double sum = 0;
      int count = 0, off = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        const double want = expected(measure, dense, i, c.tokens);
        const std::string where = std::string(swept_info(measure).id) + " row " + std::to_string(i);
        if (std::isnan(want)) {
          ASSERT_TRUE(std::isnan(rows[i])) << where;
          continue;
        }
        if (measure == Swept::keys_90 && std::abs(rows[i] - want) == 1) {
          // Allowed only where the dense sum reaches 0.9 within rounding.
          auto sorted = dense.weights[i];
          std::sort(sorted.begin(), sorted.end(), std::greater<>());
          const auto last = sorted.begin() + static_cast<int64_t>(std::min<double>(want, rows[i]));
          ASSERT_NEAR(std::accumulate(sorted.begin(), last, 0.0), 0.9, 1e-5) << where;
          ++off;
        } else if (measure == Swept::logit_skewness || measure == Swept::logit_kurtosis) {
          // Two scores that are all but equal leave little of their deviation exact.
          if (i >= 2) {
            ASSERT_NEAR(rows[i], want, 2e-3 * (1 + std::abs(want))) << where;
          }
        } else {
          ASSERT_NEAR(rows[i], want, 1e-5 * (1 + std::abs(want)) + 2 * dense.logit_error[i]) << where;
        }
        if (i >= 1 && !std::isnan(rows[i])) sum += static_cast<double>(rows[i]), ++count;
      }
      EXPECT_LE(off, 2);
      ASSERT_NEAR(head.means[static_cast<size_t>(m)], sum / count, 1e-6 * (1 + std::abs(sum / count)))
          << swept_info(measure).id;
    }
  });
}

TEST(Sweep, DistancesAndStripes) {
  Case c(repeating(150));
  const auto trace = c.traced();
  const Sweep swept = sweep(*trace, {.groups = {.offsets = true}});
  for_each_head([&](HeadId id) {
    const auto dense = c.dense(id);
    std::vector<double> mass(150), bins(9);
    for (size_t i = 1; i < 150; ++i)
      for (size_t j = 0; j <= i; ++j) {
        mass[i - j] += dense.weights[i][j];
        const size_t bin = i == j ? 0 : static_cast<size_t>(std::floor(std::log2(static_cast<double>(i - j)))) + 1;
        bins[bin] += dense.weights[i][j] / 149;
      }
    const HeadSweep& head = swept.heads[static_cast<size_t>(id.layer * heads + id.head)];
    ASSERT_EQ(head.distance_bins.size(), bins.size());
    for (size_t b = 0; b < bins.size(); ++b) EXPECT_NEAR(head.distance_bins[b], bins[b], 1e-5);
    EXPECT_NEAR(std::accumulate(bins.begin(), bins.end(), 0.0), 1, 1e-9);
    const auto means = stripes(*trace, id, 149);
    double best = -1;
    for (size_t o = 0; o < 150; ++o) {
      const double rows = static_cast<double>(150 - std::max<size_t>(1, o)), want = mass[o] / rows;
      EXPECT_NEAR(means[o], want, 1e-5) << o;
      if (o >= 1 && rows >= 149.0 / 8 && rows >= 16) best = std::max(best, want);
    }
    EXPECT_NEAR(head.stripe_weight, best, 1e-5);
    EXPECT_NEAR(means[static_cast<size_t>(head.stripe)], best, 1e-5);
    EXPECT_TRUE(std::isnan(head.means[0])) << "not asked for";
    ASSERT_EQ(head.stripes.size(), static_cast<size_t>(most_stripes + 1));
    for (size_t o = 0; o < head.stripes.size(); ++o) EXPECT_NEAR(head.stripes[o], means[o], 1e-7) << o;
  });
  EXPECT_EQ(stripes(*trace, {0, 0}, 0).size(), 1U);
  EXPECT_THROW(stripes(*trace, {0, 0}, 150), std::invalid_argument);
}

// TransformerLens' head_detector.py on dense weights: mul = sum(A P) / sum(A), abs = 1 - mean |A - P| N; rows [1, N).
TEST(Sweep, TemplatesMatchThePublishedDefinition) {
  Case c(repeating(100));
  const auto trace = c.traced();
  const Sweep swept = sweep(*trace, {.groups = {.repeats = true}});
  const auto pattern = [&](int kind, size_t i, size_t j) {
    if (kind == 0) return j + 1 == i;
    return kind == 1 ? j < i && c.tokens[j] == c.tokens[i] : j >= 1 && j <= i && c.tokens[j - 1] == c.tokens[i];
  };
  for_each_head([&](HeadId id) {
    const auto dense = c.dense(id);
    const HeadSweep& head = swept.heads[static_cast<size_t>(id.layer * heads + id.head)];
    const TemplateMatch* found[] = {&head.previous_token, &head.duplicate_token, &head.induction};
    for (int kind = 0; kind < 3; ++kind) {
      double on = 0, all = 0, apart = 0;
      for (size_t i = 1; i < 100; ++i)
        for (size_t j = 0; j <= i; ++j) {
          const double p = dense.weights[i][j], one = pattern(kind, i, j) ? 1 : 0;
          on += p * one, all += p, apart += std::abs(p - one);
        }
      EXPECT_NEAR(found[kind]->mul, on / all, 1e-5) << kind;
      EXPECT_NEAR(found[kind]->abs, 1 - apart / 99, 1e-5) << kind;
    }
  });
}

TEST(Sweep, LaplacianIsTheDiagonalOfDMinusA) {
  Case c(repeating(80));
  const auto trace = c.traced();
  const auto dense = c.dense({1, 2});
  std::vector<double> want(80);
  for (size_t j = 0; j < 80; ++j) {
    for (size_t i = j; i < 80; ++i) want[j] += dense.weights[i][j] / static_cast<double>(80 - j);
    want[j] -= dense.weights[j][j];
  }
  std::sort(want.begin(), want.end(), std::greater<>());
  const auto found = laplacian_eigenvalues(*trace, {1, 2}, 10);
  ASSERT_EQ(found.size(), 10U);
  for (size_t i = 0; i < 10; ++i) EXPECT_NEAR(found[i], want[i], 1e-5);
}

// Spans that look at each other, from dense weights; two pieces of one name are one set.
TEST(SpanFlow, IsTheMeanWeightOfRowsOnKeys) {
  Case c(repeating(90));
  const std::vector<NamedSpan> spans{{"context", 3, 30}, {"fresh", 60, 70}, {"fresh", 80, 90}, {"context", 40, 41}};
  const auto o = observe(c.model, c.tokens, {.spans = spans}, 2);
  const auto in = [](int set, size_t i) {
    return set == 0 ? (i >= 3 && i < 30) || i == 40 : (i >= 60 && i < 70) || i >= 80;
  };
  for_each_head([&](HeadId id) {
    const auto dense = c.dense(id);
    const auto mass = [&](int set, size_t i) {
      double sum = 0;
      for (size_t j = 0; j <= i; ++j) sum += in(set, j) ? dense.weights[i][j] : 0;
      return sum;
    };
    for (int from = 0; from < 2; ++from)
      for (int to = 0; to < 2; ++to) {
        double sum = 0, rows = 0;
        for (size_t i = 0; i < 90; ++i)
          if (in(from, i)) sum += mass(to, i), rows += 1;
        EXPECT_NEAR(span_flow(*o, from, to, id), sum / rows, 1e-4);
      }
    double ratio = 0, seen = 0;
    for (size_t i = 60; i < 90; ++i) {
      if (!in(1, i)) continue;
      seen += 1;
      const double before = mass(0, i) / 28, fresh = mass(1, i) / seen;
      ratio += before / (before + fresh);
    }
    EXPECT_NEAR(lookback_ratio(*o, 0, 1, id), ratio / 20, 1e-4);
    EXPECT_NEAR(focus_score(*o, 0, 1, id), mass(0, 89) / (mass(0, 89) + mass(1, 89)), 1e-4);
  });
  EXPECT_THROW((void)span_flow(*o, 0, 2, {0, 0}), std::invalid_argument);
  EXPECT_THROW((void)span_flow(*o, -1, 0, {0, 0}), std::invalid_argument);
}

// Value-weighted: every measure from the dense weights times what the keys carry, each row divided by its sum.
TEST(Sweep, ValueWeightedIsOfTheRowsShares) {
  const int64_t n = 150;
  Case c(repeating(n));
  TraceOptions how{.store = Store::f32, .spans = {{"context", 3, 30}, {"fresh", 60, 70}, {"fresh", 80, 90}}};
  how.measures.values = true;
  write_trace(c.folder / "run", c.model, c.tokens, how, {}, 2);
  const auto trace = Trace::open(c.folder / "run");
  const Sweep swept =
      sweep(*trace, {.groups = {.coverage = true, .repeats = true, .offsets = true}, .value_weighted = true});
  double apart = 0;
  for_each_head([&](HeadId id) {
    const HeadSweep& head = swept.heads[static_cast<size_t>(id.layer * heads + id.head)];
    auto dense = c.dense(id);
    const auto carried = trace->carried(id);
    std::array<double, measure_count> want{};
    double spans[2] = {}, seeing[2] = {}, flow[2][2] = {}, from_rows[2] = {}, second = 0;
    const auto in = [](int set, int64_t i) {
      return set == 0 ? i >= 3 && i < 30 : (i >= 60 && i < 70) || (i >= 80 && i < 90);
    };
    for (int64_t i = 1; i < n; ++i) {
      auto& p = dense.weights[static_cast<size_t>(i)];
      double all = 0;
      for (size_t j = 0; j < p.size(); ++j) all += p[j] *= static_cast<double>(carried[j]);
      for (double& x : p) x /= all;
      double entropy = 0, squares = 0, distance = 0, spread = 0, recent = 0;
      for (int64_t j = 0; j <= i; ++j) {
        const double x = p[static_cast<size_t>(j)], away = static_cast<double>(i - j);
        entropy -= x * std::log(x), squares += x * x, distance += x * away;
        if (away < 64) recent += x;
      }
      for (int64_t j = 0; j <= i; ++j)
        spread += p[static_cast<size_t>(j)] * std::pow(static_cast<double>(i - j) - distance, 2);
      const auto put = [&](Measure m, double x) { want[static_cast<size_t>(m)] += x / static_cast<double>(n - 1); };
      put(Measure::entropy, entropy);
      put(Measure::normalized_entropy, entropy / std::log(static_cast<double>(i + 1)));
      put(Measure::effective_context, std::exp(entropy));
      put(Measure::max_weight, *std::max_element(p.begin(), p.end()));
      put(Measure::max_logit, NAN);
      put(Measure::lse, NAN);
      put(Measure::mean_distance, distance);
      put(Measure::first_mass, p[0]);
      put(Measure::self_weight, p[static_cast<size_t>(i)]);
      put(Measure::previous_weight, p[static_cast<size_t>(i - 1)]);
      put(Measure::recent_mass, recent);
      put(Measure::participation, 1 / squares);
      put(Measure::distance_spread, std::sqrt(spread));
      second += expected(Swept::duplicate_weight, dense, static_cast<size_t>(i), c.tokens) >= 0 ? 1 : 0;
      for (int to = 0; to < 2; ++to) {
        double mass = 0;
        for (int64_t j = 0; j <= i; ++j) mass += in(to, j) ? p[static_cast<size_t>(j)] : 0;
        if (i >= (to == 0 ? 3 : 60)) spans[to] += mass, seeing[to] += 1;
        for (int from = 0; from < 2; ++from) flow[from][to] += in(from, i) ? mass : 0;
        from_rows[to] += in(to, i) ? 1 : 0;
      }
    }
    for (size_t m = 0; m < want.size(); ++m) {
      if (std::isnan(want[m]))
        EXPECT_TRUE(std::isnan(head.of_shares[m])) << m;
      else
        EXPECT_NEAR(head.of_shares[m], want[m], 2e-5 * (1 + want[m])) << measure_info(static_cast<Measure>(m)).id;
    }
    for (int to = 0; to < 2; ++to) {
      EXPECT_NEAR(head.spans[static_cast<size_t>(to)], spans[to] / seeing[to], 1e-5);
      for (int from = 0; from < 2; ++from)
        EXPECT_NEAR(head.flow[static_cast<size_t>(from * 2 + to)], flow[from][to] / from_rows[from], 1e-5);
    }
    double copies = 0;
    for (size_t i = 1; i < static_cast<size_t>(n); ++i) {
      const double x = expected(Swept::duplicate_weight, dense, i, c.tokens);
      copies += std::isnan(x) ? 0 : x / second;
    }
    EXPECT_NEAR(head.means[static_cast<size_t>(Swept::duplicate_weight)], copies, 1e-5);
    EXPECT_NEAR(std::accumulate(head.distance_bins.begin(), head.distance_bins.end(), 0.0), 1, 1e-6);
    apart = std::max(apart,
                     std::abs(want[static_cast<size_t>(Measure::first_mass)] - trace->mean(Measure::first_mass, id)));
  });
  EXPECT_GT(apart, 1e-3) << "keys that carry alike test nothing";
  EXPECT_THROW(sweep(*trace, {.value_weighted = true}), std::invalid_argument) << "scores";
  EXPECT_THROW(sweep(*c.traced(), {.groups = {.coverage = true}, .value_weighted = true}), InputError) << "no sizes";
}

// A window's far keys are not seen: they are neither scores nor weights.
TEST(Sweep, WindowsAreNotScores) {
  Case c(repeating(120));
  const auto trace = c.traced({.window = 10, .sinks = 2});
  const auto least = swept_rows(*trace, Swept::min_logit, {0, 1}), keys = swept_rows(*trace, Swept::keys_90, {0, 1});
  for (size_t i = 0; i < least.size(); ++i) {
    EXPECT_TRUE(std::isfinite(least[i])) << i;
    EXPECT_LE(keys[i], 13);
  }
}

TEST(Sweep, ThreadsAndObservationsAgreeAndRowsAreCounted) {
  Case c(repeating(400));
  const auto trace = c.traced();
  const Sweep one = sweep(*trace, {.threads = 1}), two = sweep(*trace, {.threads = 2});
  const auto observed = observe(c.model, c.tokens, {}, 2);
  const Sweep memory = sweep(*observed);
  for (size_t h = 0; h < one.heads.size(); ++h) {
    for (size_t m = 0; m < swept_count; ++m) {
      EXPECT_EQ(one.heads[h].means[m], two.heads[h].means[m]);
      EXPECT_NEAR(memory.heads[h].means[m], one.heads[h].means[m], 0.01 * (1 + std::abs(one.heads[h].means[m])));
    }
    EXPECT_EQ(one.heads[h].distance_bins, two.heads[h].distance_bins);
  }
  EXPECT_EQ(sweep(*trace, {.rows = 50}).rows, 50);
  EXPECT_THROW(sweep(*observe(c.model, c.tokens, {.keep_qk = false}, 1)), std::invalid_argument);
  EXPECT_THROW(sweep(*trace, {}, [](int64_t, int64_t) { return false; }), Cancelled);
  EXPECT_EQ(sweep(*observe(c.model, {3}, {}, 1)).rows, 0);
}

}  // namespace
}  // namespace bareattn
