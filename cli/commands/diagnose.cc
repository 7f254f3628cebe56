// `bareattn diagnose`: what is wrong with how a model attends, over a text or from a trace; `bareattn break`: the same
// on a run that was broken on purpose, with the fault named, and what undoing it brings back. Sentences for people,
// --json, or SARIF (diagnosis_report.h).
#include <fmt/format.h>
#include <unistd.h>

#include "bareattn/diagnosis.h"
#include "bareattn/error.h"
#include "bareattn/faults.h"
#include "bareattn/files.h"
#include "bareattn/trace.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/warn.h"
#include "options/input.h"
#include "reports/broken_pages.h"
#include "reports/diagnosis_report.h"

namespace bareattn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct DiagnoseChoice {
  ModelChoice model;
  InputChoice input;
  TokenChoice encoding;
  std::vector<std::string> faults, checks;
  std::string fail_on = "never", sarif, save, trace, pages, against;
  std::vector<std::string> irrelevant;
  uint64_t seed = 1;
  int64_t window = -1, most_tokens = 0;
  bool json = false, fast = false, list = false, restore = false, special = false;
  const CLI::App* command = nullptr;
};

DiagnoseOptions options_of(const DiagnoseChoice& choice, DiagnoseOptions options = {}) {
  options.threads = choice.model.threads;
  options.probes = !choice.fast;
  options.checks = choice.checks;
  return options;
}

Diagnosis run_one(const DiagnoseChoice& choice, const std::shared_ptr<const Model>& model, std::vector<int32_t> tokens,
                  DiagnoseOptions options) {
  ProgressBar bar("Diagnosing", "runs");
  return diagnose(model, std::move(tokens), options_of(choice, std::move(options)), bar.callback());
}

int status_of(const DiagnoseChoice& choice, const Diagnosis& diagnosis) {
  if (choice.fail_on == "never") return exit_ok;
  for (const Finding& f : diagnosis.findings)
    if (f.severity == Severity::error || choice.fail_on == severity_name(f.severity)) return exit_failure;
  return exit_ok;
}

std::vector<int32_t> tokens_of(const DiagnoseChoice& choice, const Model& model) {
  const std::string text = choice.input.read().text;
  const bool begin = choice.encoding.bos || (!choice.encoding.no_bos && model.tokenizer().spec().add_bos);
  auto tokens = choice.special && !choice.encoding.chat ? model.tokenizer().encode(text, true, begin)
                                                        : choice.encoding.encode(model.tokenizer(), text);
  if (choice.most_tokens > 0 && static_cast<int64_t>(tokens.size()) > choice.most_tokens)
    tokens.resize(static_cast<size_t>(choice.most_tokens));
  return tokens;
}

bool names_a_trace(const std::string& argument) { return argument.size() > 12 && argument.ends_with(".safetensors"); }

// The model is needed for the begin-of-text token only, and must be the trace's own.
Diagnosis of_trace(const DiagnoseChoice& choice) {
  if (choice.most_tokens > 0) throw InputError("--first is for texts; a trace is diagnosed whole");
  refuse_with_trace(*choice.command,
                    {"--text", "--file", "--precision", "--attention", "--chat", "--bos", "--no-bos", "--special"});
  const auto trace = Trace::open(choice.input.argument);
  std::shared_ptr<const Model> model;
  if (choice.model.made(*trace, "the begin-of-text token is not known")) model = choice.model.load();
  DiagnoseOptions options = options_of(choice);
  const Reach& reach = trace->run().reach;
  options.expectations.window = choice.window >= 0 ? choice.window : reach.window;
  options.expectations.sinks = reach.sinks;
  const double rounding = trace->store() == Store::bf16 ? bf16_rounding + f16_rounding : f16_rounding;
  const Tokenizer* tokenizer = model != nullptr ? &model->tokenizer() : nullptr;
  if (!choice.against.empty()) options.control = Trace::open(choice.against);
  for (const std::string& name : choice.irrelevant) {
    const size_t before = options.expectations.irrelevant.size();
    for (const NamedSpan& span : trace->spans())
      if (span.name == name) options.expectations.irrelevant.push_back({span.begin, span.end});
    if (options.expectations.irrelevant.size() == before)
      throw InputError("the trace has no span '" + name + "'; bareattn trace --span names them");
  }
  return diagnose_observation(trace, tokenizer, options, rounding);
}

