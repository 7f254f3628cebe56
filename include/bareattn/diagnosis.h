// What is wrong with how a model attends, from forward passes alone. Evidence is gathered once (gather()); every check
// is a pure function of it: evidence in, findings out, each with head, token, value, limit and a sentence. Two kinds of
// evidence: what one pass says about itself (its LSE against its own Q and K), which finds faults of the attention pass
// exactly, and how well the model predicts if something were otherwise (probes), which finds faults of file and loader.
// A finding proposes the remedy that undoes it. Refuses texts of under 48 tokens. Limits and measured rates:
// docs/diagnosis.md; faults to try it on: faults.h.
#pragma once
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bareattn/observation.h"
#include "bareattn/steering.h"
#include "bareattn/variant.h"

namespace bareattn {

enum class Severity : uint8_t { note, warning, error };
const char* severity_name(Severity severity);  // "note", "warning", "error": SARIF's levels

/// Where a remedy is carried out.
enum class RemedyPlace : uint8_t {
  steering,  // with the interventions, which a steering file holds
  file,      // in the model file: `mend` says what has to stand there
  program,   // in the program whose pass it is
  text,      // in how the text becomes tokens
};
const char* remedy_place_name(RemedyPlace place);  // "steering", "file", "program", "text"

/// What undoes a finding. Interventions can be saved as a steering file; a variant is the run with the named setting as
/// it should be; tokens are the text as it should be. Where there is nothing, `what` is empty.
struct Remedy {
  std::string what;  // "divide the scores of all heads by 2"
  std::vector<Intervention> interventions;
  std::shared_ptr<const Variant> variant;
  std::vector<int32_t> tokens;
  RemedyPlace place = RemedyPlace::program;
  std::string mend = {};  // "Mend the file: llama.rope.freq_base has to be 10000."; empty: nothing to mend in a file
};

struct Finding {
  std::string check;  // "wrong-scale"
  Severity severity = Severity::error;
  HeadId head{-1, -1};        // the one that shows it most; layer -1: the whole run
  std::vector<HeadId> heads;  // all that show it
  int64_t token = -1;         // -1: none in particular
  int64_t last = -1;          // of a span of tokens that begins with `token`
  double value = 0, limit = 0;
  std::string sentence, advice;
  Remedy remedy;
  bool leads = false;  // stands before others of its severity: most heads at odds are its own
};

/// What the run was meant to be, where the file does not say.
struct Expectations {
  int64_t window = -1;            // a row sees so many keys before its own; -1: all
  int64_t sinks = 0;              // ... and the first ones
  std::vector<int32_t> document;  // of each token: rows see only keys of their own; -1: padding, which nobody sees
  std::optional<bool> begins_with_bos;  // none: what the tokenizer says
  std::vector<TokenSpan> irrelevant;    // against a control: tokens that should get no more weight than there
};

/// One row of one head as Q, K and LSE tell it: exp(logit - lse) should sum to one over what may be seen.
struct RowEvidence {
  int64_t row = 0;
  float lse = 0;
  float sink = -std::numeric_limits<float>::infinity();  // a logit of the model's own that is no key's
  double tolerance = 0;       // |log of the sum of weights| that rounding of Q and K explains
  std::vector<float> logits;  // [N], keys after the row included
};
struct HeadEvidence {
  HeadId head;
  std::vector<RowEvidence> rows;
  double mismatch = 0;  // largest |log of the sum of weights| over the rows
  double excess = 0;    // the same over each row's tolerance: over 1 is not explained
};

struct ProbeResult {
  std::string check;  // what a better prediction would show: "wrong-rope-base"
  std::string label;  // "base 10000"
  double nll = 0;     // mean, nats per token
  double error = 0;   // standard error of the mean of (the run's nats - the probe's), token by token
  std::shared_ptr<const Variant> variant = {};
  std::string mend = {};   // as Remedy::mend
  double plain_nll = 0;    // of the plain text (Evidence::plain_nll); 0: not measured
  double plain_error = 0;  // standard error of its difference to the run as it is
};

struct Evidence {
  const Observation* observation = nullptr;
  Expectations expectations;
  std::shared_ptr<const Variant> base;  // the run under test
  int32_t bos = -1;                     // the begin-of-text token; -1: none, or unknown
  bool wants_bos = false;
  std::vector<HeadEvidence> heads;  // [L Hq], the sampled rows
  std::vector<double> blend_size;   // [L Hq]: root mean square of z; empty: not measured
  double nll = 0;                   // of the run as it is, nats per token; 0: not measured
  double plain_nll = 0;             // of a plain English text of our own, run as it is; 0: not measured
  int64_t odd_predictions = 0;      // tokens whose nats are not finite,
  int64_t first_odd = -1;           // ... and the row that predicts the first of them
  std::vector<ProbeResult> probes;
  std::string not_probed;       // why nothing, or not all, was probed, a sentence; empty: it was, or nobody wanted it
  bool against = false;         // a control is there
  bool ran = false;             // the model was run for this: in pieces, shifted; not so from a trace
  double cache_difference = 0;  // largest |difference of LSE| between one run and the same in pieces
  std::vector<double>
      shift_difference;  // [L]: ... of each layer, with all positions 37 further on; empty: not measured
};

struct DiagnoseOptions {
  Expectations expectations;
  std::shared_ptr<const ScoreTable> table = {};  // steering that is meant to be; what a finished run says of itself is
  std::shared_ptr<const Variant> variant = {};   // the fault under test; null: the model as it is
  /// Another finished run over the same tokens, by a model of as many heads, that this one is held against: the model
  /// before quantisation, another engine's setting. What the run shows alone is not said twice.
  std::shared_ptr<const Observation> control = {};
  bool probes = true;                    // some forty more runs, where the passes themselves are in order
  std::vector<std::string> checks = {};  // only these; empty: all. InputError for names that are none
  int threads = 0;
};

struct Diagnosis {
  std::shared_ptr<const Observation> observation;
  Evidence evidence;
  std::vector<Finding> findings;  // gravest first, the most certain first among equals
};

struct CheckInfo {
  const char* id;
  const char* title;
  const char* description;  // one sentence for SARIF and the help
  Severity severity;        // of its findings
};
const std::vector<CheckInfo>& checks();
/// Those of `wanted` (none named: of all) that this evidence can answer: of a trace, none that needs further runs.
std::vector<std::string> checks_asked(const Evidence& evidence, const std::vector<std::string>& wanted = {});

/// Runs the model as often as needed. InputError for a text of under 48 tokens or more than the context.
Diagnosis diagnose(const std::shared_ptr<const Model>& model, std::vector<int32_t> tokens,
                   const DiagnoseOptions& options = {}, const Progress& progress = {});

/// From one finished run alone, a trace above all: the checks that need no further run. `tokenizer` may be null: then
/// nothing is said about the begin-of-text token. Of the options: expectations, table, control and checks. `rounding`
/// is that of the kept Q and K. InputError where the observation has none.
inline constexpr double f16_rounding = 1.01 / 1024, bf16_rounding = 1.01 / 128;
Diagnosis diagnose_observation(std::shared_ptr<const Observation> observation, const Tokenizer* tokenizer,
                               const DiagnoseOptions& options = {}, double rounding = f16_rounding);

// The checks. Each is pure; diagnose() calls all of them.
std::vector<Finding> check_weights(const Evidence& evidence);  // the pass against Q and K: see diagnosis.md for names
std::vector<Finding> check_finite(const Evidence& evidence);   // LSE of all rows, and predictions
std::vector<Finding> check_file(const Evidence& evidence);     // what the loader says is odd about the file
std::vector<Finding> check_bos(const Evidence& evidence);
std::vector<Finding> check_entropy(const Evidence& evidence);
std::vector<Finding> check_heads(const Evidence& evidence);  // dead, duplicate, and without queries
/// Scale, rotary settings, position offset, map, where a run with another setting predicts as a working model does; and
/// that the model predicts no better than chance, where none does.
std::vector<Finding> check_probes(const Evidence& evidence);
std::vector<Finding> check_cache(const Evidence& evidence);
std::vector<Finding> check_shift(const Evidence& evidence);
// Those that compare two runs, where DiagnoseOptions::control is given.
std::vector<Finding> check_sink_against(const Observation& control, const Observation& run);
/// The first layer that differs, where those before it are the same.
std::vector<Finding> check_layers_against(const Observation& control, const Observation& run);
std::vector<Finding> check_received_against(const Observation& control, const Observation& run,
                                            const std::vector<TokenSpan>& irrelevant = {});

}  // namespace bareattn
