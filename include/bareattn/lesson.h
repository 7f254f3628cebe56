// The page's tour: one head on one short sentence, every number as the engine had it. Made by running the sentence;
// shown by page.h and serve.h. Next: src/view/page_lesson.h, viewer/src/tour/tour.tsx.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bareattn/model.h"
#include "bareattn/observation.h"

namespace bareattn {

struct Lesson {
  static constexpr int64_t most_tokens = 16;  // more do not fit on a screen
  static constexpr const char* sentence = "The cat sat on the mat because it was tired.";

  std::vector<std::string> tokens;  // [n]
  HeadId head;
  int64_t row = 0, key = 0;    // who asks and who is heard: the pair that it is told by
  int width = 0, dim = 0;      // W of the model, D of the head
  float scale = 0;             // of q.k: 1 / sqrt(D); but for the causal mask nothing else is done to these scores
  std::vector<float> q, k, v;  // [n, D]; Q and K after the rotation. What the scores are made of, not rounded
  std::vector<float> weights;  // [n, n]: bit for bit those of the pass; 0 above the diagonal
};

/// Runs the sentence and chooses the head: the one in which "it" gives most to "cat" where the sentence has these, else
/// the heaviest weight that goes neither to the first token nor to the token itself or the one before. InputError for
/// more than most_tokens; null for fewer than four (none included), where no weight is a number, or where no
/// layer's scores are q.k / sqrt(D) alone.
std::shared_ptr<const Lesson> make_lesson(const std::shared_ptr<const Model>& model, const std::string& sentence,
                                          int threads = 0);

}  // namespace bareattn