Diagnosis of_text(const DiagnoseChoice& choice) {
  const auto model = choice.model.load();
  DiagnoseOptions options;
  options.expectations.window = choice.window;
  return run_one(choice, model, tokens_of(choice, *model), options);
}

// All interventions that the findings propose, as one steering file; where there are none, no file, and that is said.
void save_remedies(const std::string& path, const Diagnosis& diagnosis) {
  std::vector<Intervention> all;
  for (const Finding& f : diagnosis.findings)
    all.insert(all.end(), f.remedy.interventions.begin(), f.remedy.interventions.end());
  if (all.empty()) {
    fmt::print(stderr, "bareattn: warning: {} was not written: {}\n", printable(path),
               diagnosis.findings.empty() ? "nothing was found" : "steering undoes nothing of what was found");
    return;
  }
  write_file(path, steering_to_json(all));
}

/// InputError where this would replace what the command reads.
void check_output(const DiagnoseChoice& choice, const std::string& path) {
  for (const std::string& in : {choice.input.path(), choice.model.path, choice.against}) refuse_same_file(path, in);
}

int diagnose_text(const DiagnoseChoice& choice) {
  for (const std::string& path : {choice.sarif, choice.save}) {
    if (path.empty()) continue;
    check_writable(path);
    check_output(choice, path);
  }
  refuse_same_file(choice.sarif, choice.save);
  const bool from_trace = names_a_trace(choice.input.argument);
  if (!choice.against.empty() && !from_trace)
    throw InputError("--against compares two traces: give RUN.safetensors in place of a text");
  const Diagnosis diagnosis = from_trace ? of_trace(choice) : of_text(choice);
  if (!choice.sarif.empty())
    write_file(choice.sarif, sarif(diagnosis, from_trace ? choice.input.argument : choice.model.path));
  if (!choice.save.empty()) save_remedies(choice.save, diagnosis);
  if (choice.json) {
    fmt::print("{}", text_of({{"format", "bareattn-diagnosis"},
                              {"version", 1},
                              {"findings", findings_json(diagnosis)},
                              {"evidence", evidence_json(diagnosis.evidence)}}));
  } else {
    print_findings(terminal_of(STDOUT_FILENO), diagnosis, choice.checks);
  }
  return status_of(choice, diagnosis);
}

Json figures_json(const RunFigures& f) { return {{"perplexity", f.perplexity}, {"moved", f.moved}}; }

struct Restored {
  Restoration figures;
  Diagnosis after;
};

Restored restore_one(const DiagnoseChoice& choice, const std::shared_ptr<const Model>& model, const BrokenRun& broken,
                     const Remedy& remedy) {
  const BrokenRun restored = restore(broken, remedy, model->config());
  Restored result;
  result.figures = measure_restoration(model, broken, restored, choice.model.threads);
  result.after = run_one(choice, model, restored.tokens, restored.options);
  return result;
}

void print_restored(const Terminal& terminal, const Remedy& remedy, const Restored& r) {
  const Restoration& f = r.figures;
  fmt::print("\n{}\n  {}\n", bold(terminal, "Restored"),
             wrapped(printable(remedy.what + ": perplexity " +
                               fmt::format("{:.2f} as it was meant, {:.2f} broken, {:.2f} "
                                           "restored; {:.1f} % of all weight had moved, {:.1f} % still is elsewhere. ",
                                           f.meant.perplexity, f.broken.perplexity, f.restored.perplexity,
                                           100 * f.broken.moved, 100 * f.restored.moved) +
                               (r.after.findings.empty() ? "Nothing is found any more."
                                                         : "Still found: " + r.after.findings[0].check + ".")),
                     terminal.width, 2, 2));
}

void list_faults() {
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  for (const FaultInfo& fault : faults())
    fmt::print("{}  found by {}\n  {}\n", bold(terminal, fault.name), fault.check,
               wrapped(fault.stands_for, terminal.width, 2, 2));
}

void trace_broken(const DiagnoseChoice& choice, const std::shared_ptr<const Model>& model, const BrokenRun& broken) {
  TraceOptions options;
  options.title = "Broken on purpose: " + broken.what;
  TraceWriter writer(choice.trace, *model, broken.tokens, options);
  SessionOptions session_options;
  session_options.threads = choice.model.threads;
  session_options.max_tokens = static_cast<int64_t>(broken.tokens.size());
  session_options.variant = broken.options.variant;
  Session session(model, session_options);
  ProgressBar bar("Tracing", "tokens");
  session.run(broken.tokens, Logits::none, &writer, bar.callback());
  stop_if_interrupted();
  writer.commit({});
  say_written();
}

