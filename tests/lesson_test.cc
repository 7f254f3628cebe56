// The tour's lesson: its weights are bit for bit those of a run of the sentence that keeps Q and K as f32, they follow
// from its Q and K, and the head is the one that was to be chosen. Sentences that do not fit are refused.
#include "bareattn/lesson.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bareattn/error.h"
#include "bareattn/trace.h"
#include "folder.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

class LessonTest : public testing::TestWithParam<Precision> {};

TEST_P(LessonTest, HoldsWhatTheEngineHad) {
  const auto model = test::real_model(Precision::f32, GetParam());
  const auto lesson = make_lesson(model, Lesson::sentence);
  ASSERT_NE(lesson, nullptr);
  const auto n = static_cast<int64_t>(lesson->tokens.size());
  const auto dim = static_cast<size_t>(lesson->dim);
  EXPECT_EQ(lesson->tokens[static_cast<size_t>(lesson->row)], " it");
  EXPECT_EQ(lesson->tokens[static_cast<size_t>(lesson->key)], " cat");
  EXPECT_EQ(lesson->width, model->config().width);
  ASSERT_EQ(lesson->q.size(), static_cast<size_t>(n) * dim);
  ASSERT_EQ(lesson->v.size(), lesson->q.size());

  const test::Folder folder;
  TraceOptions how;
  how.store = Store::f32;
  write_trace(folder / "run", model, model->tokenizer().encode(Lesson::sentence), how);
  const auto trace = Trace::open(folder / "run");
  const auto heard = static_cast<size_t>(lesson->key);
  float most = 0;
  for (int layer = 0; layer < model->config().layers; ++layer)
    for (int head = 0; head < model->config().heads; ++head)
      most = std::max(most, trace->row_weights({layer, head}, lesson->row)[heard]);
  EXPECT_EQ(lesson->weights[static_cast<size_t>(lesson->row * n + lesson->key)], most) << "another head looks harder";

  for (int64_t row = 0; row < n; ++row) {
    const std::vector<float> truth = trace->row_weights(lesson->head, row);
    double sum = 0, largest = 0;
    std::vector<double> powers;
    for (int64_t key = 0; key <= row; ++key) {
      double dot = 0, size = 0;
      for (size_t d = 0; d < dim; ++d) {
        const double product = double{lesson->q[static_cast<size_t>(row) * dim + d]} *
                               double{lesson->k[static_cast<size_t>(key) * dim + d]};
        dot += product;
        size += std::abs(product);
      }
      const double root = std::sqrt(static_cast<double>(dim));
      largest = std::max(largest, size / root);
      sum += powers.emplace_back(std::exp(dot / root));
    }
    // A sum of D products in f32 is off by D 2^-24 of their sizes at most; a weight by that of its logit and of the
    // sum's.
    const double slack = 2 * static_cast<double>(dim) * 0x1p-24 * largest + 1e-6;
    for (int64_t key = 0; key < n; ++key) {
      const float weight = lesson->weights[static_cast<size_t>(row * n + key)];
      EXPECT_EQ(weight, key <= row ? truth[static_cast<size_t>(key)] : 0.0F) << row << ", " << key;
      if (key > row) continue;
      EXPECT_NEAR(weight, powers[static_cast<size_t>(key)] / sum, slack * double{weight}) << row << ", " << key;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Attention, LessonTest, testing::Values(Precision::f32, Precision::bf16),
                         [](const auto& tested) { return precision_name(tested.param); });

TEST(Lesson, TakesOtherSentencesAndRefusesWhatDoesNotFit) {
  const auto model = test::real_model();
  const auto other = make_lesson(model, "A dog ran home and slept.");
  ASSERT_NE(other, nullptr);
  EXPECT_GT(other->key, 0);
  EXPECT_LT(other->key, other->row - 1);
  EXPECT_EQ(make_lesson(model, "A dog"), nullptr);
  EXPECT_EQ(make_lesson(model, ""), nullptr);
  std::string sentence = "one";
  for (int i = 1; i < Lesson::most_tokens; ++i) sentence += " one";
  EXPECT_NE(make_lesson(model, sentence), nullptr);
  EXPECT_THROW(make_lesson(model, sentence + " one"), InputError);
}

}  // namespace
}  // namespace bareattn
