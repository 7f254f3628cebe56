// Text generation and perplexity on top of Session: nothing here knows how a layer works.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "bareattn/end_tokens.h"
#include "bareattn/error.h"
#include "bareattn/model.h"
#include "base/float_environment.h"
#include "base/random.h"
#include "model/surprise.h"

namespace bareattn {
namespace {

// Rows of logits held at a time by perplexity(): 128 x 49,152 floats are 25 MB.
constexpr int64_t perplexity_chunk = 128;

/// The largest logit, the lowest id on a tie. NaN is a broken model or a broken intervention, and is said.
int32_t best(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) throw std::runtime_error("generate: logit of token " + std::to_string(i) + " is NaN");
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<int32_t>(best);
}

int32_t sample(std::span<const float> logits, const SamplingOptions& options, base::SplitMix64& random) {
  const double peak = logits[static_cast<size_t>(best(logits))];
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  size_t kept = order.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<size_t>(options.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(kept), order.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  std::vector<double> weight(kept);
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) {
    weight[i] = std::exp((logits[static_cast<size_t>(order[i])] - peak) / static_cast<double>(options.temperature));
    sum += weight[i];
  }
  // The smallest set of best tokens whose share reaches top_p; the token that reaches it belongs to it.
  double mass = 0;
  size_t end = 0;
  while (end < kept && mass < static_cast<double>(options.top_p) * sum) mass += weight[end++];
  end = std::max<size_t>(end, 1);
  double left = random.uniform() * std::accumulate(weight.begin(), weight.begin() + static_cast<int64_t>(end), 0.0);
  for (size_t i = 0; i + 1 < end; ++i) {
    left -= weight[i];
    if (left < 0) return order[i];
  }
  return order[end - 1];
}

void check(const SamplingOptions& options) {
  const auto fail = [](const std::string& what) { throw std::invalid_argument("generate: " + what); };
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    fail("temperature is " + std::to_string(options.temperature) + "; 0 or more is needed");
  if (options.top_k < 0) fail("top_k is " + std::to_string(options.top_k) + "; 0 or more is needed");
  if (!(options.top_p > 0 && options.top_p <= 1))
    fail("top_p is " + std::to_string(options.top_p) + "; a number over 0 and up to 1 is needed");
}

}  // namespace

std::vector<int32_t> generate(Session& session, TensorView<const float> logits, int count,
                              const SamplingOptions& options, const std::function<bool(int32_t)>& emit,
                              Observer* observer) {
  const base::DefaultFloatEnvironment environment;
  check(options);
  const int64_t vocabulary = session.model().config().vocab_size;
  if (logits.size() != vocabulary || (logits.rank > 0 && logits.stride[static_cast<size_t>(logits.rank - 1)] != 1)) {
    throw std::invalid_argument("generate: logits have " + std::to_string(logits.size()) +
                                " elements; one dense row of " + std::to_string(vocabulary) + " is needed");
  }
  const std::vector<int32_t> ends = end_tokens(session.model());
  base::SplitMix64 random(options.seed);
  std::vector<int32_t> tokens;
  while (static_cast<int>(tokens.size()) < count) {
    const std::span<const float> row(logits.data, static_cast<size_t>(vocabulary));
    const int32_t token = options.temperature > 0 ? sample(row, options, random) : best(row);
    tokens.push_back(token);
    if ((emit && !emit(token)) || std::binary_search(ends.begin(), ends.end(), token) ||
        static_cast<int>(tokens.size()) == count)
      break;
    if (session.length() == session.capacity()) break;
    logits = session.run(std::span(&token, 1), Logits::last, observer);
  }
  return tokens;
}

double perplexity(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens, int threads,
                  const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  if (tokens.size() < 2) {
    throw InputError("perplexity needs at least 2 tokens; there are " + std::to_string(tokens.size()));
  }
  Session session(model, {.threads = threads, .max_tokens = 0, .chunk = perplexity_chunk});
  const auto vocabulary = static_cast<size_t>(model->config().vocab_size);
  double sum = 0;
  const size_t predicted = tokens.size() - 1;  // the last token predicts nothing that is known
  for (size_t first = 0; first < predicted; first += perplexity_chunk) {
    const size_t rows = std::min<size_t>(perplexity_chunk, predicted - first);
    if (progress && !progress(static_cast<int64_t>(first), static_cast<int64_t>(predicted))) throw Cancelled{};
    const TensorView<const float> logits = session.run(tokens.subspan(first, rows), Logits::all);
    for (size_t r = 0; r < rows; ++r)
      sum += model::surprise(std::span(logits.data + r * vocabulary, vocabulary), tokens[first + r + 1]);
  }
  return std::exp(sum / static_cast<double>(predicted));
}

}  // namespace bareattn