void write_pages(const DiagnoseChoice& choice, const std::shared_ptr<const Model>& model, const std::string& fault,
                 const BrokenRun& broken, const Diagnosis& diagnosis) {
  BrokenPages pages{choice.pages, fault.substr(0, fault.find(':')), {}, choice.model.threads};
  std::optional<BrokenRun> restored;
  if (!diagnosis.findings.empty()) {
    const Finding& first = diagnosis.findings[0];
    pages.heads = first.heads;
    if (choice.restore && !first.remedy.what.empty()) restored = restore(broken, first.remedy, model->config());
  }
  write_broken_pages(pages, model, broken, restored ? &*restored : nullptr);
}

int break_text(const DiagnoseChoice& choice) {
  if (choice.list) return list_faults(), exit_ok;
  std::vector<std::string> names = choice.faults;
  if (names.empty()) throw InputError("no fault: give --fault NAME, or --list to see them");
  const bool all = names.size() == 1 && names[0] == "all";
  if (all) {
    names.clear();
    for (const FaultInfo& fault : faults()) names.push_back(fault.name);
  }
  if (!choice.trace.empty()) {
    if (names.size() != 1) throw InputError("--trace writes one broken run: give one --fault");
    check_writable(choice.trace);
    check_output(choice, choice.trace);
  }
  if (!choice.pages.empty()) check_writable(choice.pages + "/page.html");
  for (const std::string& name : choice.pages.empty() ? std::vector<std::string>() : names) {
    for (const char* state : {"broken", "restored"}) {
      const std::string page = page_path(choice.pages, name.substr(0, name.find(':')), state);
      check_output(choice, page);
      refuse_same_file(page, choice.trace);
    }
  }
  const auto model = choice.model.load();
  for (const FaultInfo& fault : all ? faults() : std::vector<FaultInfo>()) {
    const std::string why = why_no_fault(fault, *model);
    if (why.empty()) continue;
    warn(fmt::format("'{}' is left out: {}", fault.name, why));
    std::erase(names, fault.name);
  }
  const auto tokens = tokens_of(choice, *model);
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  Json runs = Json::array();
  int status = exit_ok;
  for (const std::string& name : names) {
    BrokenRun broken = break_run(name, choice.seed, *model, tokens);
    if (broken.needs_control) add_control(broken, model, choice.model.threads);
    if (!choice.pages.empty()) check_pages(name, broken);
    if (!choice.trace.empty()) trace_broken(choice, model, broken);
    const Diagnosis diagnosis = run_one(choice, model, broken.tokens, broken.options);
    status = std::max(status, status_of(choice, diagnosis));
    const bool can = choice.restore && !diagnosis.findings.empty() && !diagnosis.findings[0].remedy.what.empty();
    std::optional<Restored> restored;
    if (can) restored = restore_one(choice, model, broken, diagnosis.findings[0].remedy);
    if (!choice.pages.empty()) write_pages(choice, model, name, broken, diagnosis);
    if (!choice.json) {
      fmt::print("Broken on purpose: {}: {}\n", name, broken.what);
      print_findings(terminal, diagnosis, choice.checks);
      if (restored) print_restored(terminal, diagnosis.findings[0].remedy, *restored);
      if (names.size() > 1) fmt::print("\n");
      continue;
    }
    std::string expected;
    for (const FaultInfo& fault : faults())
      if (name.substr(0, name.find(':')) == fault.name) expected = fault.check;
    Json run = {{"fault", name},
                {"seed", choice.seed},
                {"what", broken.what},
                {"expected", expected},
                {"findings", findings_json(diagnosis)},
                {"evidence", evidence_json(diagnosis.evidence)}};
    if (restored)
      run["restored"] = {{"meant", figures_json(restored->figures.meant)},
                         {"broken", figures_json(restored->figures.broken)},
                         {"restored", figures_json(restored->figures.restored)},
                         {"findings", findings_json(restored->after)}};
    runs.push_back(std::move(run));
  }
  if (choice.json) fmt::print("{}", text_of({{"format", "bareattn-faults"}, {"version", 1}, {"runs", runs}}));
  return status;
}

