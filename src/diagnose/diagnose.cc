// diagnose(): the runs, then the checks. See diagnosis.h; gather.h for what is measured, checks_list.cc for the checks.
#include <algorithm>
#include <cmath>

#include "bareattn/diagnosis.h"
#include "bareattn/error.h"
#include "bareattn/score_table.h"
#include "base/float_environment.h"
#include "diagnose/gather.h"
#include "diagnose/hypothesis.h"

namespace bareattn {
namespace {

constexpr size_t fewest_tokens = 48;
constexpr size_t most_tokens = 1024;  // sampled logits are [L Hq, 8, N]

void check_length(size_t tokens, const Expectations& expectations) {
  if (tokens < fewest_tokens || tokens > most_tokens) {
    throw InputError("the text is " + std::to_string(tokens) + " tokens long; a diagnosis needs " +
                     std::to_string(fewest_tokens) + " to " + std::to_string(most_tokens));
  }
  if (!expectations.document.empty() && expectations.document.size() != tokens)
    throw InputError("expectations: 'document' needs one entry per token");
}

void set_tokenizer(Evidence& evidence, const Tokenizer& tokenizer) {
  evidence.bos = tokenizer.spec().bos_id;
  evidence.wants_bos = tokenizer.spec().add_bos;
}

// Where the passes themselves are at odds with Q and K, better predictions with other settings would mean nothing.
bool wants_probes(const Evidence& evidence, const std::vector<std::string>& wanted) {
  const auto asked = [&](const char* check) {
    return wanted.empty() || std::find(wanted.begin(), wanted.end(), check) != wanted.end();
  };
  bool any = false;
  for (const char* check : {"wrong-scale", "wrong-rope-base", "wrong-rope-scaling", "wrong-rope-dim",
                            "wrong-rope-pairing", "position-offset", "wrong-gqa-map", "no-prediction"})
    any = any || asked(check);
  return any && check_finite(evidence).empty() && diagnosing::at_odds(evidence).empty() &&
         check_shift(evidence).empty();
}

}  // namespace

Diagnosis diagnose_observation(std::shared_ptr<const Observation> observation, const Tokenizer* tokenizer,
                               const DiagnoseOptions& options, double rounding) {
  const base::DefaultFloatEnvironment environment;
  diagnosing::check_names(options.checks);
  check_length(observation->tokens().size(), options.expectations);
  if (options.control != nullptr)
    diagnosing::check_control(*options.control, observation->tokens(), observation->model().config());
  Diagnosis result;
  result.observation = std::move(observation);
  if (result.observation->q_f16({0, 0}).empty()) throw InputError("Q and K were not kept in this run");
  Evidence& evidence = result.evidence;
  evidence.observation = result.observation.get();
  evidence.expectations = options.expectations;
  evidence.base = std::make_shared<const Variant>();
  if (tokenizer != nullptr) set_tokenizer(evidence, *tokenizer);
  const ScoreTable* table = options.table != nullptr ? options.table.get() : result.observation->table();
  evidence.heads = diagnosing::sample_rows(*result.observation, options.expectations, table, rounding);
  result.findings = diagnosing::run_checks(evidence, options.checks);
  if (options.control != nullptr) diagnosing::hold_against(*options.control, result, options);
  return result;
}

Diagnosis diagnose(const std::shared_ptr<const Model>& model, std::vector<int32_t> tokens, const DiagnoseOptions& asked,
                   const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  diagnosing::check_names(asked.checks);
  check_length(tokens.size(), asked.expectations);
  if (asked.control != nullptr) diagnosing::check_control(*asked.control, tokens, model->config());
  DiagnoseOptions options = asked;
  Variant base = options.variant != nullptr ? *options.variant : Variant();
  if (base.window < 0) base.window = options.expectations.window;
  options.variant = std::make_shared<const Variant>(base);
  const auto probes =
      options.probes ? diagnosing::probes(model->architecture(), base) : std::vector<diagnosing::Probe>();
  const auto total = static_cast<int64_t>(probes.size()) + 10;  // the best one is refined by four more and confirmed
  int64_t done = 0;
  const auto step = [&] {
    if (progress && !progress(++done, total)) throw Cancelled();
  };

  Diagnosis result;
  ObservationOptions observation;
  observation.table = options.table;
  observation.variant = options.variant;
  result.observation = observe(model, tokens, observation, options.threads);
  step();
  Evidence& evidence = result.evidence;
  evidence.observation = result.observation.get();
  evidence.expectations = options.expectations;
  evidence.base = options.variant;
  set_tokenizer(evidence, model->tokenizer());
  evidence.heads =
      diagnosing::sample_rows(*result.observation, options.expectations, options.table.get(), f16_rounding);
  const auto scored = diagnosing::score(model, tokens, options);
  evidence.ran = true;
  evidence.nll = scored.nll;
  for (size_t i = 0; i < scored.surprise.size(); ++i) {
    if (std::isfinite(scored.surprise[i])) continue;
    if (evidence.odd_predictions++ == 0) evidence.first_odd = static_cast<int64_t>(i);
  }
  evidence.blend_size = scored.blend_size;
  step();
  const auto whole = diagnosing::observed_lse(*result.observation);
  evidence.cache_difference = diagnosing::largest_difference(whole, diagnosing::all_lse(model, tokens, options, true));
  step();
  const bool rotates = diagnosing::rotates(model->architecture());
  if (rotates) {
    DiagnoseOptions other = options;
    Variant shifted = base;
    shifted.position_shift += 37;
    other.variant = std::make_shared<const Variant>(std::move(shifted));
    evidence.shift_difference =
        diagnosing::differences(whole, diagnosing::all_lse(model, tokens, other, false), model->config().layers);
  }
  step();
  if (wants_probes(evidence, options.checks)) {
    const auto plain = diagnosing::score_plain(model, options);
    evidence.plain_nll = plain.nll;
    step();
    if (!probes.empty()) evidence.not_probed = diagnosing::why_not_probed(evidence);
    if (!probes.empty() && evidence.not_probed.empty())
      diagnosing::run_probes(probes, {model, tokens, options, scored, plain, step}, evidence);
  }
  if (!rotates && evidence.not_probed.empty())
    evidence.not_probed = "The model rotates no queries and keys: nothing was asked about rotary positions.";
  result.findings = diagnosing::run_checks(evidence, options.checks);
  if (options.control != nullptr) diagnosing::hold_against(*options.control, result, options);
  return result;
}

}  // namespace bareattn
