// observe(): one run of the model with a Recorder watching. Refuses an empty text and one longer than the model's
// context (unless asked to go on) before anything is allocated. Next: recorder.h (what is kept), run_observation.cc
// (what is made of it).
#include <chrono>
#include <string_view>

#include "bareattn/error.h"
#include "bareattn/observation.h"
#include "base/float_environment.h"
#include "base/thread_pool.h"
#include "observe/run_observation.h"
#include "observe/token_texts.h"

namespace bareattn {

std::unique_ptr<Observation> observe(const std::shared_ptr<const Model>& model, std::vector<int32_t> tokens,
                                     const ObservationOptions& options, int threads, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  const ModelConfig& config = model->config();
  const int64_t count = static_cast<int64_t>(tokens.size());
  if (count == 0) throw InputError("the text is empty: there is nothing to attend to");
  position_scale(config, count, options.beyond);  // refuses
  std::vector<std::string_view> pieces;
  for (const int32_t id : tokens) {
    if (id < 0 || id >= model->tokenizer().size()) {
      throw InputError("token id " + std::to_string(id) + ": the vocabulary has " +
                       std::to_string(model->tokenizer().size()));
    }
    pieces.push_back(model->tokenizer().piece(id));
  }

  auto recorder = std::make_unique<observing::Recorder>(model->architecture(), count, options);
  if (options.measures.values || options.measures.agreement) recorder->watch_outputs(*model);
  SessionOptions session_options;
  session_options.threads = threads;
  session_options.max_tokens = count;
  session_options.reach.beyond = options.beyond;
  session_options.table = options.table;
  session_options.variant = options.variant;
  observing::RunFacts facts;
  facts.threads = threads > 0 ? threads : base::available_cores();
  facts.texts = observing::token_texts(pieces);
  const auto start = std::chrono::steady_clock::now();
  if (options.table == nullptr && options.variant == nullptr) {
    run_by_layer(model, tokens, *recorder, session_options, progress);  // the keys and values of one layer at a time
  } else {
    Session(model, session_options).run(tokens, Logits::none, recorder.get(), progress);
  }
  facts.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  recorder->finish();
  facts.tokens = std::move(tokens);
  return observing::make_observation(model, std::move(facts), std::move(recorder));
}

}  // namespace bareattn
