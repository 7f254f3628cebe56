// Every measure of every head of the real model, row by row, against a dense computation in double from the same Q and
// K (observed at hook_rot_q and hook_rot_k). Tolerances are derived: with e the bound on a row's logit error (f32 chain
// of D fused multiply-adds), weights are off by at most a factor e^(2e), so a mass m by 2e m, an entropy by
// 2e (H + 1); sums over N keys in 16 lanes and exp add the relative `rounding`.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/highlights.h"
#include "model_under_test.h"
#include "observe/recorder.h"
#include "observe/run_observation.h"
#include "observe_dense.h"

namespace bareattn {
namespace {

constexpr double rounding = 4e-6;        // exp (1.1 ulp), <= 40 additions per lane and level, merges of blocks
constexpr double weight_step = 0x1p-28;  // half a unit of the fixed point

class QkRecorder final : public Observer {
 public:
  explicit QkRecorder(const ModelConfig& config) : config_(config) {}
  bool wants(Point point, int) override { return point == Point::rot_q || point == Point::rot_k; }
  void see(const Event& event) override {
    for (int64_t head = 0; head < event.values.shape[1]; ++head) {
      auto& to = (event.point == Point::rot_q ? q : k)[{event.layer, static_cast<int>(head)}];
      for (int64_t i = 0; i < event.values.shape[0]; ++i) {
        for (int64_t d = 0; d < config_.head_dim; ++d) to.push_back(event.values.at(i, head, d));
      }
    }
  }
  std::map<std::pair<int, int>, std::vector<float>> q, k;  // (layer, head) -> [N, D]

