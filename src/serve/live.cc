// See live.h.
#include "serve/live.h"

#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "base/temporary_folder.h"

namespace bareattn::serving {
namespace {

using nlohmann::json;

}  // namespace

Live::Live(const ServeOptions& options, Install install) : options_(options), install_(std::move(install)) {}

Live::~Live() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

Answer Live::start(const Request& request) {
  if (!options_.model) return error_answer(404, "no model was given to bareattn serve: there is no live mode");
  if (request.header("content-type") != "application/json")
    return error_answer(415, "Content-Type: application/json is needed");
  const json body = json::parse(request.body, nullptr, false);
  if (!body.is_object() || !body.contains("text") || !body["text"].is_string())
    return error_answer(400, "the body is a JSON object with a string 'text'");
  if (body.contains("page") && !body["page"].is_string()) return error_answer(400, "'page' is a string");
  std::string text = body["text"].get<std::string>();
  if (text.empty()) return error_answer(400, "the text is empty");
  const std::lock_guard lock(mutex_);
  if (running_) return error_answer(409, "a text is running; cancel it first");
  if (thread_.joinable()) thread_.join();
  page_ = body.value("page", "");
  phase_ = "running";
  error_ = shown_ = "";
  done_ = total_ = 0;
  stop_ = false;
  running_ = true;
  thread_ = std::thread([this, text = std::move(text)] { run(text); });
  return json_answer(202, R"({"state":"running"})");
}

Answer Live::state() const {
  const std::lock_guard lock(mutex_);
  json state = {{"state", phase_}, {"done", done_.load()}, {"total", total_.load()}};
  if (!error_.empty()) state["error"] = error_;
  if (!shown_.empty()) state["run"] = shown_;
  return json_answer(200, state.dump(-1, ' ', true, json::error_handler_t::replace));
}

Answer Live::cancel() {
  stop_ = true;
  return state();
}

void Live::left(const std::string& page) {
  const std::lock_guard lock(mutex_);
  if (running_ && !page.empty() && page == page_) stop_ = true;
}

bool Live::progress(int64_t done, int64_t total) {
  done_ = done;
  total_ = total;
  return !stop_;
}

std::shared_ptr<const Shown> Live::traced(const std::string& text) {
  const Tokenizer& tokenizer = options_.model->tokenizer();
  std::vector<int32_t> tokens = tokenizer.encode(text, false, tokenizer.spec().add_bos);
  const auto count = static_cast<int64_t>(tokens.size());
  if (count > options_.live_tokens)
    throw InputError("the text has " + std::to_string(count) + " tokens; live mode runs at most " +
                     std::to_string(options_.live_tokens));
  const base::TemporaryFolder folder;
  const std::string path = folder.file("run.safetensors");
  TraceOptions how;
  how.title = text.size() <= 60 ? text : text.substr(0, 57) + "...";
  write_trace(path, options_.model, std::move(tokens), how, {}, options_.threads,
              [this](int64_t done, int64_t total) { return progress(done, total); });
  const auto trace = Trace::open(path);
  return std::make_shared<const Shown>(trace, "", true, options_.limits.cache_bytes,
                                       [this](int64_t, int64_t) { return !stop_; });
}

void Live::run(const std::string& text) {
  std::string phase = "done", error, id;
  try {
    std::shared_ptr<const Shown> shown = traced(text);
    id = shown->id();
    install_(std::move(shown));
  } catch (const Cancelled&) {
    phase = "cancelled";
  } catch (const std::exception& problem) {
    phase = "failed";
    error = problem.what();
  }
  const std::lock_guard lock(mutex_);
  phase_ = phase;
  error_ = error;
  shown_ = id;
  running_ = false;
}

}  // namespace bareattn::serving
