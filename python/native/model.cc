// Models in Python: text to tokens and back, generation; and diagnosis of runs. Observed runs are runs.cc.
// Interventions come and go as the text of a steering file (docs/steering.md): _model.py and _steering.py make it. The
// GIL is released while the model runs.
#include "bareattn/model.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bareattn/diagnosis.h"
#include "bareattn/end_tokens.h"
#include "bareattn/error.h"
#include "bareattn/steering.h"
#include "bind.h"
#include "values.h"

namespace bareattn::python {

std::shared_ptr<const ScoreTable> table_of(const std::string& steering, const Model& model, size_t tokens) {
  if (steering.empty()) return nullptr;
  return std::make_shared<const ScoreTable>(
      make_table(steering_from_json(steering), model.config(), static_cast<int64_t>(tokens)));
}

namespace {

namespace nb = nanobind;
using namespace nanobind::literals;  // NOLINT: "name"_a
using SharedModel = std::shared_ptr<Model>;

Precision precision_of(const char* what, const std::string& name) {
  if (name != "f32" && name != "bf16")
    throw std::invalid_argument(std::string(what) + " '" + name + "': f32 or bf16 is needed");
  return name == "bf16" ? Precision::bf16 : Precision::f32;
}

SharedModel load(const std::string& path, const std::string& precision, const std::string& attention, int threads) {
  LoadOptions options;
  options.precision = precision_of("precision", precision);
  options.attention = precision_of("attention", attention);
  options.threads = threads;
  const Released free;
  return std::const_pointer_cast<Model>(Model::load(path, options));
}

std::vector<int32_t> encode(const Model& model, const std::string& text, bool chat, std::optional<bool> bos) {
  const Tokenizer& tokenizer = model.tokenizer();
  const bool begin = bos.value_or(tokenizer.spec().add_bos);
  if (!chat) return tokenizer.encode(text, false, begin);
  const ChatMessage message{"user", text};
  return tokenizer.encode(tokenizer.apply_chat_template({&message, 1}, true), true, begin);
}

std::vector<int32_t> continued(const SharedModel& model, const std::vector<int32_t>& tokens, int count,
                               const std::string& steering, nb::dict sampling) {
  SamplingOptions how;
  how.temperature = nb::cast<float>(sampling["temperature"]);
  how.top_k = nb::cast<int>(sampling["top_k"]);
  how.top_p = nb::cast<float>(sampling["top_p"]);
  how.seed = nb::cast<uint64_t>(sampling["seed"]);
  SessionOptions options;
  options.threads = nb::cast<int>(sampling["threads"]);
  const Released free;
  const size_t room = tokens.size() + static_cast<size_t>(count);
  if (tokens.empty()) throw InputError("the prompt is empty");
  if (static_cast<int64_t>(room) > model->config().context_length)
    throw InputError("the prompt's " + std::to_string(tokens.size()) + " tokens and " + std::to_string(count) +
                     " to generate are more than this model's context of " +
                     std::to_string(model->config().context_length));
  options.max_tokens = static_cast<int64_t>(room);
  options.table = table_of(steering, *model, room);
  Session session(model, options);
  const auto logits = session.run(tokens, Logits::last, nullptr, interruptible());
  bool stopped = false;
  auto made = generate(session, {logits.data, {model->config().vocab_size}}, count, how, [&](int32_t) {
    stopped = !interruptible()(0, 0);
    return !stopped;
  });
  if (stopped) throw Cancelled();
  return made;
}

nb::dict finding_of(const Finding& f) {
  const auto name = [](HeadId head) { return nb::make_tuple(head.layer, head.head); };
  const auto known = [](int64_t token) { return token < 0 ? nb::object(nb::none()) : nb::object(nb::int_(token)); };
  nb::dict d;
  nb::list heads;
  for (const HeadId head : f.heads) heads.append(name(head));
  d["check"] = f.check;
  d["severity"] = severity_name(f.severity);
  d["head"] = f.head.layer < 0 ? nb::object(nb::none()) : nb::object(name(f.head));
  d["heads"] = heads;
  d["token"] = known(f.token);
  d["last"] = known(f.last);
  d["value"] = f.value;
  d["limit"] = f.limit;
  d["sentence"] = f.sentence;
  d["advice"] = f.advice;
  d["undone_by"] = f.remedy.what;
  d["mend"] = f.remedy.mend;
  d["steering"] = steering_to_json(f.remedy.interventions);
  return d;
}

nb::list findings_of(const Diagnosis& diagnosis) {
  nb::list all;
  for (const Finding& f : diagnosis.findings) all.append(finding_of(f));
  return all;
}

/// What _diagnosis.py has made of its arguments.
DiagnoseOptions options_of(nb::dict how) {
  DiagnoseOptions options;
  options.expectations.window = nb::cast<int64_t>(how["window"]);
  options.expectations.sinks = nb::cast<int64_t>(how["sinks"]);
  options.expectations.document = nb::cast<std::vector<int32_t>>(how["document"]);
  for (const auto& [begin, end] : nb::cast<std::vector<std::pair<int64_t, int64_t>>>(how["irrelevant"]))
    options.expectations.irrelevant.push_back({begin, end});
  options.checks = nb::cast<std::vector<std::string>>(how["checks"]);
  options.probes = nb::cast<bool>(how["probes"]);
  options.threads = nb::cast<int>(how["threads"]);
  return options;
}

nb::list diagnose_text(const SharedModel& model, std::vector<int32_t> tokens, const std::string& steering,
                       const std::shared_ptr<Observation>& control, nb::dict how) {
  DiagnoseOptions options = options_of(how);
  options.control = control;
  Diagnosis diagnosis;
  {
    const Released free;
    options.table = table_of(steering, *model, tokens.size());
    diagnosis = diagnose(model, std::move(tokens), options, interruptible());
  }
  return findings_of(diagnosis);
}

nb::list diagnose_run(const std::shared_ptr<Observation>& seen, const SharedModel& model, const std::string& steering,
                      const std::shared_ptr<Observation>& control, nb::dict how) {
  DiagnoseOptions options = options_of(how);
  options.control = control;
  const auto rounding = nb::cast<bool>(how["bf16"]) ? bf16_rounding + f16_rounding : f16_rounding;
  Diagnosis diagnosis;
  {
    const Released free;
    options.table = table_of(steering, seen->model(), seen->tokens().size());
    diagnosis = diagnose_observation(seen, model == nullptr ? nullptr : &model->tokenizer(), options, rounding);
  }
  return findings_of(diagnosis);
}

}  // namespace

void bind_model(nb::module_& module) {
  nb::class_<Model>(module, "Model")
      .def("facts", [](const Model& model) { return model_facts(model); })
      .def("encode", &encode, "text"_a, "chat"_a, "bos"_a.none())
      .def("piece",
           [](const Model& model, int32_t id) {
             const auto piece = model.tokenizer().piece(id);
             return nb::bytes(piece.data(), piece.size());
           })
      .def("decode",
           [](const Model& model, const std::vector<int32_t>& ids) {
             const std::string text = model.tokenizer().decode(ids);
             return nb::bytes(text.data(), text.size());
           })
      .def("ends_generation", [](const Model& model, int32_t id) { return ends_generation(model, id); })
      .def("generate", &continued)
      .def("mean_ablation", [](const SharedModel& model, const std::vector<int32_t>& tokens,
                               std::vector<std::string> heads, int threads) {
        const Released free;
        return steering_to_json({mean_ablation(model, tokens, std::move(heads), threads, interruptible())});
      });
  module.def("load_model", &load, "path"_a, "precision"_a, "attention"_a, "threads"_a);
  module.def("diagnose_text", &diagnose_text, "model"_a, "tokens"_a, "steering"_a, "control"_a.none(), "how"_a);
  module.def("diagnose_run", &diagnose_run, "run"_a, "model"_a.none(), "steering"_a, "control"_a.none(), "how"_a);
  module.def("check_steering", [](const std::string& json) { return steering_to_json(steering_from_json(json)); });
  module.def("adaptive_temperature",
             [](const Observation& run) { return steering_to_json(adaptive_temperature(run)); });
  module.def("calibrate", [](const Observation& control, const std::vector<std::pair<int64_t, int64_t>>& spans,
                             const std::vector<std::string>& heads) {
    std::vector<TokenSpan> all;
    for (const auto& [begin, end] : spans) all.push_back({begin, end});
    return steering_to_json(calibrate(control, all, heads));
  });
}

}  // namespace bareattn::python