 private:
  ModelConfig config_;
};

struct Fixture {
  std::shared_ptr<const Model> model = test::real_model();
  std::vector<int32_t> tokens;
  std::unique_ptr<Observation> observation;
  std::map<std::pair<int, int>, test::DenseHead> dense;
};

// Of one name, overlapping and apart; one that nobody can see but the last row; one of all.
std::vector<NamedSpan> spans() {
  return {{"some", 3, 9}, {"last", 149, 150}, {"some", 7, 12}, {"all", 0, 150}, {"some", 100, 101}};
}

// 150 tokens: more than the 64 of recent_mass, 38 pooled blocks of which the last is not full.
const Fixture& fixture() {
  static const Fixture made = [] {
    Fixture f;
    const std::string text = read_file(BAREATTN_SOURCE_DIR "/tests/golden/text/tom-sawyer.txt", 1 << 20);
    f.tokens = f.model->tokenizer().encode(text.substr(0, 2000));
    f.tokens.resize(150);
    f.observation = observe(f.model, f.tokens, {.measures = {.spread = true}, .spans = spans()});
    const ModelConfig& c = f.model->config();
    QkRecorder qk(c);
    Session session(f.model);
    session.run(f.tokens, Logits::none, &qk);
    for (int layer = 0; layer < c.layers; ++layer) {
      for (int head = 0; head < c.heads; ++head) {
        const auto& q = qk.q.at({layer, head});
        const auto& k = qk.k.at({layer, head / (c.heads / c.kv_heads)});
        f.dense[{layer, head}] =
            test::dense_head(q.data(), k.data(), static_cast<int64_t>(f.tokens.size()), c.head_dim);
      }
    }
    return f;
  }();
  return made;
}

struct Expected {
  double value, tolerance;
};

// The definition of each measure, and how far the pass may be off.
Expected expected(Measure measure, const test::DenseHead& head, int64_t i) {
  const auto& p = head.weights[i];
  const double e = head.logit_error[i], relative = 2 * e + rounding;
  const auto mass = [&](int64_t from, int64_t to) {
    double sum = 0;
    for (int64_t j = std::max<int64_t>(from, 0); j <= to; ++j) sum += p[j];
    return Expected{sum, sum * relative + 1e-12};
  };
  const double h = head.entropy[i], h_error = (h + 1) * relative;
  switch (measure) {
    case Measure::entropy:
      return {h, h_error};
    case Measure::normalized_entropy: {
      const double most = std::log(static_cast<double>(i + 1));
      return {h / most, h_error / most};
    }
    case Measure::effective_context:
      return {std::exp(h), std::exp(h) * (std::exp(h_error) - 1 + 1e-6)};
    case Measure::max_weight: {
      const double top = *std::max_element(p.begin(), p.end());
      const double size = std::abs(head.lse[i]) * 0x1p-22;  // max and LSE are stored in f32
      return {top, top * (relative + size)};
    }
    case Measure::max_logit: {
      const double top = *std::max_element(head.logits[i].begin(), head.logits[i].end());
      return {top, e + std::abs(top) * 0x1p-23};
    }
    case Measure::lse:
      return {head.lse[i], e + rounding + std::abs(head.lse[i]) * 0x1p-22};
    case Measure::mean_distance: {
      double sum = 0;
      for (int64_t j = 0; j <= i; ++j) sum += p[j] * static_cast<double>(i - j);
      return {sum, sum * relative + 1e-12};
    }
    case Measure::first_mass:
      return mass(0, 0);
    case Measure::self_weight:
      return mass(i, i);
    case Measure::previous_weight:
      return i == 0 ? Expected{0, 0} : mass(i - 1, i - 1);
    case Measure::recent_mass:
      return mass(i - 63, i);
    case Measure::participation: {
      double squares = 0;
      for (const double w : p) squares += w * w;
      return {1 / squares, 2 * relative / squares};
    }
    case Measure::distance_spread: {
      double mean = 0, square = 0, third = 0;
      for (int64_t j = 0; j <= i; ++j) mean += p[j] * static_cast<double>(i - j);
      for (int64_t j = 0; j <= i; ++j) square += p[j] * std::pow(static_cast<double>(i - j) - mean, 2);
      third = 2.4 + square * 2 * relative + 1e-6;  // of the square: attention.h
      return {std::sqrt(square), std::sqrt(square + third) - std::sqrt(std::max(0.0, square - third))};
    }
  }
  return {NAN, 0};
}

template <class Body>
void for_each_head(const Body& body) {
  const ModelConfig& c = fixture().model->config();
  for (int layer = 0; layer < c.layers; ++layer) {
    for (int head = 0; head < c.heads; ++head) body(HeadId{layer, head}, fixture().dense.at({layer, head}));
  }
}

TEST(Measures, EveryRowOfEveryHeadIsItsDefinition) {
  const Observation& o = *fixture().observation;
  double worst = 0;
  for_each_head([&](HeadId id, const test::DenseHead& dense) {
    for (int m = 0; m < measure_count; ++m) {
      const auto measure = static_cast<Measure>(m);
      const auto rows = o.rows(measure, id);
      ASSERT_EQ(static_cast<int64_t>(rows.size()), dense.length);
      double mean = 0, mean_tolerance = 0;
      for (int64_t i = 0; i < dense.length; ++i) {
        if (measure == Measure::normalized_entropy && i == 0) {
          ASSERT_TRUE(std::isnan(rows[0]));
          continue;
        }
        const Expected want = expected(measure, dense, i);
        ASSERT_NEAR(rows[i], want.value, want.tolerance)
            << measure_info(measure).id << " of " << id.layer << "." << id.head << " row " << i;
        if (want.tolerance > 0) worst = std::max(worst, std::abs(rows[i] - want.value) / want.tolerance);
        if (i > 0) mean += want.value, mean_tolerance += want.tolerance;
      }
      const double rows_in_mean = static_cast<double>(dense.length - 1);
      ASSERT_NEAR(o.mean(measure, id), mean / rows_in_mean, mean_tolerance / rows_in_mean + 1e-9);
    }
  });
  RecordProperty("worst_share_of_tolerance", std::to_string(worst));
  std::printf("worst error: %.2f of its tolerance\n", worst);
}

TEST(Measures, WeightOnNamedSpansIsTheSumOverTheirKeys) {
  const Observation& o = *fixture().observation;
  const auto sets = o.span_sets();
  ASSERT_EQ(sets.size(), 3U);
  EXPECT_EQ(sets[0].name, "some");
  EXPECT_EQ(sets[0].tokens, 10);  // 3 to 11 once, and 100
  for_each_head([&](HeadId id, const test::DenseHead& dense) {
    for (int set = 0; set < 3; ++set) {
      const auto mass = o.span_mass(set, id);
      double mean = 0;
      int rows = 0;
      for (int64_t i = 0; i < dense.length; ++i) {
        double want = 0;
        for (int64_t j = 0; j <= i; ++j) {
          const bool in = set == 2 || (set == 1 ? j == 149 : (j >= 3 && j < 12) || j == 100);
          want += in ? dense.weights[i][j] : 0;
        }
        ASSERT_NEAR(mass[i], want, want * (2 * dense.logit_error[i] + rounding + 601 * 0x1p-24) + 1e-12);
        if (i >= std::max<int64_t>(1, sets[set].ranges[0].begin)) mean += want, ++rows;
      }
      ASSERT_NEAR(mean_span_mass(o, set, id), mean / rows, 2e-4);
    }
  });
}

TEST(Measures, GroupsThatWereNotAskedForAreNotMade) {
  const Fixture& f = fixture();
  const auto o = observe(f.model, f.tokens, {.measures = {false, false, false, false, false}, .spans = spans()});
  EXPECT_EQ(o->rows(Measure::max_weight, {3, 1}), f.observation->rows(Measure::max_weight, {3, 1}));
  EXPECT_TRUE(o->span_sets().empty());
  for (const Measure measure :
       {Measure::entropy, Measure::mean_distance, Measure::first_mass, Measure::distance_spread})
    EXPECT_THROW((void)o->mean(measure, {0, 0}), InputError);
  EXPECT_THROW((void)o->received({0, 0}), InputError);
  EXPECT_THROW((void)o->pool_sum({0, 0}), InputError);
  EXPECT_THROW((void)o->max_key({0, 0}), InputError);
  EXPECT_THROW((void)o->role({0, 0}), InputError);
  const auto spread = observe(f.model, f.tokens, {.measures = {false, false, false, false, false, true}});
  EXPECT_EQ(spread->rows(Measure::distance_spread, {3, 1}), f.observation->rows(Measure::distance_spread, {3, 1}));
}

TEST(Measures, StrongestKeyIsTheFirstOfTheStrongest) {
  for_each_head([&](HeadId id, const test::DenseHead& dense) {
    const auto keys = fixture().observation->max_key(id);
    for (int64_t i = 0; i < dense.length; ++i) {
      const auto& s = dense.logits[i];
      ASSERT_GE(keys[i], 0);
      ASSERT_LE(keys[i], i);
      ASSERT_GE(s[keys[i]], *std::max_element(s.begin(), s.end()) - 2 * dense.logit_error[i]);
    }
  });
}

TEST(Measures, WeightsSumToOneAndReceivedSumsToTheNumberOfRows) {
  for_each_head([&](HeadId id, const test::DenseHead& dense) {
    const auto lse = fixture().observation->rows(Measure::lse, id);
    for (int64_t i = 0; i < dense.length; ++i) {
      double sum = 0;
      for (const double s : dense.logits[i]) sum += std::exp(s - double{lse[i]});
      ASSERT_NEAR(sum, 1, 2 * dense.logit_error[i] + rounding + std::abs(lse[i]) * 0x1p-22);
    }
    const auto received = fixture().observation->received(id);
    double all = 0;
    for (int64_t j = 0; j < dense.length; ++j) {
      double want = 0, tolerance = 0;
      for (int64_t i = j; i < dense.length; ++i) {
        want += dense.weights[i][j];
        tolerance += dense.weights[i][j] * (2 * dense.logit_error[i] + rounding) + weight_step;
      }
      ASSERT_NEAR(received[j], want, tolerance) << id.layer << "." << id.head << " key " << j;
      all += received[j];
    }
    const double n = static_cast<double>(dense.length);
    ASSERT_NEAR(all, n, n * rounding + n * (n + 1) / 2 * weight_step);
  });
}

TEST(Measures, PooledMapIsTheSumsAndMaximaOfTheDenseBlocks) {
  const Observation& o = *fixture().observation;
  const int block = o.pool_block();
  ASSERT_EQ(block, 4);
  ASSERT_EQ(o.pool_blocks(), 38);
  const size_t cells = 38 * 39 / 2;
  for_each_head([&](HeadId id, const test::DenseHead& dense) {
    const auto sums = o.pool_sum(id);
    const auto maxima = o.pool_max(id);
    ASSERT_EQ(sums.size(), cells);
    ASSERT_EQ(maxima.size(), cells);
    std::vector<double> want(cells), tolerance(cells), want_max(cells), max_tolerance(cells);
    for (int64_t i = 0; i < dense.length; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        const int64_t r = i / block, cell = r * (r + 1) / 2 + j / block;
        const double p = dense.weights[i][j], error = p * (2 * dense.logit_error[i] + rounding);
        want[cell] += p;
        tolerance[cell] += error + weight_step;
        want_max[cell] = std::max(want_max[cell], p);
        max_tolerance[cell] = std::max(max_tolerance[cell], error + weight_step);
      }
    }
    for (size_t cell = 0; cell < want.size(); ++cell) {
      ASSERT_NEAR(sums[cell], want[cell], tolerance[cell]) << id.layer << "." << id.head << " cell " << cell;
      ASSERT_NEAR(maxima[cell], want_max[cell], max_tolerance[cell]) << id.layer << "." << id.head << " cell " << cell;
    }
  });
}

TEST(Measures, RowWeightsKeepTheirStatedBounds) {
  const Observation& o = *fixture().observation;
  double worst_last = 0, worst_other = 0;
  for_each_head([&](HeadId id, const test::DenseHead& dense) {
    for (const int64_t row : {int64_t{0}, int64_t{1}, int64_t{77}, dense.length - 1}) {
      const bool last = row == dense.length - 1;
      const auto weights = o.row_weights(id, row);
      ASSERT_EQ(static_cast<int64_t>(weights.size()), row + 1);
      // logit_error is 2 D 2^-24 scale max sum |q k|; f16's 1.01 * 2^-10 is so many times that
      const double bound = dense.logit_error[row] * (last ? 1 : 1.01 * 0x1p-10 / (2.0 * 64 * 0x1p-24));
      double sum = 0;
      for (int64_t j = 0; j <= row; ++j) {
        const double p = dense.weights[row][j];
        // both the logit and (by the pass's own error) the LSE may be off; the LSE is an f32 of size |LSE|
        const double allowed =
            std::expm1(bound + dense.logit_error[row] + std::abs(dense.lse[row]) * 0x1p-22 + rounding);
        ASSERT_NEAR(weights[j], p, p * allowed + 1e-12) << id.layer << "." << id.head << " row " << row << " key " << j;
        if (p > 1e-6) {
          auto& worst = last ? worst_last : worst_other;
          worst = std::max(worst, std::abs(weights[j] / p - 1));
        }
        sum += weights[j];
      }
      if (last) {
        ASSERT_NEAR(sum, 1, 1e-4);
      }
      const auto top = o.top_keys(id, row, 5);
      ASSERT_EQ(top.size(), std::min<size_t>(5, row + 1));
      for (size_t t = 0; t < top.size(); ++t) {
        ASSERT_EQ(top[t].second, weights[top[t].first]);
        if (t > 0) {
          ASSERT_GE(top[t - 1].second, top[t].second);
        }
      }
      ASSERT_EQ(top[0].second, *std::max_element(weights.begin(), weights.end()));
    }
  });
  std::printf("largest relative error of a weight above 1e-6: last row %.1e, rows from f16 %.1e\n", worst_last,
              worst_other);
}

TEST(Measures, ChunksAndThreadsLeaveTheSameBits) {
  const Fixture& f = fixture();
  const Architecture& c = f.model->architecture();
  const int64_t n = static_cast<int64_t>(f.tokens.size());
  std::vector<std::unique_ptr<observing::Recorder>> recorders;
  for (const auto& [threads, chunk] : {std::pair{2, 512}, {1, 64}, {2, 7}}) {
    auto recorder = std::make_unique<observing::Recorder>(c, n, ObservationOptions{});
    Session session(f.model, {.threads = threads, .max_tokens = n, .chunk = chunk});
    session.run(f.tokens, Logits::none, recorder.get());
    recorder->finish();
    recorders.push_back(std::move(recorder));
  }
  for_each_head([&](HeadId id, const test::DenseHead&) {
    const AttentionStatistics a = recorders[0]->head_statistics(id);
    for (size_t r = 1; r < recorders.size(); ++r) {
      const AttentionStatistics b = recorders[r]->head_statistics(id);
      const auto same = [&](const void* x, const void* y, int64_t bytes) {
        return std::memcmp(x, y, static_cast<size_t>(bytes)) == 0;
      };
      for (const auto field :
           {&AttentionStatistics::lse, &AttentionStatistics::max_logit, &AttentionStatistics::entropy,
            &AttentionStatistics::sum_squares, &AttentionStatistics::mean_distance, &AttentionStatistics::first_mass,
            &AttentionStatistics::self_weight, &AttentionStatistics::previous_weight,
            &AttentionStatistics::recent_mass}) {
        ASSERT_TRUE(same(a.*field, b.*field, n * 4)) << id.layer << "." << id.head << " run " << r;
      }
      const int64_t cells = recorders[0]->pool_blocks() * (recorders[0]->pool_blocks() + 1) / 2;
      ASSERT_TRUE(same(a.max_key, b.max_key, n * 4));
      ASSERT_TRUE(same(a.received, b.received, n * 8));
      ASSERT_TRUE(same(a.pool_sum, b.pool_sum, cells * 8));
      ASSERT_TRUE(same(a.pool_max, b.pool_max, cells * 4));
      ASSERT_TRUE(same(recorders[0]->q(id), recorders[r]->q(id), n * c.head_dim * 2));
      ASSERT_TRUE(same(recorders[0]->last_row(id), recorders[r]->last_row(id), n * 4));
    }
  });
}

TEST(Highlights, NameDifferentHeadsAndOrderThemAll) {
  const Observation& o = *fixture().observation;
  const auto shown = highlights(o);
  ASSERT_GE(shown.size(), 5u);
  const auto telling = telling_heads(o);
  const ModelConfig& c = o.model().config();
  std::map<int, int> seen;
  for (const HeadId id : telling) ++seen[id.layer * c.heads + id.head];
  EXPECT_EQ(telling.size(), static_cast<size_t>(c.layers * c.heads));
  EXPECT_EQ(seen.size(), telling.size());
  for (size_t i = 0; i < shown.size(); ++i) {
    EXPECT_FALSE(shown[i].evidence.empty());
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(shown[i].head == shown[j].head);
    if (shown[i].id == "previous-token") {
      EXPECT_EQ(o.role(shown[i].head).name, "previous-token");
    }
  }
  EXPECT_TRUE(telling[0] == shown[0].head);
}

}  // namespace
}  // namespace bareattn