void declare(CLI::App& command, const std::shared_ptr<DiagnoseChoice>& choice, const std::string& what) {
  choice->command = &command;
  choice->input.declare(command, "TEXT", what);
  choice->model.declare(command);
  choice->encoding.declare_chat(command, "the text");
  choice->encoding.declare_bos(command);
  command.add_flag("--special", choice->special, "recognise control tokens such as <|im_start|> in the text");
  command.add_option("--first", choice->most_tokens, "only the first N tokens of the text")
      ->type_name("N")
      ->check(within<int64_t>(48, 1024));
  command.add_option("--checks", choice->checks, "only these checks, A,B,... (all of them are listed below)")
      ->type_name("NAMES")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_flag("--fast", choice->fast, "no probes: only what the passes say about themselves");
  command.add_flag("--json", choice->json, "findings and evidence as JSON");
  command.add_option("--fail-on", choice->fail_on, "exit with 1 on findings of this severity: warning, error or never")
      ->type_name("WHAT")
      ->check(CLI::IsMember({"never", "warning", "error"}).description(""))
      ->capture_default_str();
}

std::string checks_help() {
  std::string help = "Checks (errors, and warnings where said):";
  for (const CheckInfo& check : checks())
    help +=
        fmt::format("\n  {:<24} {}{}", check.id, check.title, check.severity == Severity::warning ? " (warning)" : "");
  return help;
}

}  // namespace

void add_diagnose(CLI::App& app, Action& action) {
  auto choice = std::make_shared<DiagnoseChoice>();
  CLI::App* command = app.add_subcommand("diagnose", "find out what is wrong with how a model attends");
  declare(*command, choice, "the text, 48 to 1024 tokens, or RUN.safetensors, a trace");
  command->add_option("--sarif", choice->sarif, "also write the findings to FILE as SARIF 2.1.0")->type_name("FILE");
  command->add_option("--save", choice->save, "write what undoes the findings to FILE, for bareattn steer --table")
      ->type_name("FILE");
  CLI::Option* against =
      command->add_option("--against", choice->against, "a trace of the same text to hold RUN.safetensors against")
          ->type_name("CONTROL");
  command
      ->add_option("--irrelevant", choice->irrelevant, "spans of the trace that should get no more weight than there")
      ->type_name("NAMES")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->needs(against);
  command->add_option("--window", choice->window, "rows are meant to see N tokens before their own")
      ->type_name("N")
      ->check(within<int64_t>(0, 1 << 20));
  command->footer(checks_help() +
                  "\n\nExamples:\n"
                  "  bareattn diagnose -m MODEL.gguf --first 128 story.txt --fail-on error\n"
                  "  bareattn diagnose RUN.safetensors --sarif findings.sarif\n"
                  "  bareattn diagnose QUANTISED.safetensors --against FULL.safetensors\n"
                  "What each check does and how often it is right: docs/diagnosis.md.");
  command->callback([choice, &action] { action = [choice] { return diagnose_text(*choice); }; });
}

void add_break(CLI::App& app, Action& action) {
  auto choice = std::make_shared<DiagnoseChoice>();
  CLI::App* command = app.add_subcommand("break", "inject a known fault, and diagnose the broken run");
  declare(*command, choice, "the text, 48 to 1024 tokens");
  command->add_option("--fault", choice->faults, "the fault, NAME or NAME:NUMBER; all for all of them")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command->add_option("--seed", choice->seed, "chooses layers, heads, tokens and sizes")
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--list", choice->list, "the faults, what should find them, and the bug each stands for");
  command->add_flag("--restore", choice->restore, "undo what is found first, and measure what that brings back");
  command->add_option("--pages", choice->pages, "write the pages of the broken and the restored run into FOLDER")
      ->type_name("FOLDER");
  command->add_option("--trace", choice->trace, "write the broken run to RUN, for bareattn diagnose RUN")
      ->type_name("RUN");
  command->footer(checks_help() +
                  "\n\nExamples:\n"
                  "  bareattn break -m MODEL.gguf --fault rope-pairing --first 128 story.txt\n"
                  "  bareattn break -m MODEL.gguf --fault peripheral:50 --seed 3 --restore story.txt\n"
                  "The faults and the bugs they stand for: docs/faults.md.");
  command->callback([choice, &action] { action = [choice] { return break_text(*choice); }; });
}

}  // namespace bareattn::cli
