// The runs behind a diagnosis: everything that checks look at is measured here, nothing is judged. See diagnose.cc.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "bareattn/architecture.h"
#include "bareattn/diagnosis.h"

namespace bareattn::diagnosing {

std::vector<float> widened(const std::vector<uint16_t>& half);

/// Rows per head that are looked at.
inline constexpr int sampled_rows = 8;

/// `rounding`: of a product of Q and K, relative.
std::vector<HeadEvidence> sample_rows(const Observation& observation, const Expectations& expectations,
                                      const ScoreTable* table, double rounding);

struct Scored {
  double nll = 0;                  // nats per token
  std::vector<double> surprise;    // [N - 1], nats
  std::vector<double> blend_size;  // [L Hq]
};
/// `to_beat`: a run that is clearly worse than that over its first third stops there; its nll is then that of to_beat
/// and the difference so far.
Scored score(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens, const DiagnoseOptions& how,
             const Scored* to_beat = nullptr);
/// Of the mean of a - b, over as many as both have.
double standard_error(const std::vector<double>& a, const std::vector<double>& b);

/// Nats per token over the last `common` tokens, the first half of them all in one call and the rest in a second.
double score_in_two(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                    const DiagnoseOptions& how, size_t common);

/// LSE of every layer, head and row, [L, Hq, N]: of the run that was observed,
std::vector<float> observed_lse(const Observation& observation);
/// ... of another, in pieces of 1, then the rest, where `pieces`.
std::vector<float> all_lse(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                           const DiagnoseOptions& how, bool pieces);
double largest_difference(std::span<const float> a, std::span<const float> b);
/// The same of each layer.
std::vector<double> differences(const std::vector<float>& a, const std::vector<float>& b, int layers);

// Probes: probes.cc.
struct Probe {
  std::string check, label, mend;
  Variant variant;
  double number = 0;  // of a scale, a base, a factor: what refined() refines; 0: nothing to refine
};
/// What might be otherwise, on top of the run under test.
std::vector<Probe> probes(const Architecture& config, const Variant& base);
/// Whether any layer rotates queries and keys: without one, nothing can be asked of rotary positions.
bool rotates(const Architecture& architecture);
/// The same with its number times `factor`.
Probe refined(const Probe& probe, const ModelConfig& config, const Variant& base, double factor);
/// Why better predictions of this text would say nothing, as a sentence; empty where they would.
std::string why_not_probed(const Evidence& evidence);
/// Runs all probes, the best one refined, into evidence.probes; step() before each.
struct ProbeRun {
  const std::shared_ptr<const Model>& model;
  std::span<const int32_t> tokens;
  const DiagnoseOptions& options;
  const Scored &as_it_is, &plain;  // of the text, and of the plain one
  std::function<void()> step;
};
void run_probes(const std::vector<Probe>& all, const ProbeRun& run, Evidence& evidence);
/// Of a plain English text of our own.
Scored score_plain(const std::shared_ptr<const Model>& model, const DiagnoseOptions& how);

Finding make_finding(const char* check, double value, double limit, std::string sentence, std::string advice);
/// "1 head", "12 heads".
std::string counted(size_t count, const std::string& what);

/// InputError for a name that is no check's.
void check_names(const std::vector<std::string>& wanted);
/// All checks over the evidence, with remedies, as in_order().
std::vector<Finding> run_checks(const Evidence& evidence, const std::vector<std::string>& wanted);
/// Those wanted (none named: all), graded, gravest first.
std::vector<Finding> in_order(std::vector<Finding> findings, const std::vector<std::string>& wanted);
/// What options.control says about the run, added to what it says alone: against.cc. InputError where they cannot be
/// compared; the first of them tells so before anything is run.
void check_control(const Observation& control, const std::vector<int32_t>& tokens, const ModelConfig& of_run);
void hold_against(const Observation& control, Diagnosis& diagnosis, const DiagnoseOptions& options);
/// Fills in finding.remedy: remedy.cc.
void propose(Finding& finding, const Evidence& evidence);

}  // namespace bareattn::diagnosing
