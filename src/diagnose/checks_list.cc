// The checks by name: what each says, how grave it is, and in which order findings stand. See diagnosis.h.
#include <algorithm>
#include <string_view>

#include "bareattn/diagnosis.h"
#include "bareattn/error.h"
#include "diagnose/gather.h"

namespace bareattn {

const char* severity_name(Severity severity) {
  return severity == Severity::error ? "error" : severity == Severity::warning ? "warning" : "note";
}

const char* remedy_place_name(RemedyPlace place) {
  switch (place) {
    case RemedyPlace::steering:
      return "steering";
    case RemedyPlace::file:
      return "file";
    case RemedyPlace::text:
      return "text";
    case RemedyPlace::program:
      break;
  }
  return "program";
}

namespace {

/// A check by name, and whether evidence can answer it.
struct Check {
  CheckInfo info;
  bool (*can)(const Evidence&, std::string_view id);
};

bool always(const Evidence&, std::string_view) { return true; }
bool ran(const Evidence& e, std::string_view) { return e.ran; }
bool shifted(const Evidence& e, std::string_view) { return !e.shift_difference.empty(); }
bool probed(const Evidence& e, std::string_view id) {
  return std::any_of(e.probes.begin(), e.probes.end(), [&](const ProbeResult& p) { return p.check == id; });
}
bool knows_bos(const Evidence& e, std::string_view) { return e.bos >= 0; }
bool has_entropy(const Evidence& e, std::string_view) { return e.observation->measured().rows; }
bool has_groups(const Evidence& e, std::string_view) { return e.observation->model().config().kv_heads > 1; }
bool has_documents(const Evidence& e, std::string_view) { return !e.expectations.document.empty(); }

// From what is certain to what is likely, and from causes to what they cause: the order of findings of one severity.
const std::vector<Check>& all_checks() {
  constexpr Severity error = Severity::error, warning = Severity::warning;
  static const std::vector<Check> all = {
      {{"not-finite", "Not a finite number", "LSE or logits of a row are NaN or infinite.", error}, always},
      {{"bos-doubled", "Begin-of-text token doubled", "The text begins with the begin-of-text token twice.", error},
       knows_bos},
      {{"bos-missing", "Begin-of-text token missing", "A begin-of-text token is asked for and there is none.", error},
       knows_bos},
      {{"heads-in-contradiction", "Heads in contradiction", "Heads of one layer are biased to different tokens.",
        error},
       always},
      {{"future-leak", "Future leak", "Rows attend to tokens that come after them.", error}, always},
      {{"padding-leak", "Padding leak", "Rows attend to padding.", error}, has_documents},
      {{"cross-document-leak", "Cross-document leak", "Rows attend to another document of a packed sequence.", error},
       has_documents},
      {{"wrong-gqa-map", "Wrong key-value head", "Query heads read another group's keys and values.", error},
       has_groups},
      {{"wrong-window", "Wrong window", "Layers see another window than declared.", error}, always},
      {{"sink-lost", "Sink lost", "The first token, where heads rest their weight, is hidden.", error}, always},
      {{"keys-evicted", "Keys evicted", "Keys are hidden from some row on.", error}, always},
      {{"keys-unavailable", "Keys unavailable", "Keys that should be seen are hidden or lowered.", error}, always},
      {{"peripheral-made-central", "Peripheral made central", "One key gets far more than query and key say.", error},
       always},
      {{"noise-as-signal", "Noise given the weight of signal", "A span gets far more than queries and keys say.",
        error},
       always},
      {{"temperature-drift", "Temperature drift", "Scores shrink or grow with position.", error}, always},
      {{"wrong-scale", "Wrong scale", "Scores are not scaled by 1 / sqrt(D).", error}, always},
      {{"wrong-softcap", "Wrong soft cap", "Scores are capped where none should be.", error}, always},
      {{"extra-denominator", "Extra denominator", "A logit that is no token's joins the softmax.", error}, always},
      {{"row-sum", "Weights do not sum to one", "LSE does not belong to Q and K, for no known reason.", error}, always},
      {{"cache-inconsistent", "Cache inconsistent", "Attention over a cache differs from attention in one run.", error},
       ran},
      {{"rope-shift", "Positions not shift invariant", "Moving all positions changes the weights.", error}, shifted},
      {{"wrong-rope-pairing", "Wrong RoPE pairing", "The model predicts better with another pairing of dimensions.",
        error},
       probed},
      {{"wrong-rope-dim", "Wrong RoPE dimension", "The model predicts better with more or fewer rotary dimensions.",
        error},
       probed},
      {{"wrong-rope-base", "Wrong RoPE base", "The model predicts better with another rotary base.", error}, probed},
      {{"wrong-rope-scaling", "Wrong RoPE scaling", "The model predicts better with its positions multiplied.", error},
       probed},
      {{"position-offset", "Position offset", "The model predicts better with queries at other positions.", error},
       probed},
      {{"no-prediction", "Predicts no better than chance", "The model predicts hardly anything, with any setting.",
        error},
       [](const Evidence& e, std::string_view) { return e.plain_nll > 0; }},
      {{"first-difference", "First layer that differs", "The run is its control up to some layer.", warning},
       [](const Evidence& e, std::string_view) { return e.against; }},
      {{"odd-file", "Odd model file", "The loader says that something is odd about the file.", warning}, always},
      {{"entropy-collapse", "Entropy collapse", "A layer looks at single tokens only.", warning}, has_entropy},
      {{"entropy-blow-up", "Entropy blow-up", "A layer looks at all tokens alike.", warning}, has_entropy},
      {{"duplicate-heads", "Duplicate heads", "Two heads of a layer have the same queries.", warning}, always},
      {{"dead-head", "Dead head", "A head writes nothing.", warning},
       [](const Evidence& e, std::string_view) { return !e.blend_size.empty(); }},
  };
  return all;
}

}  // namespace

const std::vector<CheckInfo>& checks() {
  static const std::vector<CheckInfo> all = [] {
    std::vector<CheckInfo> infos;
    for (const Check& check : all_checks()) infos.push_back(check.info);
    return infos;
  }();
  return all;
}

std::vector<std::string> checks_asked(const Evidence& evidence, const std::vector<std::string>& wanted) {
  std::vector<std::string> asked;
  for (const Check& check : all_checks())
    if ((wanted.empty() || std::find(wanted.begin(), wanted.end(), check.info.id) != wanted.end()) &&
        check.can(evidence, check.info.id))
      asked.emplace_back(check.info.id);
  return asked;
}

namespace diagnosing {

void check_names(const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted) {
    if (std::any_of(checks().begin(), checks().end(), [&](const CheckInfo& check) { return name == check.id; }))
      continue;
    std::string names;
    for (const CheckInfo& check : checks()) names += (names.empty() ? "" : ", ") + std::string(check.id);
    throw InputError("there is no check '" + name + "'; there are " + names);
  }
}

std::vector<Finding> in_order(std::vector<Finding> findings, const std::vector<std::string>& wanted) {
  const auto place = [](const Finding& finding) {
    return std::find_if(checks().begin(), checks().end(), [&](const CheckInfo& c) { return finding.check == c.id; }) -
           checks().begin();
  };
  std::erase_if(findings, [&](const Finding& finding) {
    return !wanted.empty() && std::find(wanted.begin(), wanted.end(), finding.check) == wanted.end();
  });
  for (Finding& finding : findings) finding.severity = checks()[static_cast<size_t>(place(finding))].severity;
  std::stable_sort(findings.begin(), findings.end(), [&](const Finding& a, const Finding& b) {
    if (a.severity != b.severity) return a.severity > b.severity;
    return a.leads != b.leads ? a.leads : place(a) < place(b);
  });
  return findings;
}

Finding make_finding(const char* check, double value, double limit, std::string sentence, std::string advice) {
  Finding f;
  f.check = check;
  f.value = value;
  f.limit = limit;
  f.sentence = std::move(sentence);
  f.advice = std::move(advice);
  return f;
}

std::string counted(size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::vector<Finding> run_checks(const Evidence& evidence, const std::vector<std::string>& wanted) {
  std::vector<Finding> all;
  for (auto* check : {check_finite, check_file, check_bos, check_weights, check_cache, check_shift, check_heads,
                      check_probes, check_entropy}) {
    for (Finding& finding : check(evidence)) {
      if (finding.remedy.what.empty()) propose(finding, evidence);
      all.push_back(std::move(finding));
    }
  }
  return in_order(std::move(all), wanted);
}

}  // namespace diagnosing
}  // namespace bareattn
