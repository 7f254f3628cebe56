// The checks by name: what each says, how grave it is, and in which order findings stand. See diagnosis.h.
#include <algorithm>

#include "bareattn/diagnosis.h"
#include "bareattn/error.h"
#include "diagnose/gather.h"

namespace bareattn {

const char* severity_name(Severity severity) {
  return severity == Severity::error ? "error" : severity == Severity::warning ? "warning" : "note";
}

// From what is certain to what is likely, and from causes to what they cause: the order of findings of one severity.
const std::vector<CheckInfo>& checks() {
  constexpr Severity error = Severity::error, warning = Severity::warning;
  static const std::vector<CheckInfo> all = {
      {"not-finite", "Not a finite number", "A row's LSE is NaN or infinite.", error},
      {"bos-doubled", "Begin-of-text token doubled", "The text begins with the begin-of-text token twice.", error},
      {"bos-missing", "Begin-of-text token missing", "A begin-of-text token is asked for and there is none.", error},
      {"heads-in-contradiction", "Heads in contradiction", "Heads of one layer are biased to different tokens.", error},
      {"future-leak", "Future leak", "Rows attend to tokens that come after them.", error},
      {"padding-leak", "Padding leak", "Rows attend to padding.", error},
      {"cross-document-leak", "Cross-document leak", "Rows attend to another document of a packed sequence.", error},
      {"wrong-gqa-map", "Wrong key-value head", "Query heads read another group's keys and values.", error},
      {"wrong-window", "Wrong window", "Layers see another window than declared.", error},
      {"sink-lost", "Sink lost", "The first token, where heads rest their weight, is hidden.", error},
      {"keys-unavailable", "Keys unavailable", "Keys that should be seen are hidden or lowered.", error},
      {"peripheral-made-central", "Peripheral made central", "One key gets far more than query and key say.", error},
      {"noise-as-signal", "Noise given the weight of signal", "A span gets far more than queries and keys say.", error},
      {"temperature-drift", "Temperature drift", "Scores shrink or grow with position.", error},
      {"wrong-scale", "Wrong scale", "Scores are not scaled by 1 / sqrt(D).", error},
      {"extra-denominator", "Extra denominator", "A logit that is no token's joins the softmax.", error},
      {"row-sum", "Weights do not sum to one", "LSE does not belong to Q and K, for no known reason.", error},
      {"cache-inconsistent", "Cache inconsistent", "Attention over a cache differs from attention in one run.", error},
      {"rope-shift", "Positions not shift invariant", "Moving all positions changes the weights.", error},
      {"wrong-rope-pairing", "Wrong RoPE pairing", "The model predicts better with the other pairing of dimensions.",
       error},
      {"wrong-rope-base", "Wrong RoPE base", "The model predicts better with another rotary base.", error},
      {"position-offset", "Position offset", "The model predicts better with queries at other positions.", error},
      {"entropy-collapse", "Entropy collapse", "A layer looks at single tokens only.", warning},
      {"entropy-blow-up", "Entropy blow-up", "A layer looks at all tokens alike.", warning},
      {"duplicate-heads", "Duplicate heads", "Two heads of a layer have the same queries.", warning},
      {"dead-head", "Dead head", "A head writes nothing.", warning},
  };
  return all;
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
    return a.severity != b.severity ? a.severity > b.severity : place(a) < place(b);
  });
  return findings;
}

std::vector<Finding> run_checks(const Evidence& evidence, const std::vector<std::string>& wanted) {
  std::vector<Finding> all;
  for (auto* check :
       {check_finite, check_bos, check_weights, check_cache, check_shift, check_heads, check_probes, check_entropy}) {
    for (Finding& finding : check(evidence)) {
      if (finding.remedy.what.empty()) propose(finding, evidence);
      all.push_back(std::move(finding));
    }
  }
  return in_order(std::move(all), wanted);
}

}  // namespace diagnosing
}  // namespace bareattn
